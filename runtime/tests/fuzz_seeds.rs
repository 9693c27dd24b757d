//! What fuzzing found worth keeping, once more without a fuzzer: each file in `fuzz/seeds` through its target.

#![cfg(all(feature = "chaos", feature = "cli"))]

use std::{fs, path::Path};

#[expect(unreachable_pub, reason = "fuzz targets are another crate")]
#[path = "../../fuzz/src/block_bytes.rs"]
mod block_bytes;
#[expect(unreachable_pub, reason = "fuzz targets are another crate")]
#[path = "../../fuzz/src/generated_block.rs"]
mod generated_block;

/// Runs a target on its seeds, in order.
fn replay(target: &str, least: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the seeds are part of the repository")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in &files {
        println!("{}", file.display());
        run(&fs::read(file).expect("the file can be read"));
    }
    assert!(files.len() >= least, "{} seeds in {}", files.len(), folder.display());
}

#[test]
fn seeds_of_block_bytes() {
    replay("block_bytes", 10, block_bytes::run);
}

#[test]
fn seeds_of_generated_block() {
    replay("generated_block", 10, generated_block::run);
}
