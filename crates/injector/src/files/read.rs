//! Reading a set of small files.
//!
//! Used by the reloader at the start and at each look. Only regular files of bounded size are read, so that neither a pipe nor a
//! file without end can hold up the program.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

/// The most that is read of one file: eight times what a ConfigMap can hold.
const MAX_BYTES: u64 = 8 << 20;

/// A file, and the flag that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The flag, `--inject-dir`, for messages.
    pub flag: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {} ({flag})", path.display())]
    Io {
        /// The flag that led to the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} ({flag}) is not a file", path.display())]
    NotAFile {
        /// The flag that led to the file.
        flag: &'static str,
        /// What was found there.
        path: PathBuf,
    },
    /// More than anybody could mean.
    #[error("{} ({flag}) is larger than {} MiB", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The flag that led to the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
}

// === impl Source ===

impl Source {
    /// The file's path, for messages about its contents.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Reads all `sources`, in their order.
pub(super) fn all(sources: &[Source]) -> Result<Vec<Vec<u8>>, ReadError> {
    sources.iter().map(read).collect()
}

fn read(Source { flag, path }: &Source) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io {
        flag,
        path: path.clone(),
        source,
    };
    // Asked before opening, because opening a pipe waits for its writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile {
            flag,
            path: path.clone(),
        });
    }
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut contents))
        .map_err(failed)?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge {
            flag,
            path: path.clone(),
        });
    }
    Ok(contents)
}
