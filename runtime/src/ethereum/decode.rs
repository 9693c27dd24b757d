//! Blocks as bytes, with errors that say which part is wrong.

use std::fmt;

use alloy_consensus::{BlockBody, Header};
use alloy_eips::eip4895::{Withdrawal, Withdrawals};
use alloy_rlp::Decodable;

use super::{Block, Transaction};

/// The bytes are no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} cannot be decoded: {cause}")]
pub struct DecodeError {
    /// Which part.
    pub part: Part,
    /// What is wrong with it.
    pub cause: alloy_rlp::Error,
}

/// A part of an encoded block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The list of its parts.
    Block,
    /// The header.
    Header,
    /// A transaction: its place, from 0, and its type if that can be told.
    Transaction(usize, Option<u8>),
    /// The ommers.
    Ommers,
    /// The withdrawals.
    Withdrawals,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block => f.write_str("the block"),
            Self::Header => f.write_str("the header"),
            Self::Transaction(index, _) => write!(f, "transaction {index}"),
            Self::Ommers => f.write_str("the ommers"),
            Self::Withdrawals => f.write_str("the withdrawals"),
        }
    }
}

/// Decodes a block: header, transactions, ommers and, from Shanghai on, withdrawals.
///
/// # Errors
///
/// Which part cannot be decoded, and why.
pub fn decode_block(bytes: &[u8]) -> Result<Block, DecodeError> {
    let at = |part| move |cause| DecodeError { part, cause };
    let mut rest = bytes;
    let mut block = list(&mut rest).map_err(at(Part::Block))?;
    if !rest.is_empty() {
        return Err(at(Part::Block)(alloy_rlp::Error::UnexpectedLength));
    }
    let header = Header::decode(&mut block).map_err(at(Part::Header))?;
    let mut encoded = list(&mut block).map_err(at(Part::Block))?;
    let mut transactions = Vec::new();
    while !encoded.is_empty() {
        let part = Part::Transaction(transactions.len(), transaction_type(encoded));
        transactions.push(Transaction::decode(&mut encoded).map_err(at(part))?);
    }
    let ommers = Vec::<Header>::decode(&mut block).map_err(at(Part::Ommers))?;
    let withdrawals = if block.is_empty() {
        None
    } else {
        let list = Vec::<Withdrawal>::decode(&mut block).map_err(at(Part::Withdrawals))?;
        Some(Withdrawals::new(list))
    };
    if !block.is_empty() {
        return Err(at(Part::Block)(alloy_rlp::Error::UnexpectedLength));
    }
    Ok(Block { header, body: BlockBody { transactions, ommers, withdrawals } })
}

/// The content of the list that the bytes begin with.
fn list<'a>(bytes: &mut &'a [u8]) -> alloy_rlp::Result<&'a [u8]> {
    alloy_rlp::Header::decode_bytes(bytes, true)
}

/// The type of the transaction that the bytes begin with, where it is not a legacy one's list.
fn transaction_type(bytes: &[u8]) -> Option<u8> {
    let mut rest = bytes;
    let header = alloy_rlp::Header::decode(&mut rest).ok()?;
    if header.list { None } else { rest.first().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_decoded_and_each_wrong_part_named() {
        let block = Block { header: Header::default(), body: BlockBody::default() };
        let bytes = alloy_rlp::encode(&block);
        assert_eq!(decode_block(&bytes), Ok(block));

        let part = |bytes: &[u8]| decode_block(bytes).unwrap_err().part;
        assert_eq!(part(&[]), Part::Block);
        assert_eq!(part(&[0xc0]), Part::Header);
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(part(&longer), Part::Block);

        let header = alloy_rlp::encode(Header::default());
        let with = |rest: &[u8]| {
            let content = [header.as_slice(), rest].concat();
            let mut bytes = Vec::new();
            alloy_rlp::Header { list: true, payload_length: content.len() }.encode(&mut bytes);
            bytes.extend(content);
            bytes
        };
        assert_eq!(part(&with(&[0xc2, 0xc0, 0xc0, 0xc0])), Part::Transaction(0, None));
        assert_eq!(part(&with(&[0xc2, 0x81, 0x83, 0xc0])), Part::Transaction(0, Some(0x83)));
        assert_eq!(part(&with(&[0xc0, 0xc1, 0x80])), Part::Ommers);
        assert_eq!(part(&with(&[0xc0, 0xc0, 0xc1, 0xc0])), Part::Withdrawals);
        assert!(decode_block(&with(&[0xc0, 0xc0, 0xc0])).is_ok());
    }
}
