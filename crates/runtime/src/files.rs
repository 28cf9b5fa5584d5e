//! Small files that are read again when they change.
//!
//! Whoever needs a value that is made of files holds a [`Watched`] and asks it now and then; what becomes of new contents is the
//! caller's affair. Contents are compared, not inodes watched: the kubelet swaps a symbolic link, editors rename, people write in place,
//! and each of these must be seen.

mod read;

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::chain;

pub use read::{ReadError, Source, read};

/// What the files hold, in the order of the sources.
pub type Contents = Result<Vec<Vec<u8>>, ReadError>;

/// What became of a value after one look at its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same contents as before, or contents that are changing at this moment.
    None,
    /// The new contents are in use.
    Accepted,
    /// The new contents are not used; the last good value is, if there is one.
    Refused,
}

/// A set of files, and what was seen of them last.
#[derive(Debug)]
pub struct Watched {
    sources: Vec<Source>,
    /// Fingerprint of the last contents that were given out.
    seen: u64,
}

// === impl Watched ===

impl Watched {
    /// Reads the files for the first time.
    pub fn start(sources: Vec<Source>) -> (Self, Contents) {
        let contents = read::all(&sources);
        let seen = fingerprint(&contents);
        (Self { sources, seen }, contents)
    }

    /// Looks at the files once, and gives their contents if they are not those of before. Blocks for as long as reading takes.
    #[must_use]
    pub fn look(&mut self) -> Option<Contents> {
        let contents = read::all(&self.sources);
        let fresh = fingerprint(&contents);
        if fresh == self.seen {
            return None;
        }
        // Files of one set are read one after the other, so a swap may fall between them: a set counts once it has been read twice.
        if fingerprint(&read::all(&self.sources)) != fresh {
            return None;
        }
        self.seen = fresh;
        Some(contents)
    }

    /// The files.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

/// A fault counts as contents, too, so that it is told once.
fn fingerprint(contents: &Contents) -> u64 {
    let mut hasher = DefaultHasher::new();
    match contents {
        Ok(files) => files.hash(&mut hasher),
        Err(error) => chain(error).to_string().hash(&mut hasher),
    }
    hasher.finish()
}
