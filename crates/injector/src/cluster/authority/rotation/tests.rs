//! A rotation from its announcement to its end, and every way of changing one's mind meanwhile.

use std::sync::LazyLock;

use contract::control_plane::TLS_CERT_KEY;
use identity::DnsName;
use proptest::prelude::*;

use super::*;
use crate::cluster::authority::secret::Stored;

const PERIODS: Periods = Periods {
    announcement: Duration::minutes(5),
    retirement: Duration::hours(25),
};

/// Authorities that a user may give.
static GIVEN: LazyLock<[Authority; 2]> = LazyLock::new(|| [made("one"), made("two")]);

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn made(name: &str) -> Authority {
    let authority = Authority::generate(name, start() - Duration::DAY).unwrap();
    let (certificate, key) = (authority.certificate_pem(), authority.key_pem());
    let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
    Authority::from_chain(certificate, key, b"", certificate).unwrap()
}

fn names() -> [DnsName<'static>; 1] {
    [DnsName::try_from("istiod.istio-system.svc").unwrap()]
}

fn fresh() -> State {
    let authority = Authority::generate("cluster.local", start()).unwrap();
    State {
        roots: authority.roots().clone(),
        pair: authority.issue_server(&names(), start()).unwrap(),
        authority,
        rotation: Rotation::default(),
    }
}

/// One step, by way of the Secret, as another replica would go on.
fn step(state: State, given: Option<&Authority>, now: OffsetDateTime) -> (State, Vec<Finding>) {
    let (state, findings) = advance(state, given, "cluster.local", PERIODS, now).unwrap();
    let stored = Stored::read(Some(&state.secret("istio-system", None)));
    assert!(stored.holds(&state), "it survives being written");
    let Stored::Held(held) = stored else {
        panic!("{stored:?}");
    };
    (State::of(&held).unwrap(), findings)
}

#[track_caller]
fn check(state: &State, signer: &Authority, bundle: &[&Authority]) {
    assert_eq!(state.authority, *signer);
    assert_eq!(state.roots.n_roots(), bundle.len());
    for authority in bundle {
        assert!(state.roots.holds(authority.roots()));
    }
    let pair = &state.pair;
    pair.verify(signer.roots(), &names()[0], start() + Duration::HOUR)
        .unwrap();
}

#[test]
fn a_given_authority_is_announced_before_it_signs_and_the_old_root_stays_until_its_leaves_have_ended()
 {
    let [given, _] = &*GIVEN;
    let state = fresh();
    let old = state.authority.clone();
    let (state, findings) = step(state, Some(given), start());
    assert_eq!(findings, [Finding::RootAnnounced(PERIODS.announcement)]);
    check(&state, &old, &[&old, given]);

    let almost = start() + PERIODS.announcement - Duration::SECOND;
    let (state, findings) = step(state, Some(given), almost);
    assert_eq!(findings, []);
    check(&state, &old, &[&old, given]);

    let switched = start() + PERIODS.announcement;
    let (state, findings) = step(state, Some(given), switched);
    assert_eq!(findings, [Finding::RootSwitched(PERIODS.retirement)]);
    check(&state, given, &[given, &old]);
    assert_eq!(state.rotation.origin, Origin::Given);

    // It goes on without the Secret that it came from.
    let almost = switched + PERIODS.retirement - Duration::SECOND;
    let (state, findings) = step(state, None, almost);
    assert_eq!(findings, []);
    check(&state, given, &[given, &old]);
    let (state, findings) = step(state, None, switched + PERIODS.retirement);
    assert_eq!(findings, [Finding::RootRetired]);
    check(&state, given, &[given]);
}

#[test]
fn a_new_root_of_our_own_is_made_when_it_is_asked_for() {
    let mut state = fresh();
    let old = state.authority.clone();
    state.rotation.is_requested = true;
    let (state, _) = step(state, None, start());
    let next = state.rotation.next.clone().unwrap();
    check(&state, &old, &[&old, &next]);
    let (state, _) = step(state, None, start() + PERIODS.announcement);
    check(&state, &next, &[&next, &old]);
    assert_eq!(state.rotation.next, None);
    assert_eq!(state.rotation.origin, Origin::Own);
    let end = start() + PERIODS.announcement + PERIODS.retirement;
    let (state, _) = step(state, None, end);
    check(&state, &next, &[&next]);
    let secret = state.secret("istio-system", None);
    assert_eq!(secret.metadata.annotations, None);
    assert!(!secret.data.as_ref().unwrap().contains_key(NEXT_PRIVATE_KEY));
    assert!(secret.data.unwrap().contains_key(TLS_CERT_KEY));
}

#[test]
fn a_moment_noted_by_a_wrong_clock_does_not_hold_a_rotation_up_for_ever() {
    let [given, _] = &*GIVEN;
    let (mut state, _) = step(fresh(), Some(given), start());
    state.rotation.announced = Some(start() + Duration::days(365));
    let (state, _) = step(state, Some(given), start());
    let (state, _) = step(state, Some(given), start() + PERIODS.announcement);
    assert_eq!(state.authority, *given);
}

/// What may happen between two looks.
#[derive(Clone, Copy, Debug)]
enum Move {
    Wait(i64),
    Give(Option<usize>),
    Request,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (1_i64..2000).prop_map(Move::Wait),
        1 => (50_000_i64..200_000).prop_map(Move::Wait),
        3 => prop::option::of(0_usize..2).prop_map(Move::Give),
        1 => Just(Move::Request),
    ];
    prop::collection::vec(one, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nobody_is_ever_shown_a_certificate_that_he_cannot_verify(moves in moves()) {
        let (mut state, mut now, mut given) = (fresh(), start(), None);
        // Who signed when, and what was trusted from when on.
        let mut signed: Vec<(OffsetDateTime, Authority)> = Vec::new();
        let mut trusted = vec![(start() - Duration::DAY, state.roots.clone())];
        for action in moves {
            match action {
                Move::Wait(seconds) => now += Duration::seconds(seconds),
                Move::Give(which) => given = which.map(|idx| &GIVEN[idx]),
                Move::Request => state.rotation.is_requested = true,
            }
            state = step(state, given, now).0;
            signed.push((now, state.authority.clone()));
            trusted.push((now, state.roots.clone()));
        }
        let leaf = Duration::DAY;
        for (idx, (since, bundle)) in trusted.iter().enumerate() {
            let until = trusted.get(idx + 1).map_or(now, |(next, _)| *next);
            for (moment, authority) in &signed {
                // A verifier may lag behind by as long as an announcement takes; a leaf is shown for as long as it lives.
                let is_seen = until + PERIODS.announcement > *moment && *since < *moment + leaf;
                prop_assert!(
                    !is_seen || bundle.holds(authority.roots()),
                    "signed {} after the start, verified by the bundle of {}",
                    *moment - start(),
                    *since - start(),
                );
            }
        }
    }
}
