//! What became of every request.
//!
//! Clients count what they asked and got, servers what they did. A request that has to be done once is entered by the server and crossed
//! out by the client, so one that is lost, or done twice, cannot hide behind another.

use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// The counts of a pair of pods.
#[derive(Default)]
pub(super) struct Tally {
    /// Requests that had to be answered, and were.
    answered: AtomicU64,
    /// Requests to a server that breaks off; what came of them was recognisable as that.
    broken: AtomicU64,
    /// Opaque connections that carried everything both ways.
    carried: AtomicU64,
    /// Clients that went away, or were slow.
    odd: AtomicU64,
    /// Certificates, meshes, logs, scrapes.
    disturbances: AtomicU64,
    /// Requests that were done and whose answer is on its way.
    done: Mutex<HashSet<u64>>,
    wrong: Mutex<Vec<String>>,
    n_wrong: AtomicU64,
}

/// Most mistakes that are told one by one.
const SHOWN: usize = 20;

// === impl Tally ===

impl Tally {
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn carried(&self) {
        self.carried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn odd(&self) {
        self.odd.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disturbed(&self) {
        self.disturbances.fetch_add(1, Ordering::Relaxed);
    }

    /// Something went wrong that must not.
    pub(super) fn wrong(&self, what: String) {
        self.n_wrong.fetch_add(1, Ordering::Relaxed);
        let mut wrong = self.wrong.lock().expect("nobody panics with it");
        if wrong.len() < SHOWN {
            wrong.push(what);
        }
    }

    /// The server has done a request that must be done once.
    pub(super) fn done(&self, id: u64) {
        if !self.done.lock().expect("nobody panics with it").insert(id) {
            self.wrong(format!("request {id} was done twice"));
        }
    }

    /// The client has the answer to it.
    pub(super) fn crossed_out(&self, id: u64) {
        if !self.done.lock().expect("nobody panics with it").remove(&id) {
            self.wrong(format!("request {id} was answered and not done"));
        }
    }

    /// Everything that was wrong.
    pub(super) fn problems(&self, name: &str) -> Vec<String> {
        let mut problems = self.wrong.lock().expect("nobody panics with it").clone();
        let n_wrong = self.n_wrong.load(Ordering::Relaxed);
        if n_wrong > SHOWN as u64 {
            problems.push(format!("{n_wrong} in all"));
        }
        let left = self.done.lock().expect("nobody panics with it");
        problems.extend(left.iter().map(|id| format!("request {id} was done again")));
        for (what, count) in [
            ("request was answered", &self.answered),
            ("answer was broken off", &self.broken),
            ("opaque connection was carried", &self.carried),
        ] {
            if count.load(Ordering::Relaxed) == 0 {
                problems.push(format!("not one {what}"));
            }
        }
        for problem in &mut problems {
            problem.insert_str(0, &format!("{name}: "));
        }
        problems
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} requests answered, {} wrong; {} broken off by the server, {} opaque connections, {} odd clients, {} disturbances",
            count(&self.answered),
            count(&self.n_wrong),
            count(&self.broken),
            count(&self.carried),
            count(&self.odd),
            count(&self.disturbances),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_done_twice_cannot_hide() {
        let tally = Tally::default();
        tally.answered();
        tally.broken();
        tally.carried();
        tally.done(1);
        tally.crossed_out(1);
        assert!(tally.problems("a").is_empty());
        tally.done(2);
        tally.done(2);
        tally.crossed_out(3);
        assert_eq!(
            tally.problems("a"),
            [
                "a: request 2 was done twice",
                "a: request 3 was answered and not done",
                "a: request 2 was done again"
            ]
        );
    }
}
