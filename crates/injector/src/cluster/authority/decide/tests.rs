//! Every kind of Secret, with and without a memory, at all sorts of times.

use contract::control_plane::{
    CA_CERT_KEY, CA_PRIVATE_KEY, ROOT_CERT_KEY, TLS_CERT_KEY, TLS_PRIVATE_KEY,
};
use identity::{
    authority::{ROOT_LIFETIME, SERVER_LIFETIME},
    validity::BACKDATE,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use proptest::prelude::*;
use time::Duration;

use super::*;

const NAMESPACE: &str = "istio-system";

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn names(text: &[&'static str]) -> Vec<DnsName<'static>> {
    text.iter()
        .map(|name| DnsName::try_from(*name).unwrap())
        .collect()
}

fn ours() -> Vec<DnsName<'static>> {
    names(&["istio-sidecar-injector.istio-system.svc"])
}

/// What a replica makes where there is nothing.
fn fresh(now: OffsetDateTime) -> State {
    follow(&Stored::Absent, None, &ours(), now)
}

/// The state that a decision leads to.
fn follow(
    stored: &Stored,
    memory: Option<&State>,
    names: &[DnsName<'static>],
    now: OffsetDateTime,
) -> State {
    let known = Known {
        stored,
        memory,
        given: None,
        names,
        now,
    };
    let Verdict::Keep(plan) = decide(&known) else {
        panic!("nothing to keep");
    };
    plan.carry_out(names, "cluster.local", now).unwrap()
}

fn secret(state: &State) -> Secret {
    state.secret(NAMESPACE, None)
}

fn stored(state: &State) -> Stored {
    Stored::read(Some(&secret(state)))
}

fn edited(state: &State, key: &str, value: Option<&str>) -> Stored {
    let mut secret = secret(state);
    let data = secret.data.as_mut().unwrap();
    match value {
        Some(value) => data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec())),
        None => data.remove(key),
    };
    Stored::read(Some(&secret))
}

/// A verdict in a line.
fn outline(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Hold(finding) => format!("hold: {}", finding.reason()),
        Verdict::Refuse(finding) => format!("refuse: {}", finding.reason()),
        Verdict::Keep(plan) => {
            let authority = match plan.authority {
                Source::Generated => "generated",
                Source::Kept(_) => "kept",
                Source::Renewed(_) => "renewed",
            };
            let pair = match plan.pair {
                PairSource::Kept(_) => "kept",
                PairSource::Issued(_) => "issued",
            };
            let findings = plan.findings.iter().map(Finding::reason);
            let findings = findings.collect::<Vec<_>>().join(", ");
            format!("{authority}, {pair}: {findings}")
        }
    }
}

#[track_caller]
fn check(stored: &Stored, memory: Option<&State>, now: OffsetDateTime, expected: &str) {
    let names = ours();
    let known = Known {
        stored,
        memory,
        given: None,
        names: &names,
        now,
    };
    assert_eq!(outline(&decide(&known)), expected);
}

#[test]
fn an_empty_cluster_gets_an_authority() {
    check(
        &Stored::Absent,
        None,
        start(),
        "generated, issued: AuthorityCreated",
    );
}

#[test]
fn a_good_secret_is_used_as_it_is() {
    let state = fresh(start());
    for memory in [None, Some(&state)] {
        check(&stored(&state), memory, start(), "kept, kept: ");
        assert_eq!(follow(&stored(&state), memory, &ours(), start()), state);
    }
}

#[test]
fn a_secret_that_was_deleted_comes_back_as_it_was() {
    let state = fresh(start());
    check(
        &Stored::Absent,
        Some(&state),
        start(),
        "kept, kept: AuthoritySecretDeleted",
    );
    assert_eq!(
        follow(&Stored::Absent, Some(&state), &ours(), start()),
        state
    );
}

#[test]
fn an_authority_that_cannot_be_read_is_put_back_from_memory_and_never_thrown_away() {
    let (state, other) = (fresh(start()), fresh(start()));
    for (key, value) in [
        (CA_CERT_KEY, None),
        (CA_CERT_KEY, Some("nonsense")),
        (CA_CERT_KEY, Some(other.authority.certificate_pem())),
        (CA_CERT_KEY, Some(state.pair.chain_pem())),
        (CA_PRIVATE_KEY, None),
        (CA_PRIVATE_KEY, Some("")),
        (CA_PRIVATE_KEY, Some(other.authority.key_pem())),
    ] {
        let broken = edited(&state, key, value);
        check(
            &broken,
            Some(&state),
            start(),
            "kept, kept: AuthoritySecretRestored",
        );
        assert_eq!(follow(&broken, Some(&state), &ours(), start()), state);
        check(&broken, None, start(), "refuse: AuthoritySecretUnreadable");
    }
    let empty = Stored::read(Some(&Secret::default()));
    check(&empty, None, start(), "refuse: AuthoritySecretUnreadable");
}

