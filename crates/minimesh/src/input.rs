//! Reading files that flags name.
//!
//! Called wherever a flag takes a file; an error names flag and file.

use std::{fs, path::Path};

use anyhow::Context;

/// Reads the file that `flag` names.
///
/// # Errors
/// Flag, path, and why it cannot be read.
pub(crate) fn read(flag: &str, path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {flag} {}", path.display()))
}

/// What messages call the file.
pub(crate) fn shown(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
