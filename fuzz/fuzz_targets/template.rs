//! See `fuzz::bodies::template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::template(bytes));
