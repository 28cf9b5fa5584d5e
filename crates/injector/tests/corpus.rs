//! The corpora of the fuzz targets, replayed: what once broke a promise or shows a reader's corners is tried at every test.

use std::{fs, path::Path};

use injector::webhook::review;

#[expect(unreachable_pub, reason = "the fuzz targets reach them as a crate")]
#[path = "../../../fuzz/src/bodies.rs"]
mod bodies;

fn replay(target: &str, body: fn(&[u8])) {
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

#[test]
fn reviews_are_answered_whole_and_pods_injected_once() {
    replay("review", bodies::review);
}

#[test]
fn templates_are_refused_or_bounded() {
    replay("template", bodies::template);
}

#[test]
fn merges_end_and_nothing_changes_nothing() {
    replay("merge", bodies::merge);
}

#[test]
fn yaml_reads_as_it_is_written() {
    replay("yaml", bodies::yaml);
}

#[test]
fn paths_give_named_variables() {
    replay("path", bodies::path);
}
