//! Reading files that flags name.
//!
//! Called wherever a flag takes a file; an error names flag and file.

use std::{fs, io::Read, path::Path};

use anyhow::Context;

/// Reads the file that `flag` names.
///
/// # Errors
/// Flag, path, and why it cannot be read.
pub(crate) fn read(flag: &str, path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {flag} {}", path.display()))
}

/// Reads the manifest that `--filename` names, or standard input.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read_manifest(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return read("--filename", path);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    Ok(text)
}

/// What messages call the file.
pub(crate) fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
