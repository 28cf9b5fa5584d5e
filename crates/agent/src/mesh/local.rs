//! The mesh from a file: `--local-mesh FILE`.
//!
//! `app` reads it with [`LocalMesh::start`] before anything else, so that a bad file ends the start, and keeps it in step with
//! [`LocalMesh::run`] afterwards; [`parse`] is the pure part. What cannot be read or is refused leaves the last good mesh in place: that
//! is said in the log, in the metrics and in readiness for as long as it lasts.
//!
//! Contents are compared, not inodes watched: the kubelet swaps a symbolic link, editors rename, people write in place. New contents
//! count once they have been seen twice, because a file that is being written may be a smaller mesh at any moment.

mod positions;
mod read;

use std::{
    fmt::{self, Display, Formatter},
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use runtime::error::chain;
use serde_saphyr::{MessageFormatter, Options, UserMessageFormatter};
use tokio::{
    task::{self, JoinError},
    time::{self, MissedTickBehavior},
};

pub use positions::Position;
pub use read::ReadError;

use super::{Mesh, MeshStore, Model, Own, problem::Place};
use crate::files::Voice;
use positions::Positions;
use read::{Stamp, read, stamp};

/// Keeps a [`MeshStore`] in step with a file.
#[derive(Debug)]
pub struct LocalMesh {
    path: PathBuf,
    own: Own,
    store: MeshStore,
    /// What the contents were that are decided on, whether they are in use or were refused.
    decided: u64,
    /// What they were at the last look, if that was something new.
    pending: Option<u64>,
    /// The file as it was when it was read last; nothing if it may have changed since without showing it.
    stamp: Option<Stamp>,
}

/// What one look at the file brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The same contents as before.
    None,
    /// New contents, which count if they are the same at the next look.
    Pending,
    /// The new contents are in use.
    Accepted,
    /// The new contents are not used, the last good mesh is.
    Refused,
}

/// Why a file gives no mesh.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It cannot be read.
    #[error("--local-mesh (env AGENT_LOCAL_MESH) gives no mesh")]
    Read(#[source] ReadError),
    /// It says nothing, maybe because it is being written.
    #[error(
        "--local-mesh (env AGENT_LOCAL_MESH): {} is empty, write {{}} if nothing is to be known of the mesh", path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// What it says is wrong.
    #[error("--local-mesh (env AGENT_LOCAL_MESH) is refused\n{}", listed(.path, .complaints))]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong, at least one thing.
        complaints: Vec<Complaint>,
    },
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where in the text, if that is known.
    pub position: Option<Position>,
    /// Where in the model, if that is known.
    pub place: Option<Place>,
    /// What is wrong, with what would be right.
    pub text: String,
}

/// How often the file is looked at, which costs one system call.
const INTERVAL: Duration = Duration::from_millis(500);
/// A change within the resolution of a file system's clock, at worst two seconds, does not show.
const CLOCK: Duration = Duration::from_secs(2);

/// Makes a mesh of `text`, YAML or JSON, for the pod `own`; what stays the same is taken over from `previous`.
///
/// # Errors
/// Everything that is wrong with it, sorted by position. Of wrong types and unknown fields only the first is told.
pub fn parse(text: &str, own: &Own, previous: Option<&Mesh>) -> Result<Mesh, Vec<Complaint>> {
    let model: Model = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| vec![Complaint::of_type(text, &error)])?;
    Mesh::build(&model, own, previous).map_err(|problems| {
        let positions = Positions::of(text);
        let complaints = problems.0.into_iter().map(|problem| Complaint {
            position: positions.position(&problem.place),
            text: problem.fault.to_string(),
            place: Some(problem.place),
        });
        let mut complaints: Vec<Complaint> = complaints.collect();
        complaints.sort_by_key(|complaint| complaint.position);
        complaints
    })
}

/// How YAML is read: no deeper than a model is, no more than a file of the largest size can hold.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 4_000_000,
            max_events: 8_000_000,
            max_anchors: 1000,
            max_total_scalar_bytes: 64 << 20,
        },
    }
}

// === impl LocalMesh ===

impl LocalMesh {
    /// Reads `path` for the first time.
    ///
    /// # Errors
    /// When the file cannot be read or is refused: at the start there is no last good mesh.
    pub fn start(path: PathBuf, own: Own) -> Result<Self, LoadError> {
        let contents = read(&path);
        let decided = fingerprint(&contents);
        let local = Self {
            path,
            own,
            store: MeshStore::default(),
            decided,
            pending: None,
            stamp: None,
        };
        let mesh = local.load(contents, None)?;
        local.store.replace(mesh);
        Ok(local)
    }

