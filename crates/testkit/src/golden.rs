//! Golden files: expected output that lives beside the test.
//!
//! Called by table tests with the path of the expectation and the text that the code gave.
//! `UPDATE_EXPECT=1` rewrites the file instead of comparing; where `CI` is set that is refused, so that a gate never blesses its own output.

use std::{fs, path::Path};

/// Compares `actual` with the file at `path`, line by line.
///
/// # Panics
/// Panics with a diff when they differ, and when the file is missing.
#[track_caller]
pub fn check(path: &Path, actual: &str) {
    if let Err(message) = compare(path, actual) {
        panic!("{message}");
    }
}

/// As [`check`], but returns the report, so that a table of cases can show all of its differences at once.
///
/// # Errors
/// The diff, or why the file could not be read or written.
pub fn compare(path: &Path, actual: &str) -> Result<(), String> {
    if update_requested() {
        return fs::write(path, actual)
            .map_err(|error| format!("cannot write {}: {error}", path.display()));
    }
    let expected = fs::read_to_string(path).map_err(|error| {
        format!(
            "cannot read {}: {error}; UPDATE_EXPECT=1 writes it",
            path.display()
        )
    })?;
    if expected == actual {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(expected.as_str(), actual);
    Err(format!(
        "{} differs (UPDATE_EXPECT=1 accepts the new text):\n{}",
        path.display(),
        diff.unified_diff().header("expected", "actual")
    ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch for developers, not configuration"
)]
fn update_requested() -> bool {
    let update = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    assert!(
        !(update && std::env::var_os("CI").is_some()),
        "UPDATE_EXPECT is refused where CI is set"
    );
    update
}
