//! What another sidecar says of a request that it could not carry.
//!
//! A sidecar's own answer names its reason; where that is one by which the application cannot have acted on the request, the request may
//! go to another endpoint. To be asked only about answers of a peer that mutual TLS has verified: it lets no application speak for it.

use contract::headers::MESH_ERROR;

/// The status of such an answer.
pub(crate) const STATUS: u16 = 503;
/// Reasons by which nothing of a request has reached the application.
const NOT_REACHED: [&str; 2] = ["connect_failed", "connect_timeout"];
/// The reason by which the application may have had the request, and gave no answer.
const NOT_ANSWERED: &str = "upstream_closed";

/// The reason of the answer whose head this is, if the request may be sent to somebody else for it; `may_repeat` says whether the
/// application may see the request twice.
pub(crate) fn reason(head: &[u8], may_repeat: bool) -> Option<&'static str> {
    let given = head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        let is_reason = name.eq_ignore_ascii_case(MESH_ERROR.as_bytes());
        is_reason.then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })?;
    let repeatable = may_repeat.then_some(NOT_ANSWERED);
    let mut known = NOT_REACHED.into_iter().chain(repeatable);
    known.find(|known| known.as_bytes() == given)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::data_plane::error::Failure;

    #[test]
    fn only_what_cannot_have_been_acted_on_goes_to_somebody_else() {
        let refused = Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        let table = [
            (refused.code(), true, true),
            (Failure::ConnectTimeout.code(), true, true),
            (Failure::UpstreamClosed.code(), false, true),
            (Failure::UpstreamTruncated.code(), false, false),
            (Failure::IdleTimeout.code(), false, false),
            ("", false, false),
            ("connect_failed_not", false, false),
        ];
        for (code, always, if_repeatable) in table {
            let head =
                format!("HTTP/1.1 503 No\r\na: connect_failed\r\nX-Mesh-Error:\t{code} \r\n\r\n");
            for (may_repeat, expect) in [(false, always), (true, if_repeatable)] {
                let reason = reason(head.as_bytes(), may_repeat);
                assert_eq!(reason, expect.then_some(code), "{code} {may_repeat}");
            }
        }
        assert_eq!(reason(b"HTTP/1.1 503 connect_failed\r\n\r\n", true), None);
    }
}
