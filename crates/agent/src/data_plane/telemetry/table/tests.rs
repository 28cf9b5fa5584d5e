use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::{
    data_plane::{
        error::Flag,
        telemetry::{Code, Reporter, Security, Service},
    },
    peer::Party,
};

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Series for Count {
    fn activity(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn key(status: u16) -> Key<'static> {
    Key {
        reporter: Reporter::Destination,
        peer: Party::unknown(),
        service: &Service::InboundPassthrough,
        code: Code::Http(status),
        flag: Flag::None,
        security: Security::Plaintext,
    }
}

/// Sweeps until every series was looked at.
fn sweep(table: &mut Table<Count>, list: &List<Count>, now: Instant) {
    for _ in 0..=2 * table.entries.len() / PER_SWEEP + 1 {
        table.sweep(now, HOUR, list);
    }
}

fn add(table: &mut Table<Count>, list: &List<Count>, status: u16) {
    let place = table.find(key(status), list);
    place.series.0.fetch_add(1, Relaxed);
}

#[test]
fn what_nobody_has_used_for_long_goes_and_the_rest_stays() {
    let (mut table, list) = (Table::new(1000), List::default());
    for status in 0..200 {
        add(&mut table, &list, status);
    }
    let start = Instant::now();
    sweep(&mut table, &list, start + HOUR / 2);
    for status in (0..200).step_by(3) {
        add(&mut table, &list, status);
    }
    sweep(&mut table, &list, start + HOUR);
    sweep(&mut table, &list, start + HOUR + HOUR / 2);
    let mut left: Vec<_> = list
        .series()
        .into_iter()
        .map(|(key, series)| (key.as_key().code, series.activity()))
        .collect();
    left.sort();
    let expect: Vec<_> = (0..200)
        .step_by(3)
        .map(|status| (Code::Http(status), 2))
        .collect();
    assert_eq!(left, expect);
    sweep(&mut table, &list, start + 3 * HOUR);
    assert!(list.series().is_empty());
    add(&mut table, &list, 7);
    let [(_, series)] = &list.series()[..] else {
        panic!("one series");
    };
    assert_eq!(series.activity(), 1, "it begins anew");
}

#[test]
fn what_somebody_holds_stays_and_loses_nothing() {
    let (mut table, list) = (Table::new(10), List::default());
    let held = Arc::clone(table.find(key(200), &list).series);
    let later = Instant::now() + 2 * HOUR;
    sweep(&mut table, &list, later);
    held.0.fetch_add(1, Relaxed);
    assert_eq!(list.series()[0].1.activity(), 1);
    drop(held);
    sweep(&mut table, &list, later);
    assert_eq!(list.series().len(), 1, "it has just changed");
    sweep(&mut table, &list, later + HOUR);
    assert!(list.series().is_empty());
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_list_is_the_table(
        steps in proptest::collection::vec((0_u16..60, 0_u64..4000), 1..200)
    ) {
        let (mut table, list) = (Table::new(40), List::<Count>::default());
        let mut now = Instant::now();
        let (mut counted, mut expired) = (0, 0);
        for (status, seconds) in steps {
            add(&mut table, &list, status);
            counted += 1;
            now += Duration::from_secs(seconds);
            let sum = || list.series().iter().map(|(_, series)| series.activity()).sum::<u64>();
            let before = sum();
            table.sweep(now, HOUR, &list);
            expired += before - sum();
            prop_assert_eq!(sum() + expired, counted);
            let of_list: Vec<_> = list.series().into_iter().map(|(key, _)| key).collect();
            let of_table: Vec<_> = table.entries.keys().cloned().collect();
            prop_assert_eq!(of_list, of_table);
        }
    }
}
