//! See [`counterpoint_fuzz::block_bytes`].

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| counterpoint_fuzz::block_bytes::run(bytes));
