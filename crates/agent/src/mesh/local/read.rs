//! Reading one file of bounded size, and telling cheaply whether it may have changed.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What was found there.
        path: PathBuf,
    },
    /// More than anybody could mean.
    #[error("{} is larger than {} MiB", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no text.
    #[error("{} is not text in UTF-8, byte {position} is wrong", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first wrong byte, counted from 0.
        position: usize,
    },
}

/// What shows that a file was changed or another one put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The most that is read: eight times what a ConfigMap can hold.
const MAX_BYTES: u64 = 8 << 20;

// === impl Stamp ===

impl Stamp {
    /// Whether the last change was more than `age` before `now`.
    pub(super) fn is_older_than(self, age: Duration, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds + 1));
        changed
            .and_then(|changed| now.duration_since(changed).ok())
            .is_some_and(|since| since > age)
    }
}

/// The file as it is now, symbolic links followed; nothing if there is none.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

pub(super) fn read(path: &Path) -> Result<String, ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    // Asked before opening, because opening a pipe waits for its writer.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge {
            path: path.to_owned(),
        });
    }
    String::from_utf8(bytes).map_err(|error| ReadError::NotText {
        path: path.to_owned(),
        position: error.utf8_error().valid_up_to(),
    })
}
