//! Tasks with an owner that awaits them.
//!
//! Listeners, reloaders and connections are started through a [`Group`], the only place of the workspace that may call
//! `tokio::spawn`; whoever made the group joins it. No task ends unseen: a panic is logged with the task's name, and an essential
//! task that fails, panics or ends before its time cancels the whole group.

use std::{
    collections::HashMap,
    error::Error,
    fmt::{self, Display, Formatter},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::{error, warn};

use crate::error::chain;

/// Named tasks that are cancelled and awaited together; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Group {
    shared: Arc<Shared>,
}

/// Why a group did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// An essential task returned an error.
    #[error("the {task} failed")]
    Failed {
        /// The task's name.
        task: &'static str,
        /// What the task returned.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An essential task panicked; the panic itself is in the log.
    #[error("the {task} panicked")]
    Panicked {
        /// The task's name.
        task: &'static str,
    },
    /// An essential task returned although nobody had asked it to.
    #[error("the {task} ended before its time")]
    Ended {
        /// The task's name.
        task: &'static str,
    },
    /// Tasks were still running at the deadline and were aborted.
    #[error("still running after {}.{:03} s: {running}", deadline.as_secs(), deadline.subsec_millis())]
    Unfinished {
        /// How long they were given.
        deadline: Duration,
        /// Their names and numbers.
        running: Census,
    },
}

/// How many tasks there are of each name: `listener, 12 × connection`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census(Vec<(&'static str, usize)>);

#[derive(Debug, Default)]
struct Shared {
    token: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
    failure: Option<Failure>,
}

/// Tells of a task's panic, from inside the unwinding task, so that nobody has to be joining at that moment.
struct Watch {
    shared: Arc<Shared>,
    name: &'static str,
    essential: bool,
}

// === impl Group ===

impl Group {
    /// A group without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A group that is cancelled when `token` is; its own failures cancel `token` as well.
    #[must_use]
    pub fn under(token: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                token,
                state: Mutex::default(),
            }),
        }
    }

    /// Starts a task whose end is its own affair, such as a connection.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let watch = Watch::new(self, name, false);
        self.start(name, async move {
            let _watch = watch;
            future.await;
        });
    }

    /// Starts a task without which the program is no use: when it fails, panics, or returns before the group is cancelled, that
    /// is logged and the group is cancelled.
    ///
    /// # Panics
    /// Panics outside a Tokio runtime.
    pub fn spawn_essential<E>(
        &self,
        name: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let watch = Watch::new(self, name, true);
        self.start(name, async move {
            match future.await {
                Ok(()) if watch.shared.token.is_cancelled() => {}
                Ok(()) => watch.shared.fail(Failure::Ended { task: name }),
                Err(error) => watch.shared.fail(Failure::Failed {
                    task: name,
                    source: error.into(),
                }),
            }
        });
    }

    /// Asks all tasks to end.
    pub fn cancel(&self) {
        self.shared.token.cancel();
    }

    /// Ends when the group is cancelled. Dropping the future loses nothing.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.shared.token.cancelled()
    }

    /// The token that cancels the group.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.shared.token
    }

    /// What is running now.
    #[must_use]
    pub fn running(&self) -> Census {
        let mut state = self.shared.state();
        state.reap();
        Census::of(state.names.values().copied())
    }

    /// Waits until every task has ended, those that are started meanwhile included; what still runs after `deadline` is aborted.
    ///
    /// It asks nobody to end: [`cancel`](Self::cancel) first. Dropping the future aborts the tasks.
    ///
    /// # Errors
    /// The first failure of an essential task, else [`Failure::Unfinished`] if tasks had to be aborted.
    pub async fn join(&self, deadline: Duration) -> Result<(), Failure> {
        let mut limit = pin!(time::sleep(deadline));
        loop {
            let (mut tasks, mut names) = self.shared.state().take();
            if tasks.is_empty() {
                break;
            }
            loop {
                let ended = tokio::select! {
                    ended = tasks.join_next_with_id() => ended,
                    () = &mut limit => {
                        return Err(self.abort(tasks, names, deadline).await);
                    }
                };
                match ended {
                    Some(Ok((id, ()))) => names.remove(&id),
                    Some(Err(error)) => names.remove(&error.id()),
                    None => break,
                };
            }
        }
        self.shared.state().failure.take().map_or(Ok(()), Err)
    }

    fn start(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.shared.state();
        // Ended tasks are let go here, so a group holds no more of them than ever ran at once.
        state.reap();
        let id = state.tasks.spawn(future).id();
        state.names.insert(id, name);
    }

    async fn abort(
        &self,
        mut tasks: JoinSet<()>,
        mut names: HashMap<Id, &'static str>,
        deadline: Duration,
    ) -> Failure {
        let (mut late, late_names) = self.shared.state().take();
        names.extend(late_names);
        let running = Census::of(names.into_values());
        warn!(%running, "tasks did not end in time and are aborted");
        tasks.shutdown().await;
        late.shutdown().await;
        let first = self.shared.state().failure.take();
        first.unwrap_or(Failure::Unfinished { deadline, running })
    }
}

// === impl Census ===

impl Census {
    /// Whether nothing is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many tasks bear `name`.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, n_tasks)| *n_tasks)
    }

    fn of(names: impl Iterator<Item = &'static str>) -> Self {
        let mut counts = std::collections::BTreeMap::new();
        for name in names {
            *counts.entry(name).or_insert(0) += 1;
        }
        Self(counts.into_iter().collect())
    }
}

impl Display for Census {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (idx, (name, n_tasks)) in self.0.iter().enumerate() {
            let comma = if idx == 0 { "" } else { ", " };
            match n_tasks {
                1 => write!(f, "{comma}{name}")?,
                _ => write!(f, "{comma}{n_tasks} × {name}")?,
            }
        }
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// The lock is never held across anything that can panic, so a poisoned one holds a whole state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, failure: Failure) {
        error!(error = %chain(&failure), "essential task ended");
        self.state().failure.get_or_insert(failure);
        self.token.cancel();
    }
}

// === impl State ===

impl State {
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => error.id(),
            };
            self.names.remove(&id);
        }
    }

    fn take(&mut self) -> (JoinSet<()>, HashMap<Id, &'static str>) {
        (mem::take(&mut self.tasks), mem::take(&mut self.names))
    }
}

// === impl Watch ===

impl Watch {
    fn new(group: &Group, name: &'static str, essential: bool) -> Self {
        Self {
            shared: Arc::clone(&group.shared),
            name,
            essential,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if self.essential {
            self.shared.fail(Failure::Panicked { task: self.name });
        } else {
            error!(task = self.name, "task panicked");
        }
    }
}

#[cfg(test)]
mod tests;
