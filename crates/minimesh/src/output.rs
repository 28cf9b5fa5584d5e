//! Writing a result, whole or not at all.
//!
//! Called at the end of a command, when nothing can fail any more but the writing itself.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Writes `text` to the file at `path`, or to standard output.
///
/// A file appears with its whole content in one step, so that a reader never sees a part and a failure leaves the old one. What is no
/// regular file, such as `/dev/stdout`, is written in place.
///
/// # Errors
/// The path, and why it could not be written.
pub(crate) fn write(path: Option<&Path>, text: &str) -> anyhow::Result<()> {
    let Some(path) = path else {
        return match io::stdout()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush())
        {
            // A reader that has seen enough, such as `head`, is no failure of ours.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.context("cannot write to standard output"),
        };
    };
    let is_special = path.metadata().is_ok_and(|metadata| !metadata.is_file());
    let written = if is_special {
        in_place(path, text)
    } else {
        in_one_step(path, text)
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn in_place(path: &Path, text: &str) -> io::Result<()> {
    File::options()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

fn in_one_step(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = File::create_new(&beside).and_then(|mut file| file.write_all(text.as_bytes()));
    let moved = written.and_then(|()| std::fs::rename(&beside, path));
    if moved.is_err() {
        // It may not exist; the error that counts is already known.
        let _ = std::fs::remove_file(&beside);
    }
    moved
}
