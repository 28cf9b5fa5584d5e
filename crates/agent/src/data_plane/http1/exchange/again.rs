//! Whether a request may be sent again, here or to another endpoint.
//!
//! [`Exchange`] asks when the upstream has answered without having served the request, or has ended the connection without a word. In
//! both cases the request must be at hand still ([`Sending::can_repeat`](super::sending::Sending::can_repeat)), and either nothing of it
//! has reached the application or the application may see it twice.

use std::ops::Range;

use super::Exchange;
use crate::data_plane::{
    http1::head::{FieldSet, Response},
    refusal,
};

// === impl Exchange ===

impl Exchange<'_, '_> {
    /// Why another sidecar could not carry the request, if this answer, whose head is `at` these bytes, is its own and somebody else may be
    /// asked instead. The word of a peer whom nobody has verified counts for nothing.
    pub(super) fn not_carried(&self, answer: &Response, at: Range<usize>) -> Option<&'static str> {
        let is_sidecars = answer.status == refusal::STATUS
            && !FieldSet::REASON.among(answer.present).is_empty()
            && self.upstream.stream.peer().is_some();
        if !is_sidecars {
            return None;
        }
        refusal::reason(self.receiving.bytes(at), self.head.may_repeat())
    }

    /// Lets the request go to another endpoint, if it is at hand and there is one.
    pub(super) fn moves_on(&mut self, reason: &str) -> bool {
        if !self.sending.can_repeat() {
            self.target.eject();
            return false;
        }
        self.connection.move_on(self.target, reason)
    }

    /// Whether a request may be sent again that the upstream has ended the connection on, `properly` or by a reset, without a word.
    pub(super) fn was_not_served(&self, properly: bool) -> bool {
        // A sidecar that has read a request answers it, whatever its application does: one that says goodbye instead has read none.
        let said_goodbye = properly && self.upstream.stream.peer().is_some();
        said_goodbye
            || self.upstream.reused
                && (self.head.may_repeat()
                    || self.sending.nothing_sent()
                    || self.upstream.stream.was_closed_before_use())
    }
}
