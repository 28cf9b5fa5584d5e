//! See `fuzz::bodies::yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::yaml(bytes));
