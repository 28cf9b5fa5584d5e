//! The memory that TLS records pass through, one for all connections of a worker.
//!
//! A connection uses it within one call and leaves nothing behind, so that thousands of connections need it once, and it stays in the
//! processor's cache. It is as large as the largest buffer that is lent, and what encryption adds to it.

use std::cell::RefCell;

use crate::tls::session::{OVERHEAD, sealed_len};

/// Most bytes that are encrypted at a time and written by one call: a little more than the largest buffer holds.
pub(super) const MAX_WRITE: usize = 65 * 1024;
/// Most records of full size that fill the largest buffer, and a part of one that holds little.
const MOST_RECORDS: usize = 5;

thread_local! {
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static TO_SEND: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How many bytes of records to have at most for `room` bytes of plaintext: so many that full records fill the room.
pub(super) fn worth_reading(room: usize) -> usize {
    room.max(crate::tls::session::MAX_RECORD) + MOST_RECORDS * OVERHEAD
}

/// Lends memory for what is received: empty, with whatever capacity earlier calls have needed.
pub(super) fn with_received<R>(run: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    RECEIVED.with_borrow_mut(|received| {
        received.clear();
        run(received)
    })
}

/// Lends memory for what is sent, enough for [`MAX_WRITE`] bytes of plaintext.
pub(super) fn with_to_send<R>(run: impl FnOnce(&mut [u8]) -> R) -> R {
    TO_SEND.with_borrow_mut(|to_send| {
        if to_send.is_empty() {
            *to_send = vec![0; sealed_len(MAX_WRITE)];
        }
        run(to_send)
    })
}
