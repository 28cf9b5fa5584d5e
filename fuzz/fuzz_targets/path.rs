//! See `fuzz::bodies::path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::path(bytes));
