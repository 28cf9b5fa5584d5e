//! The stream to the control plane, for as long as the sidecar lives.
//!
//! [`Discovery::run`] connects, hands responses and questions to the [`Picture`], and connects again when the stream ends; the last
//! picture is in use however long that takes. It runs on the housekeeping thread, so that nothing which comes here delays a request.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use runtime::{
    backoff::Backoff,
    error::chain,
    readiness::{Detail, Guard, Readiness},
    task::Group,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::mpsc,
    task,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};
use wire::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::{
    cache::{self, Contents},
    demand::{Question, Questions},
    picture::Picture,
    source::{Link, REQUESTS, Source, SourceError, shown},
    status::Status,
};
use crate::mesh::Mesh;

/// Keeps the picture in step with the control plane.
pub struct Discovery {
    picture: Picture,
    questions: Questions,
    status: Status,
    source: Source,
    readiness: Readiness,
    /// Gone once the sidecar is ready as far as discovery is concerned.
    guard: Option<Guard>,
    detail: Detail,
    group: Group,
    changed: Box<dyn FnMut(&Mesh) + Send>,
    /// Before the next attempt; begins anew when something comes.
    backoff: Backoff,
    writing: Option<task::JoinHandle<()>>,
}

/// What there is to do.
enum Chore {
    Questions(Vec<Question>),
    Due,
}

/// What happened on the stream.
enum Event {
    Chore(Chore),
    Room,
    Response(Result<Option<DeltaDiscoveryResponse>, Box<tonic::Status>>),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the control plane ended the stream of discovery")]
    Closed,
    #[error("the stream of discovery broke: {} ({})", shown(.0.message()), .0.code())]
    Broken(Box<tonic::Status>),
    #[error(transparent)]
    Unasked(#[from] super::client::Unasked),
}

/// Questions that are taken at once.
const BATCH: usize = 256;
/// Acknowledgements that may wait to be sent while responses are still read.
const MOST_OWED: usize = 8;
/// Before the second attempt, at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(400);
/// Before each attempt, in the end: a control plane that comes back is to be noticed before anybody wonders.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

// === impl Discovery ===

impl Discovery {
    /// Puts it together; the sidecar is unready until the control plane has said enough, or the cache must do.
    #[must_use]
    pub fn new(
        (picture, questions): (Picture, Questions),
        source: Source,
        status: Status,
        readiness: &Readiness,
        group: &Group,
        changed: impl FnMut(&Mesh) + Send + 'static,
    ) -> Self {
        status.change(|report| report.control_plane = Some(source.endpoint.to_string()));
        Self {
            picture,
            questions,
            status,
            source,
            guard: Some(readiness.register("discovery")),
            detail: readiness.detail("discovery"),
            readiness: readiness.clone(),
            group: group.clone(),
            changed: Box::new(changed),
            backoff: Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE),
            writing: None,
        }
    }

    /// Runs for ever. Dropping the future closes the stream.
    pub async fn run(mut self) {
        loop {
            match self.connect().await {
                Ok(link) => {
                    let ended = Box::pin(self.follow(link)).await;
                    self.lost(&ended);
                }
                Err(error) => self.failed(&error),
            }
            self.pause().await;
        }
    }

    async fn connect(&mut self) -> Result<Link, SourceError> {
        let client = self.picture.client();
        client.restart();
        let first: Vec<_> = std::iter::from_fn(|| client.next_request())
            .take(REQUESTS)
            .collect();
        self.count_sent(first.len());
        let (source, group) = (self.source.clone(), self.group.clone());
        let mut opening = Box::pin(async move { source.open(first, &group).await });
        loop {
            tokio::select! {
                opened = &mut opening => return opened,
                chore = next_chore(&mut self.questions, &self.picture) => self.attend(chore),
            }
        }
    }

    /// Serves a stream until it ends.
    async fn follow(&mut self, mut link: Link) -> Ended {
        info!(control_plane = %self.source.endpoint, "discovery is connected");
        self.status.metrics.connected.set(1);
        self.status.change(|report| {
            report.connected_since = Some(SystemTime::now());
            report.last_error = None;
        });
        let mut unsent: Option<DeltaDiscoveryRequest> = None;
        loop {
            if unsent.is_none() {
                unsent = self.picture.client().next_request();
            }
            let may_read = self.picture.client().n_owed() < MOST_OWED;
            let event = tokio::select! {
                chore = next_chore(&mut self.questions, &self.picture) => Event::Chore(chore),
                room = send(&link.requests, &mut unsent) => match room {
                    true => Event::Room,
                    false => return Ended::Closed,
                },
                response = link.responses.message(), if may_read => {
                    Event::Response(response.map_err(Box::new))
                }
            };
            match event {
                Event::Chore(chore) => self.attend(chore),
                Event::Room => self.count_sent(1),
                Event::Response(Ok(Some(response))) => {
                    self.backoff.reset();
                    self.status.metrics.responses.inc();
                    if let Err(error) = self.picture.take(response, now()) {
                        return error.into();
                    }
                    self.look();
                }
                Event::Response(Ok(None)) => return Ended::Closed,
                Event::Response(Err(status)) => return Ended::Broken(status),
            }
        }
    }

