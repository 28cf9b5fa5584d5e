//! Who is connected, and who goes when there is no room.
//!
//! The accept loop takes a [`Seat`] per connection; the connection notes its requests on it. When all seats are taken, the connection
//! that has been idle longest is asked to leave, first of all one that has never sent a request. A busy connection is never asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// All seats of a listener.
#[derive(Debug)]
pub(super) struct Seats {
    limit: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    occupants: BTreeMap<u64, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    activity: Activity,
    leave: CancellationToken,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// Requests that are being served now.
    pub(super) n_running: usize,
    /// Whether any request has come.
    pub(super) used: bool,
    /// When the last request ended, or the connection began.
    pub(super) since: Instant,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    taken: Arc<Mutex<Taken>>,
    leave: CancellationToken,
}

/// A request on a seat; over when dropped.
pub(super) struct Running {
    id: u64,
    taken: Arc<Mutex<Taken>>,
}

// === impl Seats ===

impl Seats {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Arc::default(),
        }
    }

    /// A seat, if need be that of an idle connection; none if all are busy.
    pub(super) fn take(&self) -> Option<Seat> {
        let mut taken = lock(&self.taken);
        if taken.occupants.len() >= self.limit {
            let id = taken.longest_idle()?;
            taken.occupants.remove(&id)?.leave.cancel();
        }
        let id = taken.next_id;
        taken.next_id += 1;
        let leave = CancellationToken::new();
        taken.occupants.insert(
            id,
            Occupant {
                activity: Activity {
                    n_running: 0,
                    used: false,
                    since: Instant::now(),
                },
                leave: leave.clone(),
            },
        );
        Some(Seat {
            id,
            taken: Arc::clone(&self.taken),
            leave,
        })
    }
}

// === impl Taken ===

impl Taken {
    fn longest_idle(&self) -> Option<u64> {
        self.occupants
            .iter()
            .filter(|(_, occupant)| occupant.activity.n_running == 0)
            .min_by_key(|(_, occupant)| (occupant.activity.used, occupant.activity.since))
            .map(|(id, _)| *id)
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Activity)) {
        // An occupant that was asked to leave is not on the list any more.
        if let Some(occupant) = self.occupants.get_mut(&id) {
            change(&mut occupant.activity);
        }
    }
}

// === impl Seat ===

impl Seat {
    /// What the connection is doing; nothing if its seat has gone to another.
    pub(super) fn activity(&self) -> Option<Activity> {
        lock(&self.taken)
            .occupants
            .get(&self.id)
            .map(|occupant| occupant.activity)
    }

    /// Ends when the seat goes to another.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    /// Notes that a request has come.
    pub(super) fn run(&self) -> Running {
        lock(&self.taken).change(self.id, |activity| {
            activity.n_running += 1;
            activity.used = true;
        });
        Running {
            id: self.id,
            taken: Arc::clone(&self.taken),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.taken).occupants.remove(&self.id);
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.taken).change(self.id, |activity| {
            activity.n_running = activity.n_running.saturating_sub(1);
            activity.since = Instant::now();
        });
    }
}

/// Nothing that can panic happens under the lock, so a poisoned one holds whole lists.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time;

    use super::*;

    fn left(seat: &Seat) -> bool {
        seat.leave.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_makes_room() {
        let seats = Seats::new(3);
        let used_first = seats.take().unwrap();
        drop(used_first.run());
        time::advance(Duration::from_secs(1)).await;
        let unused = seats.take().unwrap();
        time::advance(Duration::from_secs(1)).await;
        let used_last = seats.take().unwrap();
        drop(used_last.run());
        let _first = seats.take().unwrap();
        assert!(left(&unused), "one that never sent a request goes first");
        let first_is_unused_too = seats.take().unwrap();
        assert!(!left(&used_first));
        drop(first_is_unused_too.run());
        let _another = seats.take().unwrap();
        assert!(left(&used_first) && !left(&used_last));
    }

    #[tokio::test]
    async fn busy_connections_keep_their_seats() {
        let seats = Seats::new(1);
        let seat = seats.take().unwrap();
        let running = seat.run();
        assert!(seats.take().is_none());
        drop(running);
        assert!(seats.take().is_some());
        assert!(left(&seat) && seat.activity().is_none());
    }

    #[tokio::test]
    async fn a_seat_is_given_back() {
        let seats = Seats::new(1);
        drop(seats.take().unwrap());
        let seat = seats.take().unwrap();
        assert!(!left(&seat));
    }
}
