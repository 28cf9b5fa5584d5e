//! Files of the node: which configuration counts, and how a file is replaced so that nobody reads half of it.
//!
//! Called by the installer. Every file is read up to a limit, and written beside its place first.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::InstallError;

/// Most bytes of the program; it has about one megabyte.
pub(super) const PROGRAM_LIMIT: u64 = 64 << 20;
/// Most bytes of a network configuration; runtimes refuse larger ones.
pub(super) const CONFIGURATION_LIMIT: u64 = 2 << 20;
/// What is being written: runtimes and other plugins pass over this ending.
const UNFINISHED: &str = "minimesh-tmp";

/// The configuration that the runtime uses: the one of this name, else the first one by name.
pub(super) fn active(folder: &Path, name: Option<&str>) -> Result<PathBuf, InstallError> {
    let found = match name {
        Some(name) => Some(folder.join(name)).filter(|path| path.is_file()),
        None => network_files(folder)?.into_iter().next(),
    };
    let path = found.ok_or_else(|| InstallError::NoConfiguration {
        folder: folder.to_owned(),
    })?;
    match path.extension() {
        Some(ending) if ending == "conflist" => Ok(path),
        Some(_) | None => Err(InstallError::NotAList { path }),
    }
}

/// All configurations that can hold several plugins.
pub(super) fn configurations(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut paths = network_files(folder)?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "conflist"));
    Ok(paths)
}

/// The contents of a file that has at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, InstallError> {
    let mut contents = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut contents));
    let length = read.and_then(|length| match u64::try_from(length) {
        Ok(length) if length <= limit => Ok(length),
        Ok(_) | Err(_) => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        )),
    });
    match length {
        Ok(_) => Ok(contents),
        Err(source) => Err(InstallError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether the file is there and can be run, with these contents.
pub(super) fn holds(path: &Path, contents: &[u8]) -> bool {
    let can_be_run =
        fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o111 == 0o111);
    can_be_run && read(path, PROGRAM_LIMIT).is_ok_and(|found| found == contents)
}

/// Replaces a file in one step. It keeps its rights, or gets these if it is new.
///
/// With `before`, nothing is done if the file has other contents by now: then somebody else was faster, and what he wrote has to be looked at first.
pub(super) fn replace(
    path: &Path,
    contents: &[u8],
    mode: u32,
    before: Option<&[u8]>,
) -> Result<bool, InstallError> {
    let unfinished = path.with_added_extension(UNFINISHED);
    let mode = match before {
        Some(_) => fs::metadata(path).map_or(mode, |file| file.permissions().mode()),
        None => mode,
    };
    let written = write(&unfinished, contents, mode);
    let outcome = written.and_then(|()| match before {
        Some(before) if fs::read(path)? != before => fs::remove_file(&unfinished).map(|()| false),
        Some(_) | None => fs::rename(&unfinished, path).map(|()| true),
    });
    outcome.map_err(|source| {
        // What cannot be put in its place is of no use.
        let _ = fs::remove_file(&unfinished);
        InstallError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

fn write(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // One that was left behind may have other rights.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(contents)?;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    file.sync_all()
}

/// What runtimes take for network configurations, in the order in which they do.
fn network_files(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let names = fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<io::Result<Vec<_>>>()
    });
    let mut paths = names.map_err(|source| InstallError::Read {
        path: folder.to_owned(),
        source,
    })?;
    paths.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("conf" | "conflist" | "json")) && path.is_file()
    });
    paths.sort();
    Ok(paths)
}
