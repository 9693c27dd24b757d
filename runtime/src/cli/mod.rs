//! What the `counterpoint` command line is made of, usable from tests and benchmarks too.
//!
//! A [`BlockFile`](blockfile::BlockFile) holds one block and the state before it; [`forks`] gives the rules it
//! is executed under; [`sequential`] executes it with plain revm; [`compare`] and [`header`] check
//! Counterpoint's outcome against that and against the block's own header; [`report`] says how it went.

pub mod blockfile;
pub mod compare;
pub mod forks;
pub mod header;
pub mod latency;
pub mod report;
pub mod sequential;
