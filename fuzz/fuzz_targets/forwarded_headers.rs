//! See `fuzz::sidecar::forwarded_headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sidecar::forwarded_headers(bytes));
