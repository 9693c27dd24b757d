//! Every access to an atomic says why its ordering is enough, every `unsafe` why it holds, and every primitive comes
//! through the seam. Counts what the crates have, and fails for what goes without.
//!
//! A reason is a comment above the access, within its statement or a few lines before it, that names the ordering
//! (`Relaxed:`, `Acquire:`, `Release:`) or the access that it pairs with. Whether it is right is for readers and models;
//! that it is there is for this.
#![cfg(not(loom))]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How far above an access its reason may stand.
const NEAR: usize = 8;

/// Where the concurrent code is. The command line is on top of it, on one thread.
const CRATES: [&str; 3] = ["state/src", "actors/src", "runtime/src"];
const OUTSIDE: [&str; 3] = ["runtime/src/cli", "runtime/src/bin", "state/src/sync"];

struct Source {
    path: String,
    lines: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    let relative = |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text file");
            // Tests come last in a file.
            let lines = text
                .lines()
                .take_while(|line| !line.starts_with("#[cfg(all(test") && *line != "#[cfg(test)]");
            sources.push(Source { path: relative(&path), lines: lines.map(str::to_owned).collect() });
        }
    }
}

/// The concurrent code, without its tests.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in CRATES {
        collect(&root().join(folder), &mut sources);
    }
    sources.retain(|source| !OUTSIDE.iter().any(|outside| source.path.starts_with(outside)));
    assert!(sources.len() > 20, "the source folders have moved");
    sources
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// The code of a line, without what a comment says.
fn code(line: &str) -> &str {
    if is_comment(line) { "" } else { line.split(" // ").next().unwrap_or_default() }
}

/// Whether a comment above the line, near it and in the same function, satisfies `reason`.
fn has_reason(source: &Source, line: usize, near: usize, reason: impl Fn(&str) -> bool) -> bool {
    source.lines[line.saturating_sub(near)..=line]
        .iter()
        .rev()
        // Up to the end of the function before.
        .take_while(|line| !line.starts_with('}') && *line != "    }")
        .any(|line| line.contains("//") && reason(line))
}

/// What is found at lines of which `found` holds and for which no comment gives a reason.
fn unexplained(
    found: impl Fn(&str) -> bool,
    near: usize,
    reason: impl Fn(&str) -> bool + Copy,
) -> (usize, Vec<String>) {
    let (mut count, mut without) = (0, Vec::new());
    for source in sources() {
        for (number, line) in source.lines.iter().enumerate() {
            if !found(code(line)) {
                continue;
            }
            count += 1;
            if !has_reason(&source, number, near, reason) {
                without.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    (count, without)
}

fn report(what: &str, (count, without): (usize, Vec<String>)) {
    println!("{count} lines with {what}, {} without a reason", without.len());
    assert!(count > 0, "no {what} found: the check is blind");
    assert!(without.is_empty(), "{what} without a reason:\n{}", without.join("\n"));
}

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

#[test]
fn every_ordering_has_its_reason() {
    let names_one =
        |line: &str| ORDERINGS.iter().any(|ordering| line.contains(&format!("Ordering::{ordering}")));
    let reason = |line: &str| {
        let said = line.split_once("//").map_or("", |(_, said)| said);
        let said_of =
            |ordering| said.contains(&format!("{ordering}:")) || said.contains(&format!("{ordering},"));
        ORDERINGS.into_iter().any(said_of) || said.to_lowercase().contains("pairs with")
    };
    report("orderings", unexplained(names_one, NEAR, reason));
}

#[test]
fn every_unsafe_has_its_reason() {
    let is_unsafe = |line: &str| ["unsafe {", "unsafe impl"].iter().any(|word| line.contains(word));
    report("unsafe code", unexplained(is_unsafe, NEAR, |line| line.contains("SAFETY:")));
    let is_contract = |line: &str| line.contains("unsafe fn ");
    let contract = |line: &str| line.contains("# Safety") || line.contains("SAFETY:");
    report("unsafe functions", unexplained(is_contract, 16, contract));
}

#[test]
fn every_primitive_comes_through_the_seam() {
    let past_it = [
        "sync::atomic",
        "parking_lot",
        "std::thread",
        "thread_local!",
        "sync::Mutex",
        "sync::RwLock",
        "sync::Condvar",
        "sync::mpsc",
        "Ordering::*",
    ];
    let found = |line: &str| past_it.iter().any(|primitive| line.contains(primitive));
    // What there is of them is not part of a protocol, and says so.
    let (count, without) = unexplained(found, 3, |line| line.contains("Seam:"));
    println!("{count} lines with primitives past the seam, {} without a reason", without.len());
    assert!(without.is_empty(), "past `counterpoint_state::sync`:\n{}", without.join("\n"));
}
