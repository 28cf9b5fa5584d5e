//! Copies of what is in use: for the next start of the container, and for other programs of the pod.
//!
//! Every file appears as a whole and can be read by nobody else, unless its folder is shared. The cache holds a private key, so it is only ever
//! written into memory; a restarted sidecar starts by it without asking anybody.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use contract::paths;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use runtime::files::{self, ReadError, Source};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Material;

/// The last material, in a folder that is in memory.
#[derive(Clone, Debug)]
pub struct Cache {
    file: PathBuf,
}

/// A folder with the three files of `--certs-dir`, for others.
#[derive(Clone, Debug)]
pub struct Output {
    folder: PathBuf,
}

/// A copy could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", file.display())]
pub struct WriteError {
    file: PathBuf,
    source: io::Error,
}

/// Why there is no last material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It cannot be read.
    #[error("the last certificate cannot be read")]
    Read(#[source] ReadError),
    /// It is damaged.
    #[error("{} holds no certificate", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
}

#[derive(Deserialize, Serialize)]
struct Text<'a> {
    chain: &'a str,
    key: &'a str,
    roots: &'a str,
}

#[derive(Deserialize)]
struct OwnedText {
    chain: String,
    key: String,
    roots: String,
}

const FILE: &str = "workload-certificate.json";
/// For messages about the folder of the cache.
const FLAG: &str = "--state-dir";
/// Nobody but us reads what has a key in it.
const MODE: u32 = 0o600;

// === impl Cache ===

impl Cache {
    /// A cache in `folder`; nothing if that is not in memory, where keys do not outlive the pod.
    #[must_use]
    pub fn in_memory(folder: &Path) -> Option<Self> {
        let kind = statfs(folder).ok()?.filesystem_type();
        (kind == TMPFS_MAGIC).then(|| Self::at(folder))
    }

    fn at(folder: &Path) -> Self {
        Self {
            file: folder.join(FILE),
        }
    }

    /// What was in use last; nothing if there was nothing.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub fn read(&self) -> Result<Option<Material>, CacheError> {
        let source = Source {
            flag: FLAG,
            path: self.file.clone(),
        };
        let bytes = match files::read(&source) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(CacheError::Read(error)),
        };
        let text: OwnedText =
            serde_json::from_slice(&bytes).map_err(|source| CacheError::Damaged {
                file: self.file.clone(),
                source,
            })?;
        Ok(Some(Material {
            chain: text.chain,
            key: Zeroizing::new(text.key),
            roots: text.roots,
        }))
    }

    /// Keeps `material` for the next start.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, material: &Material) -> Result<(), WriteError> {
        let text = Text {
            chain: &material.chain,
            key: &material.key,
            roots: &material.roots,
        };
        let text = serde_json::to_vec(&text).map(Zeroizing::new);
        let text = text.map_err(|error| WriteError {
            file: self.file.clone(),
            source: error.into(),
        })?;
        replace(&self.file, &text)
    }
}

// === impl Output ===

impl Output {
    /// Copies into `folder`, which has to exist.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes what is not there yet, the key first: who reads a key and a certificate that do not fit reads again.
    ///
    /// # Errors
    /// What the system says of the first file that cannot be written.
    pub fn write(&self, material: &Material) -> Result<(), WriteError> {
        let texts = [
            (paths::KEY_FILE, material.key.as_str()),
            (paths::CERT_CHAIN_FILE, &material.chain),
            (paths::ROOT_CERT_FILE, &material.roots),
        ];
        for (name, text) in texts {
            let file = self.folder.join(name);
            let is_there = fs::read(&file).is_ok_and(|bytes| bytes == text.as_bytes());
            if !is_there {
                replace(&file, text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Puts `bytes` in place of the file as a whole.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let beside = file.with_extension("new");
    let written = || {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Left over from a start that ended in between.
            Ok(()) | Err(_) => {}
        }
        let mut open = OpenOptions::new();
        // Never through a link that somebody else has put there.
        open.write(true).create_new(true).mode(MODE);
        open.open(&beside)?.write_all(bytes)?;
        fs::rename(&beside, file)
    };
    written().map_err(|source| WriteError {
        file: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn material(tag: &str) -> Material {
        Material {
            chain: format!("chain {tag}\n"),
            key: Zeroizing::new(format!("key {tag}\n")),
            roots: format!("roots {tag}\n"),
        }
    }

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_cache_gives_back_what_was_written_last_to_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        assert!(cache.read().unwrap().is_none());
        for tag in ["first", "second"] {
            cache.write(&material(tag)).unwrap();
            let read = cache.read().unwrap().unwrap();
            assert_eq!(read.chain, format!("chain {tag}\n"));
            assert_eq!(*read.key, format!("key {tag}\n"));
            assert_eq!(read.roots, format!("roots {tag}\n"));
            assert_eq!(mode(&cache.file), MODE);
        }
    }

    #[test]
    fn a_damaged_cache_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        for text in ["", "{", "[]", r#"{"chain": "x"}"#] {
            fs::write(&cache.file, text).unwrap();
            let error = cache.read().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(FILE), "{text}: {error}");
        }
    }

    #[test]
    fn keys_are_cached_in_memory_only() {
        assert!(Cache::in_memory(Path::new("/proc")).is_none());
        assert!(Cache::in_memory(Path::new("/nowhere")).is_none());
    }

    #[test]
    fn the_output_is_three_files_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().to_owned());
        for tag in ["first", "second"] {
            output.write(&material(tag)).unwrap();
            for (name, what) in [
                (paths::KEY_FILE, "key"),
                (paths::CERT_CHAIN_FILE, "chain"),
                (paths::ROOT_CERT_FILE, "roots"),
            ] {
                let file = folder.path().join(name);
                assert_eq!(
                    fs::read_to_string(&file).unwrap(),
                    format!("{what} {tag}\n")
                );
                assert_eq!(mode(&file), MODE);
            }
        }
        let missing = Output::new(folder.path().join("absent"));
        let error = missing.write(&material("x")).unwrap_err().to_string();
        assert!(error.contains("absent/key.pem"), "{error}");
    }

    #[test]
    fn a_link_beside_the_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("key.new")).unwrap();
        let output = Output::new(folder.path().to_owned());
        output.write(&material("x")).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }
}
