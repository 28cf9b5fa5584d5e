//! The namespaces of the cluster.
//!
//! One watch of their metadata serves all: whoever writes into every namespace hears of every change through a channel of his own, and the webhook looks up the annotations that
//! give OpenShift's ranges of ids in the [`Directory`]. On other platforms the directory stays empty, because nothing would read it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, core::PartialObjectMeta, runtime::watcher::Event};
use serde_json::{Map, Value, json};
use template::Platform;
use tokio::sync::mpsc;

use super::{
    Context,
    watch::{Selection, Watch},
};

/// Changes that may wait to be heard; the watch waits when there are more.
const QUEUE: usize = 64;
/// The annotations that are kept.
const KEPT_PREFIX: &str = "openshift.io/";

/// A namespace, as far as others want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its name.
    pub name: Box<str>,
    /// Whether it is being removed; nothing can be created in it then.
    pub terminating: bool,
}

/// Annotations by namespace; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Directory(Option<Arc<Mutex<Notes>>>);

/// Follows the namespaces.
pub struct Follower {
    context: Context,
    directory: Directory,
    listeners: Vec<mpsc::Sender<Event<Space>>>,
}

type Notes = HashMap<Box<str>, Map<String, Value>>;

// === impl Follower ===

impl Follower {
    /// A follower that nobody listens to yet.
    #[must_use]
    pub fn new(context: Context, directory: Directory) -> Self {
        Self {
            context,
            directory,
            listeners: Vec::new(),
        }
    }

    /// What it tells from the beginning on. The slowest listener sets the pace.
    #[must_use]
    pub fn listen(&mut self) -> mpsc::Receiver<Event<Space>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.listeners.push(sender);
        receiver
    }

    /// Goes on for ever.
    pub async fn run(self) {
        let mut watch = Watch::<PartialObjectMeta<Namespace>>::new(
            "the namespaces",
            Api::all(self.context.client.clone()),
            &Selection::all(),
            self.context.readiness.detail("namespaces"),
            self.context.events.clone(),
        );
        loop {
            let event = watch.next().await;
            self.directory.observe(&event);
            let event = reduce(event);
            for listener in &self.listeners {
                // Who has ended does not want to know.
                let _ = listener.send(event.clone()).await;
            }
        }
    }
}

fn reduce(event: Event<PartialObjectMeta<Namespace>>) -> Event<Space> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(Space::of(object)),
        Event::Apply(object) => Event::Apply(Space::of(object)),
        Event::Delete(object) => Event::Delete(Space::of(object)),
    }
}

// === impl Space ===

impl Space {
    fn of(object: PartialObjectMeta<Namespace>) -> Self {
        Self {
            name: object.metadata.name.unwrap_or_default().into(),
            terminating: object.metadata.deletion_timestamp.is_some(),
        }
    }
}

// === impl Directory ===

impl Directory {
    /// A directory that keeps what `platform` needs.
    #[must_use]
    pub fn new(platform: Platform) -> Self {
        Self(match platform {
            Platform::OpenShift => Some(Arc::default()),
            Platform::Kubernetes => None,
        })
    }

    /// The namespace `name` with the annotations that are known of it.
    #[must_use]
    pub fn lookup(&self, name: &str) -> template::Namespace {
        let annotations = self.notes().and_then(|notes| notes.get(name).cloned());
        match annotations {
            Some(annotations) => template::Namespace::of(json!({
                "metadata": {"name": name, "annotations": annotations},
            })),
            None => template::Namespace::named(name),
        }
    }

    fn observe(&self, event: &Event<PartialObjectMeta<Namespace>>) {
        let Some(mut notes) = self.notes() else {
            return;
        };
        let name = |object: &PartialObjectMeta<Namespace>| object.metadata.name.clone();
        match event {
            // What is gone since the last list is asked about by nobody, and replaced when it comes back.
            Event::Init | Event::InitDone => {}
            Event::InitApply(object) | Event::Apply(object) => {
                let kept = kept(object);
                if let Some(name) = name(object) {
                    if kept.is_empty() {
                        notes.remove(name.as_str());
                    } else {
                        notes.insert(name.into(), kept);
                    }
                }
            }
            Event::Delete(object) => {
                if let Some(name) = name(object) {
                    notes.remove(name.as_str());
                }
            }
        }
    }

    /// The lock is never held across anything that can panic, so a poisoned one holds whole notes.
    fn notes(&self) -> Option<MutexGuard<'_, Notes>> {
        let notes = self.0.as_ref()?;
        Some(notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn kept(object: &PartialObjectMeta<Namespace>) -> Map<String, Value> {
    object
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(KEPT_PREFIX))
        .map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, annotations: &Value) -> PartialObjectMeta<Namespace> {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations},
        }))
        .expect("a namespace")
    }

    #[test]
    fn ranges_of_ids_are_kept_where_the_platform_has_them() {
        let range = json!({"openshift.io/sa.scc.uid-range": "1000/10", "other": "x"});
        for (platform, known) in [(Platform::OpenShift, true), (Platform::Kubernetes, false)] {
            let directory = Directory::new(platform);
            directory.observe(&Event::Apply(namespace("shop", &range)));
            let object = directory.lookup("shop").object;
            let expected = json!({
                "metadata": {
                    "name": "shop",
                    "annotations": {"openshift.io/sa.scc.uid-range": "1000/10"},
                },
            });
            assert_eq!(object, known.then_some(expected), "{platform:?}");
            directory.observe(&Event::Delete(namespace("shop", &range)));
            assert_eq!(directory.lookup("shop").object, None);
        }
    }

    #[test]
    fn annotations_that_are_taken_away_are_forgotten() {
        let directory = Directory::new(Platform::OpenShift);
        let range = json!({"openshift.io/sa.scc.uid-range": "1000/10"});
        directory.observe(&Event::InitApply(namespace("shop", &range)));
        directory.observe(&Event::Apply(namespace("shop", &json!({}))));
        assert_eq!(directory.lookup("shop").object, None);
    }
}
