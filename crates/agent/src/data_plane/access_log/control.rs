//! The switch of the access log.
//!
//! Whoever administers the proxy holds a [`Control`]; workers ask the switch once a line, the writer waits for being asked to open the
//! file anew. A change concerns the lines of requests that end after it.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use tokio::sync::Notify;

use super::Format;

/// Switches the access log and opens its file anew; clones share it, and any thread may use it.
#[derive(Clone, Debug)]
pub struct Control(Arc<Switch>);

/// What [`Control`] sets and the rest reads.
#[derive(Debug)]
pub(super) struct Switch {
    mode: AtomicU8,
    reopen: Notify,
}

const OFF: u8 = 0;
const TEXT: u8 = 1;
const JSON: u8 = 2;

// === impl Control ===

impl Control {
    pub(super) fn new(switch: Arc<Switch>) -> Self {
        Self(switch)
    }

    /// How lines are written; `None` if they are not.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.0.format()
    }

    /// Writes lines like this from now on; `None` writes no further ones. Those that were written before reach the file in any case.
    pub fn set(&self, format: Option<Format>) {
        self.0.mode.store(mode(format), Relaxed);
    }

    /// Has the writer open the file anew between two lines. Being asked again before that is being asked once.
    pub fn reopen(&self) {
        self.0.reopen.notify_one();
    }
}

// === impl Switch ===

impl Switch {
    pub(super) fn new(format: Option<Format>) -> Self {
        Self {
            mode: AtomicU8::new(mode(format)),
            reopen: Notify::new(),
        }
    }

    pub(super) fn format(&self) -> Option<Format> {
        match self.mode.load(Relaxed) {
            TEXT => Some(Format::Text),
            JSON => Some(Format::Json),
            _ => None,
        }
    }

    /// Ready when the file is to be opened anew.
    pub(super) async fn reopen_wanted(&self) {
        self.reopen.notified().await;
    }
}

fn mode(format: Option<Format>) -> u8 {
    match format {
        None => OFF,
        Some(Format::Text) => TEXT,
        Some(Format::Json) => JSON,
    }
}
