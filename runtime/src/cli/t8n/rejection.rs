//! Why a transaction is left out, in the words of geth's tool, which those who read the result look for.

use revm::context::result::InvalidTransaction as Invalid;

use crate::ethereum::TransactionError;

/// Geth's words with the details behind, where it has words for it.
pub(super) fn describe(error: &TransactionError) -> String {
    match words(error) {
        Some(words) => format!("{words} ({error})"),
        None => error.to_string(),
    }
}

fn words(error: &TransactionError) -> Option<&'static str> {
    Some(match error {
        TransactionError::Signature => "invalid transaction v, r, s values",
        TransactionError::ChainIdTooEarly => "transaction type not supported",
        TransactionError::GasAllowance { .. } => "gas limit reached",
        TransactionError::BlobAllowance { .. } => "blob gas would exceed maximum allowance",
        TransactionError::Invalid(cause) => return invalid(cause),
    })
}

fn invalid(cause: &Invalid) -> Option<&'static str> {
    Some(match cause {
        Invalid::NonceTooLow { .. } => "nonce too low",
        Invalid::NonceTooHigh { .. } => "nonce too high",
        Invalid::NonceOverflowInTransaction => "nonce has max value",
        Invalid::RejectCallerWithCode => "sender not an eoa",
        Invalid::LackOfFundForMaxFee { .. } | Invalid::OverflowPaymentInTransaction => {
            "insufficient funds for gas * price + value"
        }
        Invalid::CallGasCostMoreThanGasLimit { .. } => "intrinsic gas too low",
        Invalid::GasFloorMoreThanGasLimit { .. } => "insufficient gas for floor data gas cost",
        Invalid::CallerGasLimitMoreThanBlock => "gas limit reached",
        Invalid::TxGasLimitGreaterThanCap { .. } => "transaction gas limit too high",
        Invalid::GasPriceLessThanBasefee => "max fee per gas less than block base fee",
        Invalid::PriorityFeeGreaterThanMaxFee => "max priority fee per gas higher than max fee per gas",
        Invalid::CreateInitCodeSizeLimit => "max initcode size exceeded",
        Invalid::InvalidChainId | Invalid::MissingChainId => "invalid chain id for signer",
        Invalid::AccessListNotSupported
        | Invalid::Eip2930NotSupported
        | Invalid::Eip1559NotSupported
        | Invalid::MaxFeePerBlobGasNotSupported
        | Invalid::BlobVersionedHashesNotSupported
        | Invalid::Eip4844NotSupported
        | Invalid::AuthorizationListNotSupported
        | Invalid::Eip7702NotSupported => "transaction type not supported",
        Invalid::BlobGasPriceGreaterThanMax { .. } => "max fee per blob gas less than block blob gas fee",
        Invalid::EmptyBlobs => "blob transaction missing blob hashes",
        Invalid::TooManyBlobs { .. } => "blob gas would exceed maximum allowance",
        Invalid::BlobVersionNotSupported => "blob has invalid hash version",
        Invalid::EmptyAuthorizationList => "EIP-7702 transaction with empty auth list",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_words_are_there() {
        let error = TransactionError::Invalid(Invalid::NonceTooLow { tx: 3, state: 7 });
        assert_eq!(describe(&error), format!("nonce too low ({error})"));
        assert!(describe(&error).contains('3') && describe(&error).contains('7'));
        let other = TransactionError::Invalid(Invalid::Str("something new".into()));
        assert_eq!(describe(&other), other.to_string());
    }
}
