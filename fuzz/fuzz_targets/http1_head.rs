//! See `agent::data_plane::fuzzing::http1_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::data_plane::fuzzing::http1_head(bytes));