    /// Waits before the next attempt, longer after each failure, and never as long as the others.
    async fn pause(&mut self) {
        let until = Instant::now() + self.backoff.pause(fastrand::f64());
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                chore = next_chore(&mut self.questions, &self.picture) => self.attend(chore),
            }
        }
    }

    fn attend(&mut self, chore: Chore) {
        let now = now();
        match chore {
            Chore::Questions(questions) => {
                for question in questions {
                    self.picture.ask(question, now);
                }
                self.picture.answer(now);
            }
            Chore::Due => {
                if let Some(contents) = self.picture.tick(now) {
                    self.save(contents);
                }
            }
        }
        self.look();
    }

    /// Tells what follows from the picture of the moment.
    fn look(&mut self) {
        (self.changed)(&self.picture.store().load());
        if self.picture.is_told() {
            self.picture.leave_cache();
            self.detail.clear();
            if self.guard.take().is_some() {
                info!("discovery has told what the sidecar needs");
            }
        } else if let Some(awaited) = self.picture.awaited() {
            self.detail.set(awaited);
        }
    }

    fn lost(&mut self, ended: &Ended) {
        self.status.metrics.connected.set(0);
        self.status.metrics.errors.inc();
        let reason = chain(ended).to_string();
        if self.readiness.report().draining {
            return;
        }
        info!(reason, "discovery is disconnected and connects again");
        self.picture.lost();
        self.away(reason);
    }

    fn failed(&mut self, error: &SourceError) {
        self.status.metrics.failures.inc();
        let reason = chain(error).to_string();
        // The first failure is news; that it goes on is for readiness and the metrics.
        if self.backoff.is_fresh() {
            warn!(
                reason,
                "the control plane cannot be reached, the last picture of the mesh stays in use"
            );
        }
        self.away(reason);
    }

    /// There is no stream.
    fn away(&mut self, reason: String) {
        let cache = self.picture.cache_from();
        let in_use = match cache {
            Some(written) => format!("what the cache of {} says is in use", Written(written)),
            None => "the last picture of the mesh is in use".to_owned(),
        };
        self.detail.set(format!("{reason}; {in_use}"));
        self.status.change(|report| {
            report.connected_since = None;
            report.last_error = Some(reason);
        });
        if cache.is_some() && self.guard.take().is_some() {
            warn!(
                "the sidecar starts from the cache of discovery, because the control plane does not answer"
            );
        }
    }

    fn save(&mut self, contents: Contents) {
        let Some(path) = self.picture.cache_path() else {
            return;
        };
        if self
            .writing
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return;
        }
        let failures = self.status.metrics.cache_failures.clone();
        self.writing = Some(task::spawn_blocking(move || {
            if let Err(error) = cache::write(&path, &contents) {
                failures.inc();
                warn!(error = %chain(&error), "the cache of discovery is not written");
            }
        }));
    }

    fn count_sent(&self, n: usize) {
        self.status.metrics.requests.inc_by(n as u64);
    }
}

/// Waits for something to do. Dropping the future loses nothing.
async fn next_chore(questions: &mut Questions, picture: &Picture) -> Chore {
    let mut batch = Vec::new();
    tokio::select! {
        true = questions.next(&mut batch, BATCH) => Chore::Questions(batch),
        () = sleep_until(picture.next_at().into()) => Chore::Due,
    }
}

/// Sends the request when there is room; false if nobody takes it. Waits for ever without one. Dropping the future loses nothing.
async fn send(
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    unsent: &mut Option<DeltaDiscoveryRequest>,
) -> bool {
    if unsent.is_none() {
        return std::future::pending().await;
    }
    match requests.reserve().await {
        Ok(room) => {
            if let Some(request) = unsent.take() {
                room.send(request);
            }
            true
        }
        Err(_) => false,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A time for people.
struct Written(SystemTime);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from(self.0).format(&Rfc3339);
        f.write_str(text.as_deref().unwrap_or("an unknown time"))
    }
}
