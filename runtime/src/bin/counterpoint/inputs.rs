//! Which block files the paths on the command line mean.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A path that gives no block files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// It is not there, or may not be read.
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    /// It is a folder without block files.
    #[error("{}: no block file (*.json or *.json.gz) in this folder", path.display())]
    EmptyFolder { path: PathBuf },
}

/// The files that `paths` name, and those in folders that they name, by block number.
pub(crate) fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |cause| InputError::Unreadable { path: path.clone(), cause };
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            let found = block_files(path).map_err(unreadable)?;
            if found.is_empty() {
                return Err(InputError::EmptyFolder { path: path.clone() });
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn block_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if (name.ends_with(".json") || name.ends_with(".json.gz")) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort_by_cached_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.split('.').next().and_then(|stem| stem.parse::<u64>().ok());
        (number.is_none(), number, name)
    });
    Ok(files)
}
