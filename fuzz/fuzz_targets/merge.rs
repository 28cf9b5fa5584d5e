//! See `fuzz::bodies::merge`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::merge(bytes));
