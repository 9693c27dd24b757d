//! What the `counterpoint` command line is made of, usable from tests and benchmarks too.
//!
//! A [`BlockFile`](blockfile::BlockFile) holds one block and the state before it; [`forks`] gives the rules it
//! is executed under; [`sequential`] executes it with plain revm; [`compare`] and [`header`] check
//! Counterpoint's outcome against that and against the block's own header; [`report`] says how it went.
//!
//! [`chain`] reads blocks that follow each other, for the service on a store.
//!
//! [`workload`] makes blocks of generated workloads, and [`simulate`] plays blocks through on any number of workers.
//!
//! [`statetest`] and [`blocktest`] execute Ethereum's test [`fixture`]s, on the chains that [`network`] knows by name, with
//! an [`executor`].

pub mod blockfile;
pub mod blocktest;
pub mod chain;
pub mod compare;
pub mod executor;
pub mod fixture;
pub mod forks;
pub mod header;
pub mod latency;
pub mod network;
pub mod report;
pub mod sequential;
pub mod signing;
pub mod simulate;
pub mod statetest;
pub mod t8n;
pub mod workload;
