//! The open connections of one worker: how many there are, and who must be woken.
//!
//! Deadlines are counted in ticks of one sweep for the whole worker, because a timer of its own for each connection would cost memory
//! and a lock at every request. A wait that asks [`Slot::poll_expired`] therefore ends at most a tick late, never early.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Every open connection of a worker.
#[derive(Debug)]
pub(crate) struct Connections {
    slots: RefCell<Vec<Rc<State>>>,
    tick: Cell<u64>,
    tick_length: Duration,
}

/// A length of time in ticks, worked out once so that no request has to divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks(u64);

/// A connection's place among the others; leaving it is dropping it.
#[derive(Debug)]
pub(crate) struct Slot {
    connections: Rc<Connections>,
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    index: Cell<usize>,
    /// The tick at which the wait is over.
    deadline: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

// === impl Connections ===

impl Connections {
    /// No connections yet; [`Connections::advance`] must be called every `tick_length`.
    pub(crate) fn new(tick_length: Duration) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::default(),
            tick: Cell::new(0),
            tick_length,
        })
    }

    /// How often to call [`Connections::advance`].
    pub(crate) fn tick_length(&self) -> Duration {
        self.tick_length
    }

    /// `limit` in ticks, rounded up.
    pub(crate) fn ticks(&self, limit: Duration) -> Ticks {
        let ticks = limit
            .as_nanos()
            .div_ceil(self.tick_length.as_nanos().max(1));
        Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// A place for a new connection, without a deadline.
    pub(crate) fn enter(self: &Rc<Self>) -> Slot {
        let mut slots = self.slots.borrow_mut();
        let state = Rc::new(State {
            index: Cell::new(slots.len()),
            deadline: Cell::new(u64::MAX),
            waker: RefCell::default(),
        });
        slots.push(Rc::clone(&state));
        Slot {
            connections: Rc::clone(self),
            state,
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// One tick has passed: wakes whoever waits for a deadline that is over.
    pub(crate) fn advance(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        for state in self.slots.borrow().iter() {
            if state.deadline.get() <= now {
                state.wake();
            }
        }
    }

    /// Wakes every connection to look at the worker's phase.
    pub(crate) fn wake_all(&self) {
        self.slots.borrow().iter().for_each(|state| state.wake());
    }
}

// === impl Slot ===

impl Slot {
    /// The wait that is going on, or the next one, ends after `limit` without another call of this.
    pub(crate) fn expire_after(&self, limit: Ticks) {
        // The current tick has already begun, hence one more.
        let now = self.connections.tick.get() + 1;
        self.state.deadline.set(now.saturating_add(limit.0));
    }

    /// Ready once the deadline is over; otherwise the task is woken then, and by [`Connections::wake_all`].
    pub(crate) fn poll_expired(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.deadline.get() <= self.connections.tick.get() {
            return Poll::Ready(());
        }
        let mut waker = self.state.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = self.connections.slots.borrow_mut();
        let index = self.state.index.get();
        slots.swap_remove(index);
        if let Some(moved) = slots.get(index) {
            moved.index.set(index);
        }
        // A burst's worth of places is not kept for ever.
        if slots.capacity() > 64 && slots.len() < slots.capacity() / 4 {
            slots.shrink_to(64);
        }
    }
}

// === impl State ===

impl State {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Rc<Connections> {
        Connections::new(Duration::from_millis(10))
    }

    #[test]
    fn a_deadline_is_never_early_and_at_most_a_tick_late() {
        let connections = connections();
        let slot = connections.enter();
        let cx = Context::from_waker(Waker::noop());
        slot.expire_after(connections.ticks(Duration::from_millis(25)));
        let ticks = (1..10).find(|_| {
            connections.advance();
            slot.poll_expired(&cx).is_ready()
        });
        assert_eq!(ticks, Some(4));
    }

    #[test]
    fn leaving_keeps_the_others_findable() {
        let connections = connections();
        let mut slots: Vec<_> = (0..100).map(|_| connections.enter()).collect();
        while slots.len() > 1 {
            slots.swap_remove(slots.len() / 2);
            let indices: Vec<_> = slots.iter().map(|slot| slot.state.index.get()).collect();
            assert!(indices.iter().all(|index| *index < slots.len()));
        }
        assert_eq!(connections.len(), 1);
    }
}
