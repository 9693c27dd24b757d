//! See [`counterpoint_fuzz::generated_block`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| counterpoint_fuzz::generated_block::run(bytes));
