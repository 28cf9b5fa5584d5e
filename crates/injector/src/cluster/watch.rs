//! A watch that survives the API server.
//!
//! Each part that follows objects holds a [`Watch`]; under it is kube's watcher, which lists, follows and resumes. What this adds is that a
//! failure is said once, in log, Event and readiness detail, and taken back when the objects are listed again: after a failure the watch
//! begins anew with a list, because only an answer proves that it works.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Config, DefaultBackoff, Event, watcher},
};
use runtime::{error::chain, readiness::Detail};
use serde::de::DeserializeOwned;
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{
    api::{ApiError, Kind},
    events::Events,
};

/// The longest pause between two attempts: what an outage adds, at most, to the time until all is well again.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Objects per page of a list: keeps what is in memory at once small where objects are large or many.
const PAGE: u32 = 100;

type Stream<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// Events of a set of objects, for ever.
pub struct Watch<K> {
    what: &'static str,
    begin: Box<dyn Fn() -> Stream<K> + Send + Sync>,
    /// Never locked: the mutex only lets a task that holds the watch be shared with other threads.
    stream: Mutex<Stream<K>>,
    backoff: DefaultBackoff,
    resume: Option<Instant>,
    failure: Option<Kind>,
    /// Whether a kind that the API server does not know counts as a list without objects, until there has been a list.
    or_none: bool,
    detail: Detail,
    events: Events,
}

/// Which objects to watch.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Their name, where there is only one of it in each namespace; rights by resource name need it.
    pub name: Option<String>,
    /// A label selector, `app=web,tier`; empty for any.
    pub labels: String,
    /// A field selector beside the name, `status.phase!=Failed`; empty for any.
    pub fields: String,
}

// === impl Selection ===

impl Selection {
    /// Every object.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The objects of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// The objects that a label selector selects.
    #[must_use]
    pub fn labelled(labels: String) -> Self {
        Self {
            labels,
            ..Self::default()
        }
    }

    /// The objects that a field selector selects.
    #[must_use]
    pub fn with_fields(fields: &str) -> Self {
        Self {
            fields: fields.to_owned(),
            ..Self::default()
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::default().page_size(PAGE);
        if !self.labels.is_empty() {
            config = config.labels(&self.labels);
        }
        let name = self.name.as_ref();
        let name = name.map(|name| format!("metadata.name={name}"));
        let fields = Some(self.fields.clone()).filter(|fields| !fields.is_empty());
        let fields: Vec<String> = name.into_iter().chain(fields).collect();
        if fields.is_empty() {
            return config;
        }
        config.fields(&fields.join(","))
    }
}

// === impl Watch ===

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// A watch of `selection` in `api`; `what` names it in messages, `the nodes`, and `detail` says what is wrong with it.
    pub fn new(
        what: &'static str,
        api: Api<K>,
        selection: &Selection,
        detail: Detail,
        events: Events,
    ) -> Self
    where
        Api<K>: Sync,
    {
        let config = selection.config();
        let begin: Box<dyn Fn() -> Stream<K> + Send + Sync> =
            Box::new(move || watcher(api.clone(), config.clone()).boxed());
        Self {
            what,
            stream: Mutex::new(begin()),
            begin,
            backoff: DefaultBackoff::default(),
            resume: None,
            failure: None,
            or_none: false,
            detail,
            events,
        }
    }

    /// Takes a kind that the API server does not know for one without objects. What is known of a kind that was there stays known: somebody who removes
    /// it removes the objects first, and that is told.
    #[must_use]
    pub fn or_none(mut self) -> Self {
        self.or_none = true;
        self
    }

    /// What happened next; waits for as long as the API server is away. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            if let Some(resume) = self.resume {
                time::sleep_until(resume).await;
                self.resume = None;
                self.stream = Mutex::new((self.begin)());
            }
            let stream = self
                .stream
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            match stream.next().await {
                Some(Ok(event)) => {
                    // The beginning is announced before anything is asked.
                    if !matches!(event, Event::Init) {
                        self.recovered();
                    }
                    self.or_none &= !matches!(event, Event::InitDone);
                    return event;
                }
                Some(Err(error)) => {
                    let error = ApiError::of_watch(self.what, error);
                    self.failed(&error);
                    if error.kind() == Kind::NotFound && std::mem::take(&mut self.or_none) {
                        self.pause();
                        return Event::InitDone;
                    }
                }
                // The watcher goes on for ever; if it did not, this would begin another.
                None => {}
            }
            self.pause();
        }
    }

    /// The stream begins anew after a while.
    fn pause(&mut self) {
        let wait = self.backoff.next().unwrap_or(LONGEST_PAUSE);
        self.resume = Some(Instant::now() + wait.min(LONGEST_PAUSE));
    }

    fn failed(&mut self, error: &ApiError) {
        let text = chain(error).to_string();
        // An outage has many faces, each of them said once would be many lines.
        if self.failure.replace(error.kind()) != Some(error.kind()) {
            warn!(error = %text, "watch failed, trying again");
            if error.kind() == Kind::Forbidden {
                self.events.warn("WatchForbidden", text.clone());
            }
        }
        self.detail.set(text);
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            info!(what = self.what, "watch works again");
            self.detail.clear();
            self.backoff = DefaultBackoff::default();
        }
    }
}