#[test]
fn a_refusal_says_why_and_what_to_do() {
    let state = fresh(start());
    let broken = edited(&state, CA_PRIVATE_KEY, None);
    let names = ours();
    let verdict = decide(&Known {
        stored: &broken,
        memory: None,
        given: None,
        names: &names,
        now: start(),
    });
    let Verdict::Refuse(finding) = verdict else {
        panic!("{verdict:?}");
    };
    let note = finding.note(NAMESPACE);
    for part in [
        "Secret istio-system/istio-ca-secret cannot be used and is left as it is",
        "the key ca-key.pem is missing",
        "`kubectl delete secret -n istio-system istio-ca-secret`",
    ] {
        assert!(note.contains(part), "{note}");
    }
    assert!(note.len() < 1024, "an Event holds no more");
}

#[test]
fn what_can_be_made_anew_is_made_anew() {
    let (state, other) = (fresh(start()), fresh(start()));
    let table = [
        (ROOT_CERT_KEY, None, "kept, kept: TrustBundleRepaired"),
        (
            ROOT_CERT_KEY,
            Some("nonsense"),
            "kept, kept: TrustBundleRepaired",
        ),
        (
            ROOT_CERT_KEY,
            Some(other.roots.pem()),
            "kept, kept: TrustBundleRepaired",
        ),
        (
            TLS_CERT_KEY,
            None,
            "kept, issued: ServingCertificateRepaired",
        ),
        (
            TLS_CERT_KEY,
            Some("nonsense"),
            "kept, issued: ServingCertificateRepaired",
        ),
        (
            TLS_PRIVATE_KEY,
            Some(other.pair.key_pem()),
            "kept, issued: ServingCertificateRepaired",
        ),
    ];
    for (key, value, expected) in table {
        let broken = edited(&state, key, value);
        check(&broken, None, start(), expected);
        let repaired = follow(&broken, None, &ours(), start());
        assert_eq!(repaired.authority, state.authority);
        assert_eq!(repaired.roots, state.roots);
        // Whoever remembers the good pair puts that back.
        assert_eq!(follow(&broken, Some(&state), &ours(), start()), state);
    }
}

#[test]
fn a_pair_of_another_authority_is_replaced() {
    let (state, other) = (fresh(start()), fresh(start()));
    let mixed = State {
        pair: other.pair,
        ..state
    };
    check(
        &stored(&mixed),
        None,
        start(),
        "kept, issued: ServingCertificateRepaired",
    );
}

#[test]
fn another_root_beside_the_own_one_is_kept() {
    let (state, other) = (fresh(start()), fresh(start()));
    let both = other.roots.led_by(&state.authority).unwrap();
    let with_both = edited(&state, ROOT_CERT_KEY, Some(both.pem()));
    check(&with_both, Some(&state), start(), "kept, kept: ");
    let followed = follow(&with_both, Some(&state), &ours(), start());
    assert_eq!(followed.roots.n_roots(), 2);
    assert!(with_both.holds(&followed));
}

#[test]
fn another_authority_is_taken_over_and_said() {
    let (state, other) = (fresh(start()), fresh(start()));
    check(
        &stored(&other),
        Some(&state),
        start(),
        "kept, kept: AuthorityReplaced",
    );
    assert_eq!(
        follow(&stored(&other), Some(&state), &ours(), start()),
        other
    );
}

#[test]
fn the_pair_is_renewed_at_half_life() {
    let state = fresh(start());
    let half = start() - BACKDATE + (SERVER_LIFETIME + BACKDATE) / 2;
    for memory in [None, Some(&state)] {
        check(
            &stored(&state),
            memory,
            half - Duration::SECOND,
            "kept, kept: ",
        );
        for later in [half, start() + SERVER_LIFETIME + Duration::DAY] {
            check(
                &stored(&state),
                memory,
                later,
                "kept, issued: ServingCertificateRenewed",
            );
        }
    }
    // What could not be written yet is not issued again.
    let renewed = follow(&stored(&state), Some(&state), &ours(), half);
    check(
        &stored(&state),
        Some(&renewed),
        half,
        "kept, kept: ServingCertificateRenewed",
    );
}

