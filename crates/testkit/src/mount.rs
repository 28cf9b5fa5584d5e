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
        for (name, _) in files {
            symlink(Path::new("..data").join(name), mount.path(name))
                .expect("the name is new in the folder");
        }
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

    /// What the kubelet does: a new directory, a new link beside the old, one rename, the old directory removed.
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
            old.map_or(Ok(()), |old| fs::remove_dir_all(self.path("").join(old)))
        };
        swapped().expect("there is room for temporary files");
    }
}
