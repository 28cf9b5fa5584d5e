//! The corpora of the fuzz targets, replayed: what once broke a promise or shows a reader's corners is
//! tried at every test.

use testkit::corpus::replay;

#[expect(unreachable_pub, reason = "the fuzz targets reach them as a crate")]
#[path = "../../../fuzz/src/sidecar.rs"]
mod sidecar;

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
