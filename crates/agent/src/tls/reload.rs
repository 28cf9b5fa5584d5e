//! Credentials from files: `--certs-dir DIR`.
//!
//! `app` reads them with [`Reloader::start`] before anything else, so that a bad file ends the start, and keeps the [`Store`] in step with
//! [`Reloader::run`] afterwards. What cannot be read or is refused leaves the last good credentials in place, loudly; no connection ever
//! notices, but for new ones being made with the new credentials. Files that come later than the proxy are used from then on.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use contract::paths;
use identity::validity::Stamp;
use runtime::{
    error::chain,
    files::{Contents, ReadError, Source, Watched},
};
use time::OffsetDateTime;
use tokio::{
    task::{self, JoinError},
    time::{MissedTickBehavior, interval},
};

use super::{
    Credentials, CredentialsError, Refusal, Store,
    credentials::{Pem, Settings},
};
use crate::files::Voice;

pub use runtime::files::Change;

/// Keeps a [`Store`] in step with a folder.
pub struct Reloader {
    folder: PathBuf,
    files: Watched,
    settings: Ask,
    /// The settings that the current credentials are made with.
    made_with: Settings,
    store: Store,
    /// It was said that the current credentials are near their end.
    doubted: bool,
}

/// Asked for the settings at each look, because the mesh may change its trust domains.
pub type Ask = Box<dyn Fn() -> Settings + Send>;

/// Why files give no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("no credentials")]
    Read(#[source] ReadError),
    /// What they hold is refused.
    #[error("credentials of --certs-dir (env AGENT_CERTS_DIR) are refused")]
    Refused(#[source] CredentialsError),
}

/// How often the files are looked at. The kubelet itself needs up to a minute to bring a change.
const INTERVAL: Duration = Duration::from_secs(1);
/// The part of their life, in per cent, after which credentials should have been renewed long ago: half of it is usual.
const LATE: u8 = 90;
/// For messages about files.
const FLAG: &str = "--certs-dir";

// === impl Reloader ===

impl Reloader {
    /// Reads the three files of `folder` for the first time. If none of them is there, that is an error only where they are `required`:
    /// without credentials the proxy speaks in plain text alone.
    ///
    /// # Errors
    /// When a file cannot be read or is refused: at the start there are no last good credentials.
    pub fn start(folder: PathBuf, required: bool, settings: Ask) -> Result<Self, LoadError> {
        let (files, contents) = Watched::start(sources(&folder));
        let made_with = settings();
        let reloader = Self {
            folder,
            files,
            settings,
            made_with,
            store: Store::default(),
            doubted: false,
        };
        if required || !reloader.has_no_files() {
            let credentials = reloader.load(contents, SystemTime::now())?;
            reloader.store.replace(credentials);
        }
        Ok(reloader)
    }

    /// Where the credentials are, now and after each change.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Looks at files and settings once. Blocks for as long as that takes.
    pub fn poll(&mut self, voice: &Voice, now: SystemTime) -> Change {
        let settings = (self.settings)();
        let has_new_settings = settings != self.made_with;
        self.made_with = settings;
        let made = match self.files.look() {
            Some(_) if self.store.load().is_none() && self.has_no_files() => return Change::None,
            Some(contents) => self.load(contents, now),
            None if has_new_settings => match self.store.current() {
                Some(current) => self.remake(&current, now),
                None => return Change::None,
            },
            None => {
                self.doubt(voice, now);
                return Change::None;
            }
        };
        match made {
            Ok(credentials) => {
                let until = Stamp(credentials.validity().not_after);
                voice.accepted(&format!("{}, valid until {until}", credentials.id()));
                self.store.replace(credentials);
                self.doubted = false;
                Change::Accepted
            }
            Err(error) => {
                let reason = chain(&error).to_string();
                voice.refused(&reason);
                self.store.refuse(Refusal { at: now, reason });
                Change::Refused
            }
        }
    }

    /// Looks at them for ever, off the calling thread. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When checking credentials panics.
    pub async fn run(mut self, mut voice: Voice) -> Result<(), JoinError> {
        if self.store.load().is_some() {
            voice.loaded();
        }
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            (self, voice) = task::spawn_blocking(move || {
                self.poll(&voice, SystemTime::now());
                (self, voice)
            })
            .await?;
        }
    }

    fn load(&self, contents: Contents, now: SystemTime) -> Result<Credentials, LoadError> {
        let contents = contents.map_err(LoadError::Read)?;
        let text = |idx: usize| contents.get(idx).map(Vec::as_slice).unwrap_or_default();
        self.make(
            Pem {
                folder: &self.folder,
                chain: text(0),
                key: text(1),
                roots: text(2),
            },
            now,
        )
    }

    /// The same credentials with other settings.
    fn remake(&self, current: &Credentials, now: SystemTime) -> Result<Credentials, LoadError> {
        self.make(current.pem(&self.folder), now)
    }

    fn make(&self, pem: Pem<'_>, now: SystemTime) -> Result<Credentials, LoadError> {
        let generation = self.store.next_generation();
        Credentials::new(pem, &self.made_with, generation, OffsetDateTime::from(now))
            .map_err(LoadError::Refused)
    }

    /// Says once that credentials should have been renewed by now.
    fn doubt(&mut self, voice: &Voice, now: SystemTime) {
        let Some(current) = self.store.current() else {
            return;
        };
        let validity = current.validity();
        if !self.doubted && OffsetDateTime::from(now) >= validity.passed(LATE) {
            self.doubted = true;
            let until = Stamp(validity.not_after);
            let folder = self.folder.display();
            voice.doubt(&format!(
                "the certificate in {folder} is valid until {until} and was not renewed, peers will refuse it then"
            ));
        }
    }

    fn has_no_files(&self) -> bool {
        self.files.sources().iter().all(|file| !file.path.exists())
    }
}

fn sources(folder: &Path) -> Vec<Source> {
    [
        paths::CERT_CHAIN_FILE,
        paths::KEY_FILE,
        paths::ROOT_CERT_FILE,
    ]
    .into_iter()
    .map(|name| Source {
        flag: FLAG,
        path: folder.join(name),
    })
    .collect()
}
