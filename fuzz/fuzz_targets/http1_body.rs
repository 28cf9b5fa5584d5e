//! See `agent::data_plane::fuzzing::http1_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::data_plane::fuzzing::http1_body(bytes));
