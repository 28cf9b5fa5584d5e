//! ConfigMaps and Secrets as the kubelet mounts them.
//!
//! Tests of whatever reads mounted files change them through [`Mount::swap`], which does exactly what the kubelet does.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A mounted folder, `NAME -> ..data/NAME`, `..data -> ..TIMESTAMP`; gone when it is dropped.
#[derive(Debug)]
pub struct Mount {
    dir: TempDir,
    generation: u32,
}

// === impl Mount ===

impl Mount {
    /// A folder with these files and their contents.
    ///
    /// # Panics
    /// When the system has no room for temporary files.
    #[must_use]
    pub fn new(files: &[(&str, &str)]) -> Self {
        let mut mount = Self {
            dir: TempDir::new().expect("there is room for temporary files"),
            generation: 0,
        };
        mount.swap(files);
        mount
    }

    /// Where the file called `name` is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// What the kubelet does: a new directory, a new link beside the old, one rename, links to files that are new and none to those that are gone, the old
    /// directory removed.
    ///
    /// # Panics
    /// When the system has no room for temporary files.
    pub fn swap(&mut self, files: &[(&str, &str)]) {
        let old = fs::read_link(self.path("..data")).ok();
        self.generation += 1;
        let new = format!("..2026_01_01_00_00_{:02}.1", self.generation);
        let swapped = || {
            fs::create_dir(self.path(&new))?;
            for (name, contents) in files {
                fs::write(self.path(&new).join(name), contents)?;
            }
            symlink(&new, self.path("..data_tmp"))?;
            fs::rename(self.path("..data_tmp"), self.path("..data"))?;
            for (name, _) in files {
                if fs::symlink_metadata(self.path(name)).is_err() {
                    symlink(Path::new("..data").join(name), self.path(name))?;
                }
            }
            for entry in fs::read_dir(self.folder())?.flatten() {
                let name = entry.file_name();
                let is_gone = !files.iter().any(|(file, _)| *file == name);
                if is_gone && !name.to_string_lossy().starts_with("..") {
                    fs::remove_file(entry.path())?;
                }
            }
            old.map_or(Ok(()), |old| fs::remove_dir_all(self.path("").join(old)))
        };
        swapped().expect("there is room for temporary files");
    }
}
