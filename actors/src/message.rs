//! What travels between actors.

use revm::primitives::U256;

/// The first four bytes of a call's input: which function is called.
pub type Selector = [u8; 4];

/// A message to an actor. Transactions are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// To the sender's actor: this transaction wants to begin. It waits in the mailbox while an earlier one
    /// of the same sender has not been executed, since its nonce could not be right before.
    Begin {
        /// The transaction.
        index: u32,
    },
    /// To a callee's actor: a frame starts.
    Call {
        /// The transaction.
        index: u32,
        /// The called function.
        selector: Selector,
    },
    /// To the caller's actor: a frame ended.
    Return {
        /// The transaction.
        index: u32,
    },
    /// To a recipient's actor: adds to its balance, without reading it.
    Credit {
        /// The transaction.
        index: u32,
        /// In wei.
        amount: U256,
    },
    /// To a recipient's actor: nothing was transferred, but an empty account may have to go (EIP-161) or to
    /// come (before). Decided when the frontier arrives.
    Touch {
        /// The transaction.
        index: u32,
    },
    /// To the actor that a fiber waits with: what it waits for is there.
    Resume {
        /// The transaction.
        index: u32,
        /// Which of its parkings.
        ticket: u32,
    },
    /// To a transaction that read one of the actor's cells too early.
    Invalidate {
        /// The transaction.
        index: u32,
        /// Which attempt read it.
        incarnation: u32,
    },
}
