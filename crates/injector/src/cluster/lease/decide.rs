//! What to do about a Lease. Pure.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

use super::DURATION;

/// What a Lease says, and since when it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    record: Option<LeaseSpec>,
    since: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: make it.
    Create,
    /// It is nobody's, or its holder is not heard of any more.
    Take,
    /// It is ours.
    Renew,
    /// It is somebody else's.
    Wait,
}

/// What `identity` is to do about `lease`, which `observed` has just looked at.
pub(super) fn decide(
    lease: Option<&Lease>,
    observed: &Observed,
    identity: &str,
    now: Instant,
) -> Step {
    let Some(lease) = lease else {
        return Step::Create;
    };
    let spec = lease.spec.as_ref();
    match spec.and_then(|spec| spec.holder_identity.as_deref()) {
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) if observed.is_silent(now) => Step::Take,
        Some(_) => Step::Wait,
    }
}

// === impl Observed ===

impl Observed {
    /// After a look at `lease` at `now`.
    pub(super) fn look(&self, lease: Option<&Lease>, now: Instant) -> Self {
        let record = lease.and_then(|lease| lease.spec.as_ref());
        match self.since {
            Some(_) if self.record.as_ref() == record => self.clone(),
            _ => Self {
                record: record.cloned(),
                since: Some(now),
            },
        }
    }

    /// Whether nothing has changed for so long that the holder has certainly stopped.
    fn is_silent(&self, now: Instant) -> bool {
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= DURATION)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn lease(holder: &str, renewed: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": "l"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed},
        }))
        .expect("a Lease")
    }

    #[test]
    fn a_lease_is_anothers_until_it_has_been_silent_for_its_whole_duration() {
        // The times that are written in it are of a clock that is years off.
        let other = lease("b", "1999-01-01T00:00:00.000000Z");
        let renewed = lease("b", "1999-01-01T00:00:02.000000Z");
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let observed = Observed::default().look(Some(&other), begin);
        for (seconds, expected) in [(0, Step::Wait), (14, Step::Wait), (15, Step::Take)] {
            let now = after(seconds);
            let observed = observed.look(Some(&other), now);
            assert_eq!(decide(Some(&other), &observed, "a", now), expected);
        }
        let observed = observed.look(Some(&renewed), after(14));
        assert_eq!(
            decide(Some(&renewed), &observed, "a", after(28)),
            Step::Wait
        );
        assert_eq!(
            decide(Some(&renewed), &observed, "a", after(29)),
            Step::Take
        );
    }

    #[test]
    fn ones_own_lease_is_renewed_and_nobodys_is_taken() {
        let now = Instant::now();
        let observed = Observed::default();
        let own = lease("a", "2026-01-01T00:00:00.000000Z");
        let nobodys = lease("", "2026-01-01T00:00:00.000000Z");
        assert_eq!(decide(Some(&own), &observed, "a", now), Step::Renew);
        assert_eq!(decide(Some(&nobodys), &observed, "a", now), Step::Take);
        assert_eq!(
            decide(Some(&Lease::default()), &observed, "a", now),
            Step::Take
        );
        assert_eq!(decide(None, &observed, "a", now), Step::Create);
    }
}
