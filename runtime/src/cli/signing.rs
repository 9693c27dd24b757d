//! Signatures made from a secret key, for inputs that hold keys instead of signatures.

use alloy_primitives::Signature;
use k256::ecdsa::SigningKey;
use revm::primitives::{Address, B256};

/// The account that a secret key belongs to, if it is one.
pub fn address(key: &B256) -> Option<Address> {
    let key = SigningKey::from_slice(key.as_slice()).ok()?;
    Some(Address::from_private_key(&key))
}

/// Signs a hash, if the key is one.
pub fn sign(key: &B256, hash: &B256) -> Option<Signature> {
    let key = SigningKey::from_slice(key.as_slice()).ok()?;
    let (signature, recovery) = key.sign_prehash_recoverable(hash.as_slice()).ok()?;
    Some(Signature::from((signature, recovery)))
}

#[cfg(test)]
mod tests {
    use revm::primitives::{address, b256, keccak256};

    use super::*;

    #[test]
    fn a_signature_is_its_accounts() {
        let key = b256!("0x45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8");
        let sender = address!("0xa94f5374fce5edbc8e2a8697c15331677e6ebf0b");
        assert_eq!(super::address(&key), Some(sender));
        let hash = keccak256("a message");
        let signature = sign(&key, &hash).unwrap();
        assert_eq!(signature.recover_address_from_prehash(&hash).unwrap(), sender);
        assert_eq!(sign(&B256::ZERO, &hash), None);
        assert_eq!(super::address(&B256::repeat_byte(0xff)), None);
    }
}
