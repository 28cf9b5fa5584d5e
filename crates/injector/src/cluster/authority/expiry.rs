//! When it is time to speak of an end.
//!
//! The keeper asks at every step which warning is due for what nobody renews by itself: an authority that the user has given, and roots.

use identity::Authority;
use time::{Duration, OffsetDateTime};

/// Days before the end at which whoever runs the mesh is told, the last first.
const WARNINGS: [i64; 3] = [7, 30, 60];

/// The warning that is due at `now`, in days, and when the first certificate of `authority` or of its roots ends.
pub(super) fn due(authority: &Authority, now: OffsetDateTime) -> Option<(i64, OffsetDateTime)> {
    let roots = authority.roots().certificates();
    // Of several roots the last one counts: the others may be on their way out.
    let root = roots.map(|(_, validity)| validity.not_after).max();
    let own = authority.validity().not_after;
    let end = root.map_or(own, |root| root.min(own));
    let left = end - now;
    let days = WARNINGS
        .into_iter()
        .find(|days| left <= Duration::days(*days))?;
    Some((days, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_announced_three_times() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let authority = Authority::generate("cluster.local", now).unwrap();
        let end = authority.validity().not_after;
        for (left, expected) in [
            (Duration::days(3650), None),
            (Duration::days(61), None),
            (Duration::days(60), Some(60)),
            (Duration::days(31), Some(60)),
            (Duration::days(30), Some(30)),
            (Duration::days(7), Some(7)),
            (Duration::ZERO, Some(7)),
            (Duration::days(-1), Some(7)),
        ] {
            let due = due(&authority, end - left).map(|(days, _)| days);
            assert_eq!(due, expected, "{left}");
        }
    }
}
