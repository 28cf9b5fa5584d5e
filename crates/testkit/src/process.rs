//! Child processes that end with the value that stands for them.
//!
//! Used by tests and the demo for agents, servers and clients started inside pods.
//! Output goes to files or is inherited, never to a pipe that nobody reads, so a child cannot block on it.

use std::{
    io,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running child; dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Option<Child>,
    name: String,
}

// === impl Process ===

impl Process {
    /// Takes charge of `child`; `name` is for messages.
    pub fn new(name: impl Into<String>, child: Child) -> Self {
        Self {
            child: Some(child),
            name: name.into(),
        }
    }

    /// The process id, also after the child has ended.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What the process was called in [`Process::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends `signal` to the child.
    ///
    /// # Errors
    /// The kernel's refusal, for example because the child has ended and was reaped.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), signal).map_err(io::Error::from)
    }

    /// The exit status if the child has ended.
    ///
    /// # Errors
    /// The kernel's refusal to tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Waits until the child ends, at most `limit`.
    ///
    /// # Errors
    /// `TimedOut` with the child's name when it is still running.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let mut status = None;
        eventually(limit, || {
            status = self.try_wait().ok().flatten();
            status.is_some()
        });
        status.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} is still running", self.name),
            )
        })
    }

    /// Lets the child go on after this value is gone, and returns its process id.
    pub fn detach(mut self) -> u32 {
        let id = self.id();
        self.child = None;
        id
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Killing a child that has already ended is no fault.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks `condition` every few milliseconds until it holds or `limit` has passed; tells whether it held.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
