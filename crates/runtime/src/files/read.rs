//! Reading a set of small files.
//!
//! Used by [`Watched`](super::Watched) at the start and at each look. Only regular files of bounded size are read, so that neither a pipe nor a
//! file without end can hold up the program.

use std::{
    fmt::{self, Display, Formatter},
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
    #[error("cannot read {file}")]
    Io {
        /// The file.
        file: Source,
        /// Why not.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{file} is not a file")]
    NotAFile {
        /// What was found there.
        file: Source,
    },
    /// More than anybody could mean.
    #[error("{file} is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        file: Source,
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

/// The path with its flag, `/etc/tls/tls.crt (--tls-cert-file)`.
impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.flag)
    }
}

/// Reads all `sources`, in their order.
pub(super) fn all(sources: &[Source]) -> Result<Vec<Vec<u8>>, ReadError> {
    sources.iter().map(read).collect()
}

/// Reads one small file; blocks for as long as that takes.
///
/// # Errors
/// When the system refuses, when it is no regular file, or when it is larger than anybody could mean.
pub fn read(file: &Source) -> Result<Vec<u8>, ReadError> {
    let path = &file.path;
    let failed = |source| ReadError::Io {
        file: file.clone(),
        source,
    };
    // Asked before opening, because opening a pipe waits for its writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile { file: file.clone() });
    }
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut contents))
        .map_err(failed)?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge { file: file.clone() });
    }
    Ok(contents)
}