#[test]
fn the_root_is_renewed_in_time_and_even_when_it_is_too_late() {
    let state = fresh(start());
    let in_time = state.authority.renew_at();
    let too_late = start() + ROOT_LIFETIME + Duration::DAY;
    for now in [in_time, too_late] {
        check(
            &stored(&state),
            None,
            now,
            "renewed, issued: RootRenewed, ServingCertificateRenewed",
        );
        let renewed = follow(&stored(&state), Some(&state), &ours(), now);
        assert!(renewed.authority.continues(&state.authority));
        assert_eq!(renewed.roots.n_roots(), 1);
        // What could not be written yet is not renewed again.
        check(
            &stored(&state),
            Some(&renewed),
            now,
            "kept, kept: RootRenewed, ServingCertificateRenewed",
        );
        assert_eq!(
            follow(&stored(&state), Some(&renewed), &ours(), now),
            renewed
        );
        check(
            &Stored::Absent,
            Some(&state),
            now,
            "renewed, issued: AuthoritySecretDeleted, RootRenewed, ServingCertificateRenewed",
        );
    }
}

#[test]
fn a_clock_before_the_root_changes_nothing() {
    let state = fresh(start());
    let broken = edited(&state, CA_PRIVATE_KEY, None);
    let early = start() - Duration::days(400);
    check(&stored(&state), None, early, "hold: ClockWrong");
    for stored in [&stored(&state), &Stored::Absent, &broken] {
        check(stored, Some(&state), early, "hold: ClockWrong");
    }
    let Verdict::Hold(finding) = decide(&Known {
        stored: &stored(&state),
        memory: None,
        given: None,
        names: &ours(),
        now: early,
    }) else {
        panic!("it must hold");
    };
    let note = finding.note(NAMESPACE);
    assert!(
        note.contains("valid from 2027-01-15T07:55:00Z but the clock says 2025-12-11T08:00:00Z"),
        "{note}"
    );
}

#[test]
fn a_pair_from_the_future_is_replaced() {
    let state = fresh(start());
    let ahead = start() + Duration::days(200);
    let hasty = follow(&stored(&state), None, &ours(), ahead);
    check(
        &stored(&hasty),
        Some(&state),
        start(),
        "kept, kept: ClockWrong",
    );
    check(&stored(&hasty), None, start(), "kept, issued: ClockWrong");
}

#[test]
fn replicas_with_different_names_agree_on_all_of_them() {
    let (old, new) = (
        names(&["old.svc", "both.svc"]),
        names(&["new.svc", "both.svc"]),
    );
    let by_old = follow(&Stored::Absent, None, &old, start());
    let by_new = follow(&stored(&by_old), None, &new, start());
    for asked in old.iter().chain(&new) {
        by_new.pair.verify(&by_new.roots, asked, start()).unwrap();
    }
    for names in [&old, &new] {
        assert_eq!(follow(&stored(&by_new), None, names, start()), by_new);
    }
    // Names that nobody asks for any longer end with the pair.
    let later = by_new.pair.validity().half_life();
    assert_eq!(
        follow(&stored(&by_new), None, &new, later).pair.names(),
        new
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    /// Whatever there was, one write later there is nothing left to do, for this replica and for one that has just started.
    #[test]
    fn every_decision_settles(what in 0..7_usize, remembers in any::<bool>(), days in 0..5000_i64) {
        let state = fresh(start());
        let other = fresh(start());
        let kinds = [
            Stored::Absent,
            stored(&state),
            stored(&other),
            edited(&state, CA_PRIVATE_KEY, None),
            edited(&state, ROOT_CERT_KEY, Some("nonsense")),
            edited(&state, TLS_PRIVATE_KEY, Some(other.pair.key_pem())),
            edited(&state, TLS_CERT_KEY, None),
        ];
        let now = start() + Duration::days(days);
        let memory = remembers.then_some(&state);
        prop_assume!(memory.is_some() || !matches!(kinds[what], Stored::Unreadable(_)));
        let settled = follow(&kinds[what], memory, &ours(), now);
        for memory in [None, Some(&settled)] {
            check(&stored(&settled), memory, now, "kept, kept: ");
            prop_assert!(stored(&settled).holds(&follow(&stored(&settled), memory, &ours(), now)));
        }
        settled.pair.verify(&settled.roots, &ours()[0], now).unwrap();
    }
}