    /// Where the mesh is, now and after each change.
    #[must_use]
    pub fn store(&self) -> &MeshStore {
        &self.store
    }

    /// Looks at the file once, and says with `voice` what becomes of new contents. Blocks for as long as reading and building take.
    pub fn poll(&mut self, voice: &Voice) -> Change {
        let now = stamp(&self.path);
        let contents = read(&self.path);
        let fresh = fingerprint(&contents);
        let is_settled = now.is_some_and(|stamp| stamp.is_older_than(CLOCK, SystemTime::now()));
        self.stamp = now.filter(|_| is_settled && fresh == self.decided);
        if fresh == self.decided {
            self.pending = None;
            return Change::None;
        }
        if self.pending != Some(fresh) {
            self.pending = Some(fresh);
            return Change::Pending;
        }
        self.pending = None;
        self.decided = fresh;
        let previous = self.store.current();
        match self.load(contents, Some(&previous)) {
            Ok(mesh) => {
                voice.accepted(&format!(
                    "{} ports of services, {} workloads",
                    mesh.service_ports().len(),
                    mesh.workloads().len()
                ));
                self.store.replace(mesh);
                Change::Accepted
            }
            Err(error) => {
                voice.refused(&chain(&error).to_string().replace('\n', "; "));
                Change::Refused
            }
        }
    }

    /// Looks at the file for ever, and calls `changed` with each new mesh that is in use. Reading and building are done off the calling thread. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When building a mesh panics.
    pub async fn run(
        mut self,
        voice: Voice,
        mut changed: impl FnMut(&Mesh),
    ) -> Result<(), JoinError> {
        voice.loaded();
        let mut voice = voice;
        let mut ticks = time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.stamp.is_some() && stamp(&self.path) == self.stamp {
                continue;
            }
            let change;
            (self, voice, change) = task::spawn_blocking(move || {
                let change = self.poll(&voice);
                (self, voice, change)
            })
            .await?;
            if change == Change::Accepted {
                changed(&self.store.current());
            }
        }
    }

    fn load(
        &self,
        contents: Result<String, ReadError>,
        previous: Option<&Mesh>,
    ) -> Result<Mesh, LoadError> {
        let text = contents.map_err(LoadError::Read)?;
        let path = || self.path.clone();
        if text.trim().is_empty() {
            return Err(LoadError::Empty { path: path() });
        }
        parse(&text, &self.own, previous).map_err(|complaints| LoadError::Refused {
            path: path(),
            complaints,
        })
    }
}

// === impl Complaint ===

impl Complaint {
    fn of_type(text: &str, error: &serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let positions = Positions::of(text);
        let mut position = error.location().and_then(Position::of);
        let mut place = position.and_then(|position| positions.place(position));
        match error {
            // It is told with the key before the value.
            serde_saphyr::Error::SerdeInvalidValue { .. }
            | serde_saphyr::Error::SerdeInvalidType { .. } => {
                position = place
                    .as_ref()
                    .and_then(|place| positions.position(place))
                    .or(position);
            }
            // An object begins where its first key does.
            serde_saphyr::Error::SerdeMissingField { .. } => {
                if let Some(place) = &mut place {
                    place.0.pop();
                }
            }
            _ => {}
        }
        let message = UserMessageFormatter.format_message(error);
        Self {
            position,
            place: place.filter(|place| !place.0.is_empty()),
            text: message.chars().map(printable).collect(),
        }
    }
}

/// `12:5: services[0].name: what is wrong`.
impl Display for Complaint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}: ")?;
        }
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// A line for each, with the file before it as compilers do.
fn listed(path: &std::path::Path, complaints: &[Complaint]) -> String {
    let lines = complaints
        .iter()
        .map(|complaint| format!("{}:{complaint}", path.display()));
    lines.collect::<Vec<String>>().join("\n")
}

fn printable(char: char) -> char {
    if char.is_control() { '\u{fffd}' } else { char }
}

fn fingerprint(contents: &Result<String, ReadError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match contents {
        Ok(text) => text.hash(&mut hasher),
        Err(error) => chain(error).to_string().hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
