//! Users and groups of pods on OpenShift.
//!
//! Asked for each pod where the platform is OpenShift: every namespace has its own range of ids, and a pod must take its own from there.
//! The sidecar takes the last id of the range, because applications are given the first.

use contract::ids;
use serde_json::Value;

use crate::pod;

const USERS: &str = "openshift.io/sa.scc.uid-range";
const GROUPS: &str = "openshift.io/sa.scc.supplemental-groups";

/// The sidecar's user and group in a namespace; the usual ones where it says nothing that can be read.
pub(crate) fn proxy_ids(namespace: Option<&Value>) -> (i64, i64) {
    let annotation = |key: &str| {
        namespace
            .and_then(|namespace| pod::annotation(namespace, key))
            .filter(|text| !text.is_empty())
    };
    let user = annotation(USERS).and_then(last_id);
    let groups = annotation(GROUPS).or(annotation(USERS));
    // Of several blocks the first counts, but all must be blocks.
    let group = groups.and_then(|blocks| {
        blocks
            .split(',')
            .map(last_id)
            .collect::<Option<Vec<_>>>()?
            .first()
            .copied()
    });
    (
        user.unwrap_or(ids::PROXY_UID.into()),
        group.unwrap_or(ids::PROXY_GID.into()),
    )
}

/// The last id of a block, `START/SIZE` or `START-END`.
fn last_id(block: &str) -> Option<i64> {
    let number = |text: &str| text.trim().parse::<u32>().ok().map(i64::from);
    match block.split_once('/') {
        Some((start, size)) => Some(number(start)? + number(size)? - 1).filter(|last| *last >= 0),
        None => number(block.split_once('-')?.1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_id_of_the_namespaces_range_is_taken() {
        for (users, groups, expected) in [
            (
                json!("1000650000/10000"),
                json!(null),
                (1_000_659_999, 1_000_659_999),
            ),
            (json!("1000-1999"), json!("3000/10,5000/10"), (1999, 3009)),
            (json!("1000-1999"), json!("3000/10,bad"), (1999, 1337)),
            (json!("bad"), json!(null), (1337, 1337)),
            (json!(null), json!("7/1"), (1337, 7)),
        ] {
            let namespace = json!({"metadata": {"annotations": {USERS: users, GROUPS: groups}}});
            assert_eq!(proxy_ids(Some(&namespace)), expected, "{users} {groups}");
        }
        assert_eq!(proxy_ids(None), (1337, 1337));
    }
}
