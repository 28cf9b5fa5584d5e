//! See `fuzz::interception::netlink`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::interception::netlink(bytes));
