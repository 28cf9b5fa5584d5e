//! Waiting: for a change in the node's folders, for the end, or for some time.
//!
//! Called by the installer, the only thread of its process. The signals that end a container are read from a descriptor, so they are never missed and
//! never interrupt a write.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::InstallError;

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The process is to end.
    End,
    /// Something is different in a folder.
    Change,
    /// The time is over.
    Nothing,
}

/// What can be waited for.
pub(super) struct Watch {
    changes: Inotify,
    signals: SignalFd,
}

// === impl Watch ===

impl Watch {
    /// Watches these folders from now on.
    pub(super) fn over(folders: [&PathBuf; 2]) -> Result<Self, InstallError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| InstallError::Watch { what, source }
        };
        let mut ends = SigSet::empty();
        ends.add(Signal::SIGTERM);
        ends.add(Signal::SIGINT);
        ends.thread_block().map_err(failed("for signals"))?;
        let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let signals = signals.map_err(failed("for signals"))?;
        let changes = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        let changes = changes.map_err(failed("for changes"))?;
        for folder in folders {
            let folder: &Path = folder;
            let kinds =
                AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVE | AddWatchFlags::IN_DELETE;
            let added = changes.add_watch(folder, kinds);
            added.map_err(failed(&format!("the folder {}", folder.display())))?;
        }
        Ok(Self { changes, signals })
    }

    /// Waits for whatever comes first.
    pub(super) fn wait(&self, limit: Duration) -> Result<Event, InstallError> {
        self.ask(&[self.signals.as_fd(), self.changes.as_fd()], limit)
    }

    /// Waits for the end of the process or of this time, and forgets what changes meanwhile.
    pub(super) fn pause(&self, time: Duration) -> Result<Event, InstallError> {
        let event = self.ask(&[self.signals.as_fd()], time)?;
        while self.changes.read_events().is_ok() {}
        Ok(event)
    }

    fn ask(&self, descriptors: &[BorrowedFd<'_>], limit: Duration) -> Result<Event, InstallError> {
        let mut ready: Vec<_> = descriptors
            .iter()
            .map(|descriptor| PollFd::new(*descriptor, PollFlags::POLLIN))
            .collect();
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, limit) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Event::Nothing),
            Ok(_) => {}
            Err(source) => {
                let what = "for signals and changes".to_owned();
                return Err(InstallError::Watch { what, source });
            }
        }
        Ok(match self.signals.read_signal() {
            Ok(Some(_)) => Event::End,
            Ok(None) | Err(_) => Event::Change,
        })
    }
}
