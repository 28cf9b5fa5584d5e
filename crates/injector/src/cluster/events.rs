//! Events on the injector's own pod.
//!
//! Every part that has something to say to whoever runs the mesh holds an [`Events`]; one task, made by [`channel`], writes them through the
//! API server. Saying something never waits and never fails: what cannot be written is dropped, the log has it anyway.

use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{ObjectReference, Pod},
};
use kube::{
    Api, Client, Resource as _,
    api::PostParams,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use runtime::error::chain;
use tokio::sync::mpsc;
use tracing::debug;

use super::api::call;

/// What reports the events, `reportingController`.
const CONTROLLER: &str = "minimesh.io/injector";
/// The API's limit for a note, in bytes.
const MAX_NOTE_BYTES: usize = 1024;
/// How many may wait for an API server that is slow or away.
const QUEUE: usize = 32;
/// Where the API server tells a pod its own uid.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Says things about the injector's pod; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Events {
    queue: Option<mpsc::Sender<Event>>,
}

/// Writes what [`Events`] say.
pub struct Writer {
    queue: mpsc::Receiver<Event>,
    client: Client,
    pod: Identity,
}

/// The pod that the events are about.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A voice and the task that writes what it says.
#[must_use]
pub fn channel(client: Client, pod: Identity) -> (Events, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let writer = Writer {
        queue: receiver,
        client,
        pod,
    };
    (
        Events {
            queue: Some(sender),
        },
        writer,
    )
}

// === impl Events ===

impl Events {
    /// A voice that nobody hears, for a program outside of any cluster.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// Something went wrong; `reason` is a word in CamelCase, `note` a sentence that says what to do.
    pub fn warn(&self, reason: &'static str, note: impl Into<String>) {
        self.say(EventType::Warning, reason, note.into());
    }

    /// Something that was wrong is right again.
    pub fn info(&self, reason: &'static str, note: impl Into<String>) {
        self.say(EventType::Normal, reason, note.into());
    }

    fn say(&self, type_: EventType, reason: &'static str, mut note: String) {
        let Some(queue) = &self.queue else {
            return;
        };
        note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if queue.try_send(event).is_err() {
            debug!(reason, "event dropped");
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Writes for as long as anybody can say something.
    pub async fn run(mut self) {
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(self.pod.name.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let mut uid = None;
        while let Some(event) = self.queue.recv().await {
            if uid.is_none() {
                uid = uid_of(&self.client).await;
            }
            let regarding = ObjectReference {
                uid: uid.clone(),
                ..reference(&self.pod)
            };
            let written = call("write an Event", recorder.publish(&event, &regarding)).await;
            if let Err(error) = written {
                debug!(error = %chain(&error), reason = event.reason, "event not written");
            }
        }
    }
}

fn reference(pod: &Identity) -> ObjectReference {
    ObjectReference {
        api_version: Some(Pod::api_version(&()).into_owned()),
        kind: Some(Pod::kind(&()).into_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        ..ObjectReference::default()
    }
}

/// The pod's uid, by which `kubectl describe pod` finds its events. Everybody may ask who they are, so this needs no right; a program
/// outside of a pod has none.
async fn uid_of(client: &Client) -> Option<String> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let question = SelfSubjectReview::default();
    let answer = call(
        "ask the API server who this is",
        reviews.create(&PostParams::default(), &question),
    )
    .await;
    match answer {
        Ok(review) => review
            .status?
            .user_info?
            .extra?
            .get(POD_UID)?
            .first()
            .cloned(),
        Err(error) => {
            debug!(error = %chain(&error), "pod's uid unknown");
            None
        }
    }
}
