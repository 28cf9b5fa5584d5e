//! Files that are read again when they change.
//!
//! The configuration and the serving certificate are each a [`Reloader`]: a list of files, and a function that makes one immutable
//! value of their contents. Readers hold a [`Live`] and never see half a change, and what cannot be read or is refused leaves the
//! last good value in place, said once in the log and for as long as it lasts in readiness and metrics.
//!
//! What changed is found by [`runtime::files`].

mod voice;

use std::{error::Error, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use runtime::{error::chain, files::Watched};
use tokio::{
    task::{self, JoinError},
    time::{self, MissedTickBehavior},
};

pub use runtime::files::{Change, ReadError, Source};
pub use voice::Voice;

/// How often files are looked at. A mounted ConfigMap itself lags behind the cluster by up to a minute, so a second adds nothing.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// A value that is replaced as a whole; clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<ArcSwap<T>>);

/// Keeps a [`Live`] value in step with files.
pub struct Reloader<T, E> {
    files: Watched,
    parse: Parse<T, E>,
    amend: Amend<T>,
    live: Live<T>,
    voice: Voice,
}

/// Why files could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E: Error + 'static> {
    /// A file could not be read.
    #[error(transparent)]
    Read(ReadError),
    /// The contents make no sense.
    #[error(transparent)]
    Parse(E),
}

/// Makes a value of the contents of the files, in the order of the sources.
pub type Parse<T, E> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, E> + Send>;

/// Gives the value anew where something beside the files says so, and nothing where the value is as it should be.
pub type Amend<T> = Box<dyn FnMut(&T) -> Option<T> + Send>;

// === impl Live ===

impl<T> Live<T> {
    /// A value that nothing replaces yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The value at this moment; it stays whole while the guard lives.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// === impl Reloader ===

impl<T, E> Reloader<T, E>
where
    T: Send + Sync + 'static,
    E: Error + 'static,
{
    /// Reads the files for the first time; `voice` says what becomes of them.
    ///
    /// # Errors
    /// When a file cannot be read or `parse` refuses: at the start there is no last good value.
    pub fn start(
        sources: Vec<Source>,
        parse: Parse<T, E>,
        voice: Voice,
    ) -> Result<Self, LoadError<E>> {
        let (files, contents) = Watched::start(sources);
        let value = parse(&contents.map_err(LoadError::Read)?).map_err(LoadError::Parse)?;
        voice.loaded();
        Ok(Self {
            files,
            parse,
            amend: Box::new(|_| None),
            live: Live::new(value),
            voice,
        })
    }

    /// Asks `amend` after each look at the files, until it finds nothing to change.
    #[must_use]
    pub fn amended(mut self, amend: Amend<T>) -> Self {
        self.amend = amend;
        self
    }

    /// What says what becomes of the files.
    #[must_use]
    pub fn voice(&self) -> &Voice {
        &self.voice
    }

    /// The value, now and after each change.
    #[must_use]
    pub fn live(&self) -> Live<T> {
        self.live.clone()
    }

    /// Looks at the files once. Blocks for as long as reading and parsing take.
    pub fn poll(&mut self) -> Change {
        let change = self.look();
        while let Some(value) = (self.amend)(&self.live.load()) {
            self.live.0.store(Arc::new(value));
        }
        change
    }

    fn look(&mut self) -> Change {
        let Some(contents) = self.files.look() else {
            return Change::None;
        };
        let parsed = contents
            .map_err(LoadError::Read)
            .and_then(|contents| (self.parse)(&contents).map_err(LoadError::Parse));
        match parsed {
            Ok(value) => self.accept(value),
            Err(error) => self.refuse(&error),
        }
    }

    /// Looks at the files for ever, every [`INTERVAL`].
    ///
    /// # Errors
    /// When `parse` panics.
    pub async fn run(mut self) -> Result<(), JoinError>
    where
        E: Send,
    {
        let mut ticks = time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Off the thread that serves: a slow disk or a large template must not delay a review.
            self = task::spawn_blocking(move || {
                self.poll();
                self
            })
            .await?;
        }
    }

    fn accept(&self, value: T) -> Change {
        self.live.0.store(Arc::new(value));
        self.voice.accepted();
        Change::Accepted
    }

    fn refuse(&self, error: &LoadError<E>) -> Change {
        self.voice.refused(&chain(error).to_string());
        Change::Refused
    }
}

#[cfg(test)]
mod tests;
