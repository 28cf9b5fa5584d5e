//! Whether the program is fit to serve, and what is still missing.
//!
//! Each part registers before it starts and drops its [`Guard`] when it works; the servers of `/ready` print the [`Report`].
//! Ready means that no guard is left and that draining has not begun; draining is never taken back.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use tokio::sync::watch;

/// The program's readiness; clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

/// Keeps the program unready until it is dropped.
///
/// A guard that is dropped because its task panics keeps the program unready for good: the part does not work.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once says that the part works already"]
pub struct Guard {
    readiness: Readiness,
    id: u64,
}

/// Where one component says something about itself that does not change readiness, such as
/// `configuration refused: …, last good one in use`.
#[derive(Clone, Debug)]
pub struct Detail {
    readiness: Readiness,
    component: &'static str,
}

/// What readiness is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the program is fit to serve.
    pub ready: bool,
    /// Whether the program is on its way out.
    pub draining: bool,
    /// Names of the parts that do not work yet, in the order of registration.
    pub pending: Vec<&'static str>,
    /// What components say about themselves, by component.
    pub details: BTreeMap<&'static str, String>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    pending: BTreeMap<u64, &'static str>,
    details: BTreeMap<&'static str, String>,
    draining: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Readiness without a part: ready until something registers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }

    /// Makes the program unready until the guard is dropped; `name` says what is missing, `webhook listener`.
    pub fn register(&self, name: &'static str) -> Guard {
        let mut id = 0;
        self.state.send_modify(|state| {
            id = state.next_id;
            state.next_id += 1;
            state.pending.insert(id, name);
        });
        Guard {
            readiness: self.clone(),
            id,
        }
    }

    /// The slot in which `component` says something about itself.
    #[must_use]
    pub fn detail(&self, component: &'static str) -> Detail {
        Detail {
            readiness: self.clone(),
            component,
        }
    }

    /// Whether the program is fit to serve.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }

    /// Names of the parts that do not work yet, in the order of registration.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        self.state.borrow().pending.values().copied().collect()
    }

    /// Everything that there is to say at this moment.
    #[must_use]
    pub fn report(&self) -> Report {
        let state = self.state.borrow();
        Report {
            ready: state.is_ready(),
            draining: state.draining,
            pending: state.pending.values().copied().collect(),
            details: state.details.clone(),
        }
    }

    /// Turns readiness off for good.
    pub fn drain(&self) {
        self.state
            .send_if_modified(|state| !std::mem::replace(&mut state.draining, true));
    }

    /// Waits until the program is ready; for ever if it drains before. Dropping the future loses nothing.
    pub async fn ready(&self) {
        // The sender is alive in `self`, so the wait cannot fail.
        let _ = self.state.subscribe().wait_for(State::is_ready).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.readiness.state.send_modify(|state| {
                state.pending.remove(&self.id);
            });
        }
    }
}

// === impl Detail ===

impl Detail {
    /// Says `text` in place of what was said before.
    pub fn set(&self, text: impl Into<String>) {
        let text = text.into();
        self.readiness.state.send_modify(|state| {
            state.details.insert(self.component, text);
        });
    }

    /// Takes back what was said.
    pub fn clear(&self) {
        self.readiness
            .state
            .send_if_modified(|state| state.details.remove(self.component).is_some());
    }
}

// === impl Report ===

/// One line for the state, then one per component: the body of a `/ready` answer.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.draining {
            writeln!(f, "not ready: draining")?;
        } else if self.pending.is_empty() {
            writeln!(f, "ready")?;
        } else {
            writeln!(f, "not ready: waiting for {}", self.pending.join(", "))?;
        }
        for (component, text) in &self.details {
            writeln!(f, "{component}: {text}")?;
        }
        Ok(())
    }
}

// === impl State ===

impl State {
    fn is_ready(&self) -> bool {
        self.pending.is_empty() && !self.draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_ready_when_the_last_guard_is_gone() {
        let readiness = Readiness::new();
        let listener = readiness.register("listener");
        let configuration = readiness.register("configuration");
        assert_eq!(readiness.pending(), ["listener", "configuration"]);
        drop(listener);
        assert_eq!(readiness.pending(), ["configuration"]);
        assert!(!readiness.is_ready());
        drop(configuration);
        assert!(readiness.is_ready());
    }

    #[test]
    fn two_parts_of_one_name_both_count() {
        let readiness = Readiness::new();
        let first = readiness.register("worker");
        let _second = readiness.register("worker");
        drop(first);
        assert_eq!(readiness.pending(), ["worker"]);
    }

    #[test]
    fn draining_is_never_taken_back() {
        let readiness = Readiness::new();
        let guard = readiness.register("listener");
        readiness.drain();
        drop(guard);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report().to_string(), "not ready: draining\n");
    }

    #[test]
    fn a_part_that_panics_does_not_become_ready() {
        let readiness = Readiness::new();
        let guard = readiness.register("listener");
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("the part fails");
        });
        assert!(thread.join().is_err());
        assert_eq!(readiness.pending(), ["listener"]);
    }

    #[test]
    fn details_do_not_change_readiness() {
        let readiness = Readiness::new();
        let detail = readiness.detail("configuration");
        detail.set("refused: values: line 3");
        assert_eq!(
            readiness.report().to_string(),
            "ready\nconfiguration: refused: values: line 3\n"
        );
        detail.clear();
        assert_eq!(readiness.report().to_string(), "ready\n");
    }

    #[tokio::test]
    async fn waiting_ends_with_the_last_guard() {
        let readiness = Readiness::new();
        let guard = readiness.register("listener");
        let waiting = readiness.ready();
        drop(guard);
        waiting.await;
    }
}
