//! The corpora of the fuzz targets, replayed: what once broke a promise or shows a reader's corners is
//! tried at every test.

use std::{fs, path::Path};

#[expect(unreachable_pub, reason = "the fuzz targets reach them as a crate")]
#[path = "../../../fuzz/src/sidecar.rs"]
mod sidecar;

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
fn peers_say_who_they_are_and_nothing_else() {
    replay("peer_metadata", sidecar::peer_metadata);
}

#[test]
fn clients_cannot_forge_whom_we_have_verified() {
    replay("forwarded_headers", sidecar::forwarded_headers);
}

#[test]
fn first_bytes_are_judged_alike_however_they_come() {
    replay("client_hello", sidecar::client_hello);
}
