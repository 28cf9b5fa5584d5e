//! See `agent::data_plane::fuzzing::detection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent::data_plane::fuzzing::detection(bytes));
