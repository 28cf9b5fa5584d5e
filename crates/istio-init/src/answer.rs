//! Bytes read as the kernel's answer to every question at once.
//!
//! Called by the fuzz target, for which the readers would otherwise have to be public one by one. Reading ends
//! for any bytes, and never with a panic.

use crate::{
    netlink::{Malformed, Message, messages},
    nfnetlink, rtnetlink,
};

/// Reads each message of a datagram with every reader; tells how many of them made sense of it.
///
/// # Errors
/// Where the datagram does not fall into messages.
pub fn read(datagram: &[u8]) -> Result<usize, Malformed> {
    let mut n_read = 0;
    for message in messages(datagram) {
        n_read += read_message(&message?);
    }
    Ok(n_read)
}

fn read_message(message: &Message<'_>) -> usize {
    nfnetlink::n_readers_of(message) + rtnetlink::n_readers_of(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_an_error_and_nothing_is_nothing() {
        assert_eq!(read(&[]), Ok(0));
        assert_eq!(read(&[1, 2, 3]), Err(Malformed::Length));
    }
}
