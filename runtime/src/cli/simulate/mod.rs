//! How a block would do on any number of workers: its transactions' times and dependencies, recorded with plain
//! revm, and a discrete-event simulation of the scheduler over them.
//!
//! [`record`] executes the block one transaction at a time and notes how long each takes and when it reads
//! what; [`model`] plays the scheduler through; [`calibrate`] measures the constants that the model needs on
//! this machine. What the model leaves out is in `docs/benchmarks.md`.

pub mod calibrate;
pub mod model;
pub mod record;
