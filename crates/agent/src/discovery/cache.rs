//! What discovery had told, kept on the pod's volume for the next start.
//!
//! A sidecar that is started again while the control plane is away goes by it. The file is put in place as a whole, so that a reader sees
//! the old or the new one; it is used only if it is whole, of this version of the program and of this pod. Everything in it is checked
//! again as if it had come from the control plane.

use std::{
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use prost::Message;

/// What is kept.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Contents {
    /// The program that has written it.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The node that it was told.
    #[prost(string, tag = "2")]
    pub node: String,
    /// Whether every address was asked for.
    #[prost(bool, tag = "3")]
    pub wildcard: bool,
    /// When it was written, in seconds since 1970.
    #[prost(uint64, tag = "4")]
    pub written: u64,
    /// Whether the control plane knows our own types.
    #[prost(bool, tag = "5")]
    pub is_foreign: bool,
    /// Types that had been answered.
    #[prost(string, repeated, tag = "6")]
    pub answered: Vec<String>,
    /// What was held.
    #[prost(message, repeated, tag = "7")]
    pub resources: Vec<Resource>,
    /// Addresses that had been answered about.
    #[prost(message, repeated, tag = "8")]
    pub addresses: Vec<Answered>,
}

/// A resource.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Resource {
    /// The last part of its type.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// The message.
    #[prost(bytes = "vec", tag = "4")]
    pub body: Vec<u8>,
}

/// An address.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Answered {
    /// The address, as people write it.
    #[prost(string, tag = "1")]
    pub address: String,
    /// Names of the resources that it leads to; none if nobody was there.
    #[prost(string, repeated, tag = "2")]
    pub resources: Vec<String>,
}

/// Why a cache is not used, or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no cache of this program, or damaged.
    #[error("{} is not a cache of this version, or is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is of another pod.
    #[error("{} is of another pod, {node:?}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The pod.
        node: String,
    },
    /// There is more than the volume should hold.
    #[error("what discovery has told has {size} bytes, and no more than {MOST_BYTES} are kept in {}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How much there is.
        size: usize,
    },
}

/// First bytes of the file.
const MAGIC: &[u8; 8] = b"minimesh";
/// The volume holds 16 MiB in memory and other files, too; while a new cache is written there are two of them.
const MOST_BYTES: usize = 4 << 20;
/// Longest part of a foreign node's name that is shown.
const LONGEST_SHOWN: usize = 200;

/// Reads the cache at `path`; nothing if there is none. `node` is who asks.
///
/// # Errors
/// When there is one that cannot be used.
pub fn read(path: &Path, node: &str) -> Result<Option<Contents>, CacheError> {
    let failed = |source| CacheError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let damaged = || CacheError::Damaged {
        path: path.to_owned(),
    };
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(damaged()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    let contents = decode(&bytes).ok_or_else(damaged)?;
    if contents.node != node {
        return Err(CacheError::Foreign {
            path: path.to_owned(),
            node: contents.node.chars().take(LONGEST_SHOWN).collect(),
        });
    }
    Ok(Some(contents))
}

/// Writes the cache in place of the one before. Blocks.
///
/// # Errors
/// When it is too large, or the file cannot be written; then the one before is still there.
pub fn write(path: &Path, contents: &Contents) -> Result<(), CacheError> {
    let body = contents.encode_to_vec();
    let size = body.len() + MAGIC.len() + size_of::<u64>();
    if size > MOST_BYTES {
        return Err(CacheError::TooLarge {
            path: path.to_owned(),
            size,
        });
    }
    let failed = |action| {
        move |source| CacheError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside).map_err(failed("write beside"))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(fingerprint(&body).to_le_bytes());
    bytes.extend(body);
    file.write_all(&bytes).map_err(failed("write beside"))?;
    fs::rename(&beside, path).map_err(failed("replace"))
}

impl Contents {
    /// When it was written.
    #[must_use]
    pub fn written(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.written))
    }
}

fn decode(bytes: &[u8]) -> Option<Contents> {
    if bytes.len() > MOST_BYTES {
        return None;
    }
    let rest = bytes.strip_prefix(MAGIC)?;
    let (told, body) = rest.split_first_chunk()?;
    if u64::from_le_bytes(*told) != fingerprint(body) {
        return None;
    }
    let contents = Contents::decode(body).ok()?;
    (contents.version == env!("CARGO_PKG_VERSION")).then_some(contents)
}

/// Against damage, not against malice: nobody else can write there.
fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: &str = "sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local";

    fn contents() -> Contents {
        Contents {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: NODE.to_owned(),
            written: 1_700_000_000,
            resources: vec![Resource {
                kind: "Address".to_owned(),
                name: "a".to_owned(),
                version: "1".to_owned(),
                body: vec![0; 100],
            }],
            ..Contents::default()
        }
    }

    #[test]
    fn what_was_written_is_read_by_the_same_pod_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        assert_eq!(read(&path, NODE).unwrap(), None);
        write(&path, &contents()).unwrap();
        assert_eq!(read(&path, NODE).unwrap(), Some(contents()));
        let error = read(&path, "sidecar~10.0.0.2").unwrap_err();
        assert!(matches!(error, CacheError::Foreign { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_damaged_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        write(&path, &contents()).unwrap();
        let whole = fs::read(&path).unwrap();
        for n in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[n] ^= 1;
            assert_eq!(decode(&bytes), None, "byte {n}");
            assert_eq!(decode(&whole[..n]), None, "{n} bytes");
        }
        let older = Contents {
            version: "0.0.0".to_owned(),
            ..contents()
        };
        write(&path, &older).unwrap();
        assert!(matches!(read(&path, NODE), Err(CacheError::Damaged { .. })));
        assert!(matches!(
            read(folder.path(), NODE),
            Err(CacheError::Damaged { .. })
        ));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let mut large = contents();
        large.resources[0].body = vec![0; MOST_BYTES];
        let error = write(&path, &large).unwrap_err();
        assert!(matches!(error, CacheError::TooLarge { .. }), "{error}");
        fs::write(&path, vec![0; MOST_BYTES + 1]).unwrap();
        assert!(read(&path, NODE).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
