//! See `fuzz::bodies::review`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::review(bytes));
