//! Which destinations a worker's connections go to, for whoever keeps the mesh.
//!
//! What nobody uses is let go of by discovery; so each worker tells from time to time what has been in use since the last time. One entry a
//! destination, whatever goes on on its connections.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::discovery::Demand;

/// Destinations that are in use, or were since the last report.
#[derive(Debug)]
pub(super) struct Uses {
    /// With the connections that are open.
    open: RefCell<HashMap<IpAddr, usize>>,
}

/// A connection that goes to a destination, until it is dropped.
#[derive(Debug)]
pub(super) struct Using {
    uses: Rc<Uses>,
    destination: IpAddr,
}

/// How often they are told.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(30);

// === impl Uses ===

impl Uses {
    /// No destination.
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            open: RefCell::default(),
        })
    }

    /// One more connection to `destination`.
    pub(super) fn begin(self: &Rc<Self>, destination: IpAddr) -> Using {
        let destination = destination.to_canonical();
        *self.open.borrow_mut().entry(destination).or_default() += 1;
        Using {
            uses: Rc::clone(self),
            destination,
        }
    }

    /// Tells `demand` if it is time; when it was told last.
    pub(super) fn report(&self, demand: &Demand, last: Instant, now: Instant) -> Instant {
        if now.saturating_duration_since(last) < REPORT_INTERVAL {
            return last;
        }
        let used: Vec<IpAddr> = self.open.borrow().keys().copied().collect();
        if used.is_empty() || demand.report(used).is_ok() {
            self.open.borrow_mut().retain(|_, n_open| *n_open > 0);
        }
        now
    }
}

// === impl Using ===

impl Drop for Using {
    fn drop(&mut self) {
        if let Some(n_open) = self.uses.open.borrow_mut().get_mut(&self.destination) {
            *n_open = n_open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::demand::{Question, Questions, demand};

    fn told(questions: &mut Questions) -> Vec<IpAddr> {
        let mut batch = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        assert!(runtime.unwrap().block_on(questions.next(&mut batch, 8)));
        match batch.pop() {
            Some(Question::Used(mut used)) => {
                used.sort();
                used
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_used_is_told_once_and_what_is_in_use_each_time() {
        let (demand, mut questions, _) = demand(Duration::from_secs(5));
        let uses = Uses::new();
        let [short, long] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let open = [uses.begin(long), uses.begin(long)];
        drop(uses.begin(short));
        let begun = Instant::now();
        assert_eq!(uses.report(&demand, begun, begun), begun);
        let later = begun + REPORT_INTERVAL;
        assert_eq!(uses.report(&demand, begun, later), later);
        assert_eq!(told(&mut questions), [short, long]);
        uses.report(&demand, begun, later);
        assert_eq!(told(&mut questions), [long]);
        drop(open);
        uses.report(&demand, begun, later);
        assert_eq!(told(&mut questions), [long]);
        uses.report(&demand, begun, later);
        assert!(uses.open.borrow().is_empty());
    }
}
