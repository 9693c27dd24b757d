//! Where parallel EVMs go wrong: each place is a test by name, executed in every way that the runtime has.

#![cfg(feature = "cli")]

mod balances;
mod beneficiary;
#[path = "../common/mod.rs"]
mod common;
mod contracts;
mod delegation;
mod environment;
mod lifecycle;
mod overflow;
mod sequence;
mod speculation;
mod touch;
mod transfers;
