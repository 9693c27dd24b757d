//! A new store's file: made beside its place and moved there when it is whole, so that a crash on the way leaves nothing in
//! its place.

use std::{
    ffi::OsString,
    fs,
    io,
    path::{Path, PathBuf},
    process,
    // Seam: a number for a file's name.
    sync::atomic::{AtomicU64, Ordering},
};

use redb::Database;

/// Makes an empty store where there is no file.
pub(super) fn create(path: &Path) -> Result<(), redb::Error> {
    let beside = beside(path);
    // A process that had this one's number may have left it.
    let _ = fs::remove_file(&beside);
    let moved = Database::create(&beside).map_err(redb::Error::from).and_then(|database| {
        drop(database);
        Ok(settle(&beside, path)?)
    });
    // It has another name by now, or is of no use.
    let _ = fs::remove_file(&beside);
    moved
}

/// Gives the file its name, unless another process was faster.
fn settle(beside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // A file system without links.
        Err(_) => fs::rename(beside, path)?,
        Ok(()) => {}
    }
    // Where a folder can be opened, its entry has to be on disk before anything is acknowledged.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match fs::File::open(folder.unwrap_or(Path::new("."))) {
        Ok(folder) if cfg!(unix) => folder.sync_all(),
        _ => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    // Relaxed: only unique.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}-{number}.new", process::id()));
    path.with_file_name(name)
}
