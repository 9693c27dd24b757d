//! Transactions with blobs and transactions that set code.

use alloy_primitives::{Address, B256, U256};
use rand::{Rng, seq::IndexedRandom};
use revm::context::transaction::{Authorization, RecoveredAuthority, RecoveredAuthorization};

use super::{transactions::Generator, world::to};

impl Generator<'_> {
    pub(super) fn blobs(&mut self) {
        let mut transaction = self.simple();
        transaction.tx_type = 3;
        transaction.chain_id = Some(1);
        transaction.gas_priority_fee = Some(transaction.gas_priority_fee.unwrap_or_default());
        let hash = |index: u8| B256::from(U256::from(index)) | B256::from(U256::ONE << 248);
        transaction.blob_hashes = (0..self.rng.random_range(1..4)).map(hash).collect();
        transaction.max_fee_per_blob_gas = self.rng.random_range(1..20);
        self.add(transaction);
    }

    /// Delegations set, changed or cleared, and then what delegates is called and sends.
    pub(super) fn set_code(&mut self) {
        let mut transaction = self.simple();
        transaction.tx_type = 4;
        transaction.chain_id = Some(1);
        transaction.gas_priority_fee = Some(transaction.gas_priority_fee.unwrap_or_default());
        let mut authorities = Vec::new();
        let mut list = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let authority = match self.rng.random_range(0..10) {
                0 => self.world.any(self.rng),
                1 => transaction.caller,
                _ => *self.world.senders.choose(self.rng).unwrap_or(&transaction.caller),
            };
            // The sender's nonce counts before the list is applied, and each entry counts for the next.
            let earlier = authorities.iter().filter(|a| **a == authority).count() as u64;
            let sends = u64::from(authority == transaction.caller);
            let mut nonce = self.account(authority).nonce.saturating_add(earlier + sends);
            if self.rng.random_bool(0.08) {
                nonce = nonce.wrapping_add(1);
            }
            let delegate = match self.rng.random_range(0..10) {
                0..3 => Address::ZERO,
                3..7 => self.world.contract(self.rng),
                _ => self.world.any(self.rng),
            };
            let chain_id = U256::from(*[0, 1, 1, 1, 1, 1, 1, 1, 1, 5].choose(self.rng).unwrap_or(&1));
            let signer = match self.rng.random_bool(0.05) {
                true => RecoveredAuthority::Invalid,
                false => RecoveredAuthority::Valid(authority),
            };
            let inner = Authorization { chain_id, address: delegate, nonce };
            list.push(RecoveredAuthorization::new_unchecked(inner, signer));
            authorities.push(authority);
        }
        transaction.gas_limit += 25_000 * list.len() as u64 + 100_000;
        transaction.set_recovered_authorization(list);
        self.add(transaction);

        let Some(&authority) = authorities.choose(self.rng) else { return };
        if self.rng.random_bool(0.7) {
            let (value, data) = (self.small(), self.with_address());
            let call = self.transaction(to(authority), value, data, 200_000);
            self.add(call);
        }
        if self.rng.random_bool(0.5) {
            let mut send = self.simple();
            let account = self.account(authority);
            (send.caller, send.nonce) = (authority, account.nonce);
            self.add(send);
        }
    }
}
