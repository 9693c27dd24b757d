//! What the fuzz targets do with their input.
//!
//! `runtime/tests/fuzz_seeds.rs` has these files too, and replays what lies in `seeds/`.

pub mod block_bytes;
pub mod generated_block;
