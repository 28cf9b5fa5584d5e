//! See `fuzz::sidecar::client_hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sidecar::client_hello(bytes));
