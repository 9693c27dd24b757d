//! Counterpoint's actors: accounts that own their cells and their mailboxes, and the EVM that travels between
//! them.
//!
//! A transaction is executed by revm on a [`Fiber`]. Its database reads the cells of
//! [`counterpoint_state`] through their actors; a read that has to wait for an earlier transaction suspends
//! the fiber there. When it ends, [`publish`] turns what it changed into versions. The crate knows the state;
//! it knows no thread: [`Signals`] tells the runtime whom to wake.

mod balances;
mod block;
mod chaos;
mod database;
mod digests;
mod directory;
mod evm;
mod execution;
mod executor;
mod fiber;
mod handler;
mod loading;
pub mod mailbox;
mod memory;
mod message;
mod order;
mod precompiles;
mod publish;
mod serial;
mod settle;
mod transfer;
mod worker;

pub use block::BlockState;
pub use chaos::Chaos;
pub use database::{CellDatabase, ReadError};
pub use directory::{Actor, Directory};
pub use execution::{Credit, End, Executed, Execution, Written};
pub use executor::Executor;
pub use fiber::{Fiber, STACK_SIZE, Yielded, contain, panic_message, run_inline};
pub use message::{Message, Selector};
pub use publish::{estimate, publish};
pub use serial::{SerialEnd, SerialExecutor, Stops};
pub use settle::{Unsettled, settle};
pub use worker::{Counter, Counters, Signals, Space, WorkerContext, WorkerMemory};
// Named for its feature: blst without its own threads.
use blst as _;
