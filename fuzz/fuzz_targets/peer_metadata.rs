//! See `fuzz::sidecar::peer_metadata`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sidecar::peer_metadata(bytes));
