//! The corpora of the fuzz targets, for tests that replay them.
//!
//! A corpus keeps what once broke a promise or shows a reader's corners; the crate whose code a target is about tries it at every test.

use std::{fs, path::Path};

/// Calls `body` with every input in the corpus of `target`.
///
/// # Panics
/// When the corpus is empty or cannot be read, and where `body` panics: the input's name was printed before.
pub fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let files = fs::read_dir(corpus.join(target)).expect("a corpus");
    let mut n_files = 0;
    for file in files {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("a readable file");
        // A panic says what is broken; this says with what.
        eprintln!("{}", path.display());
        body(&bytes);
        n_files += 1;
    }
    assert!(n_files > 0, "the corpus of {target} is empty");
}
