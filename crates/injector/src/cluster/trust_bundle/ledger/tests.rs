use proptest::prelude::*;

use super::*;
use crate::cluster::pace::FORGOTTEN;

fn print(bundle: &str) -> Print {
    Print::wanted(bundle, None)
}

fn space(name: &str, terminating: bool) -> Space {
    Space {
        name: name.into(),
        terminating,
    }
}

fn config_map(space: &str, bundle: &str) -> Found {
    Found {
        space: space.into(),
        print: print(bundle),
    }
}

fn write(name: &str, absent: bool) -> Next {
    Next::Write {
        name: name.into(),
        absent,
    }
}

/// A ledger that has listed these namespaces and ConfigMaps and wants `new` everywhere.
fn ledger(spaces: &[&str], config_maps: &[(&str, &str)]) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.desire(print("new"));
    ledger.spaces(Event::Init);
    for name in spaces {
        ledger.spaces(Event::InitApply(space(name, false)));
    }
    ledger.spaces(Event::InitDone);
    ledger.config_maps(Event::Init);
    for (name, bundle) in config_maps {
        ledger.config_maps(Event::InitApply(config_map(name, bundle)));
    }
    ledger.config_maps(Event::InitDone);
    ledger
}

#[tokio::test(start_paused = true)]
async fn only_namespaces_without_the_bundle_are_written_to() {
    let now = Instant::now();
    let mut ledger = ledger(
        &[
            "a",
            "b",
            "c",
            "kube-public",
            "kube-node-lease",
            "local-path-storage",
        ],
        &[("a", "new"), ("b", "old")],
    );
    assert_eq!(ledger.next(now), write("b", false));
    assert_eq!(ledger.next(now), write("c", true));
    assert_eq!(ledger.next(now), Next::Nothing);
    assert_eq!(ledger.n_pending(), 2);
    ledger.written("b", print("new"), now);
    ledger.written("c", print("new"), now);
    assert_eq!((ledger.next(now), ledger.n_pending()), (Next::Nothing, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_due_before_both_lists_are_whole() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    ledger.desire(print("new"));
    ledger.spaces(Event::Init);
    ledger.spaces(Event::InitApply(space("a", false)));
    ledger.spaces(Event::InitDone);
    assert_eq!(ledger.next(now), Next::Nothing);
    ledger.config_maps(Event::Init);
    ledger.config_maps(Event::InitDone);
    assert_eq!(ledger.next(now), write("a", true));
}

#[tokio::test(start_paused = true)]
async fn terminating_namespaces_are_left_alone() {
    let now = Instant::now();
    let mut ledger = ledger(&["a"], &[("a", "new")]);
    ledger.spaces(Event::Apply(space("a", true)));
    ledger.config_maps(Event::Delete(config_map("a", "new")));
    assert_eq!(ledger.next(now), Next::Nothing);
    ledger.spaces(Event::Delete(space("a", true)));
    ledger.spaces(Event::Apply(space("a", false)));
    assert_eq!(ledger.next(now), write("a", true));
}

#[tokio::test(start_paused = true)]
async fn a_hand_edit_and_a_deletion_are_put_right_at_once() {
    let now = Instant::now();
    let mut ledger = ledger(&["a", "b"], &[("a", "new"), ("b", "new")]);
    ledger.config_maps(Event::Apply(config_map("a", "nonsense")));
    ledger.config_maps(Event::Delete(config_map("b", "new")));
    assert_eq!(ledger.next(now), write("a", false));
    assert_eq!(ledger.next(now), write("b", true));
}

#[tokio::test(start_paused = true)]
async fn a_contest_with_another_writer_slows_down() {
    let mut now = Instant::now();
    let mut ledger = ledger(&["a"], &[("a", "new")]);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        ledger.config_maps(Event::Apply(config_map("a", "theirs")));
        if let Next::Wait(until) = ledger.next(now) {
            pauses.push((until - now).as_millis());
            now = until;
            assert_eq!(ledger.next(now), write("a", false));
        }
        ledger.written("a", print("new"), now);
    }
    assert_eq!(
        pauses,
        [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    );
    ledger.config_maps(Event::Apply(config_map("a", "theirs")));
    now += TEMPO.longest + FORGOTTEN;
    assert_eq!(ledger.next(now), write("a", false));
    ledger.written("a", print("new"), now);
    ledger.config_maps(Event::Apply(config_map("a", "theirs")));
    assert_eq!(ledger.next(now), Next::Wait(now + TEMPO.shortest));
}

#[tokio::test(start_paused = true)]
async fn a_failure_holds_up_no_other_namespace() {
    let now = Instant::now();
    let mut ledger = ledger(&["a", "b"], &[]);
    assert_eq!(ledger.next(now), write("a", true));
    ledger.failed("a", now);
    assert_eq!(ledger.n_failing(), 1);
    assert_eq!(ledger.next(now), write("b", true));
    ledger.written("b", print("new"), now);
    assert_eq!(ledger.next(now), Next::Wait(now + TEMPO.shortest));
    ledger.spaces(Event::Delete(space("a", false)));
    assert_eq!((ledger.next(now), ledger.n_failing()), (Next::Nothing, 0));
}

#[tokio::test(start_paused = true)]
async fn a_new_bundle_goes_everywhere() {
    let now = Instant::now();
    let mut ledger = ledger(&["a", "b"], &[("a", "new"), ("b", "new")]);
    ledger.desire(print("newer"));
    assert_eq!(ledger.next(now), write("a", false));
    // A write that began before the change ends with the old one.
    ledger.written("a", print("new"), now);
    assert_eq!(ledger.next(now), write("b", false));
    assert_eq!(ledger.next(now), Next::Wait(now + TEMPO.shortest));
}

#[tokio::test(start_paused = true)]
async fn what_vanished_while_nobody_watched_is_noticed() {
    let now = Instant::now();
    let mut ledger = ledger(&["a", "b"], &[("a", "new"), ("b", "new")]);
    ledger.config_maps(Event::Init);
    ledger.config_maps(Event::InitApply(config_map("b", "new")));
    assert_eq!(ledger.next(now), Next::Nothing, "the list is not whole yet");
    ledger.config_maps(Event::InitDone);
    assert_eq!(ledger.next(now), write("a", true));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_missing_counts() {
    let owner = OwnerReference {
        name: "injector".to_owned(),
        uid: "1".to_owned(),
        ..OwnerReference::default()
    };
    let wanted = Print::wanted("new", Some(&owner));
    assert!(!print("new").has(&wanted));
    assert!(wanted.has(&print("new")), "more owners are no harm");
}

/// What may happen to one of three namespaces.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize),
    Terminate(usize),
    Remove(usize),
    Edit(usize),
    Drop(usize),
    Write,
    Fail,
    Desire(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_usize).prop_map(Step::Create),
        (0..3_usize).prop_map(Step::Terminate),
        (0..3_usize).prop_map(Step::Remove),
        (0..3_usize).prop_map(Step::Edit),
        (0..3_usize).prop_map(Step::Drop),
        Just(Step::Write),
        Just(Step::Fail),
        any::<bool>().prop_map(Step::Desire),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_every_open_namespace_gets_the_bundle_and_no_other(steps in steps()) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let mut now = Instant::now();
        let mut ledger = ledger(&[], &[]);
        let mut open = [false; 3];
        let mut wanted = "new";
        for step in steps {
            now += Duration::from_secs(1);
            match step {
                Step::Create(idx) => {
                    open[idx] = true;
                    ledger.spaces(Event::Apply(space(NAMES[idx], false)));
                }
                Step::Terminate(idx) => {
                    open[idx] = false;
                    ledger.spaces(Event::Apply(space(NAMES[idx], true)));
                }
                Step::Remove(idx) => {
                    open[idx] = false;
                    ledger.spaces(Event::Delete(space(NAMES[idx], true)));
                }
                Step::Edit(idx) => ledger.config_maps(Event::Apply(config_map(NAMES[idx], "x"))),
                Step::Drop(idx) => ledger.config_maps(Event::Delete(config_map(NAMES[idx], "x"))),
                Step::Desire(other) => {
                    wanted = if other { "other" } else { "new" };
                    ledger.desire(print(wanted));
                }
                Step::Write | Step::Fail => {
                    if let Next::Write { name, .. } = ledger.next(now) {
                        let idx = NAMES.iter().position(|known| **known == *name).unwrap();
                        prop_assert!(open[idx]);
                        if matches!(step, Step::Write) {
                            ledger.written(&name, print(wanted), now);
                        } else {
                            ledger.failed(&name, now);
                        }
                    }
                }
            }
        }
        now += TEMPO.longest;
        while let Next::Write { name, .. } = ledger.next(now) {
            ledger.written(&name, print(wanted), now);
        }
        prop_assert_eq!(ledger.n_pending(), 0);
        for (name, open) in NAMES.iter().zip(open) {
            let has = ledger.found.known.get(*name).is_some_and(|found| found.has(&print(wanted)));
            prop_assert!(!open || has, "{}", name);
        }
    }
}
