//! The task that writes Events.
//!
//! It takes what [`super::Events`] were told, asks the ledger whether that is news, finds the object that people look at, and creates an Event or
//! counts one more in it. An Event's name follows from what it says, so replicas that say the same count in one and the same Event.
//! Writes about workloads are spread over time, whatever happens in the cluster, and what cannot be written is given up.

use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        authentication::v1::SelfSubjectReview,
        batch::v1::Job,
        core::v1::{ConfigMap, ReplicationController},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use runtime::error::chain;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{fmt::Debug, time::Duration};
use tokio::{
    sync::mpsc,
    time::{self, Instant, MissedTickBehavior},
};
use tracing::{debug, info, warn};

use super::{
    CONTROLLER, Metrics, Notice, Object,
    ledger::{self, Key, Ledger, Place},
};
use crate::cluster::api::{ApiError, Kind, call};

/// How often it is looked what is to be counted.
const FLUSH: Duration = Duration::from_secs(30);
/// How many Events about workloads may be written in a row.
const BURST: u32 = 50;
/// The time after which one more may be written.
const REFILL: Duration = Duration::from_millis(500);
/// How often replicas may get in each other's way over one count.
const MAX_ATTEMPTS: usize = 4;
/// What of an object's name goes into an Event's name, which has the same limit and 17 characters more.
const MAX_PREFIX_BYTES: usize = 200;
/// Where the API server tells a pod its own uid.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Writes what [`super::Events`] say.
pub struct Writer {
    client: Client,
    pod: Object,
    own: mpsc::Receiver<Notice>,
    workloads: mpsc::Receiver<Notice>,
    ledger: Ledger,
    allowance: Allowance,
    /// Whether the last write failed, which is said once.
    is_failing: bool,
    metrics: Metrics,
}

/// How many writes there may be now.
#[derive(Debug)]
struct Allowance {
    left: u32,
    refilled: Instant,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        client: Client,
        pod: Object,
        own: mpsc::Receiver<Notice>,
        workloads: mpsc::Receiver<Notice>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            pod,
            own,
            workloads,
            ledger: Ledger::default(),
            allowance: Allowance::new(Instant::now()),
            is_failing: false,
            metrics,
        }
    }

    /// Writes for as long as anybody can say something. Dropping the future loses what has not been written.
    pub async fn run(mut self) {
        let mut ticks = time::interval(FLUSH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wait = self.allowance.wait(Instant::now());
            tokio::select! {
                biased;
                notice = self.own.recv() => match notice {
                    Some(notice) => self.say(notice).await,
                    None => return,
                },
                _ = ticks.tick() => self.flush().await,
                () = time::sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => {}
                Some(notice) = self.workloads.recv(), if wait.is_none() => self.say(notice).await,
            }
        }
    }

    async fn say(&mut self, notice: Notice) {
        let Some(key) = self.ledger.hear(&notice, Instant::now()) else {
            return self.metrics.folded();
        };
        self.allowance.take();
        let result = self.publish(notice).await;
        self.ended(Some(key), result);
    }

    async fn flush(&mut self) {
        for repeats in self.ledger.due(Instant::now()) {
            self.allowance.take();
            let counted = self.count(&repeats.place, repeats.n_times).await;
            // An Event lives for an hour; what it said is over if it has gone meanwhile.
            match counted {
                Err(error) if error.kind() == Kind::NotFound => {}
                counted => self.ended(None, counted.map(|()| repeats.place)),
            }
        }
    }

    fn ended(&mut self, key: Option<Key>, result: Result<Place, ApiError>) {
        match result {
            Ok(place) => {
                self.metrics.written();
                if let Some(key) = key {
                    self.ledger.written(key, place);
                }
                if std::mem::take(&mut self.is_failing) {
                    info!("Events are written again");
                }
            }
            Err(error) => {
                self.metrics.failed();
                if let Some(key) = key {
                    self.ledger.failed(key);
                }
                // A namespace that is being removed takes no Event, and nobody would read it.
                if !error.is_terminating() && !std::mem::replace(&mut self.is_failing, true) {
                    warn!(error = %chain(&error), "Events cannot be written");
                }
            }
        }
    }

    async fn publish(&mut self, notice: Notice) -> Result<Place, ApiError> {
        let about = self.shown(notice.about.clone()).await;
        let place = place(&about, &notice);
        let event = event(&self.pod, &about, notice, &place);
        let events = Api::<Event>::namespaced(self.client.clone(), &place.namespace);
        let doing = format!("create Event {}/{}", place.namespace, place.name);
        match call(doing, events.create(&PostParams::default(), &event)).await {
            Err(error) if error.kind() == Kind::Conflict => self.count(&place, 1).await?,
            created => drop(created?),
        }
        Ok(place)
    }

    /// Counts `n_times` more in the Event at `place`.
    async fn count(&self, place: &Place, n_times: i32) -> Result<(), ApiError> {
        let events = Api::<Event>::namespaced(self.client.clone(), &place.namespace);
        let params = PatchParams::default();
        let mut attempt = 1;
        loop {
            let doing = || format!("patch Event {}/{}", place.namespace, place.name);
            // A patch that changes nothing shows the object without a right to read Events.
            let nothing = Patch::Merge(json!({}));
            let there = call(doing(), events.patch(&place.name, &params, &nothing)).await?;
            let so_far = there.series.map_or(1, |series| series.count);
            let counted = Patch::Merge(json!({
                // Refused if another replica has counted meanwhile.
                "metadata": {"resourceVersion": there.metadata.resource_version},
                "series": {
                    "count": so_far.saturating_add(n_times),
                    "lastObservedTime": MicroTime(Timestamp::now()),
                },
            }));
            match call(doing(), events.patch(&place.name, &params, &counted)).await {
                Err(error) if error.kind() == Kind::Conflict && attempt < MAX_ATTEMPTS => {
                    attempt += 1;
                }
                result => return result.map(drop),
            }
        }
    }

    /// The object that a person looks at: the Deployment of a ReplicaSet, the CronJob of a Job. Where that cannot be found out it is `about` itself.
    async fn shown(&mut self, about: Object) -> Object {
        let found = match (about.kind.as_str(), &about.uid) {
            ("Pod", None) if about == self.pod => self.own_pod().await,
            ("ConfigMap", None) => self.identified::<ConfigMap>(&about).await,
            ("ReplicaSet", Some(_)) => self.controller::<ReplicaSet>(&about).await,
            ("Job", Some(_)) => self.controller::<Job>(&about).await,
            ("ReplicationController", Some(_)) => {
                self.controller::<ReplicationController>(&about).await
            }
            _ => None,
        };
        found.unwrap_or(about)
    }

    /// The pod with its uid. Everybody may ask who they are, so this needs no right; a program outside of a pod has none.
    async fn own_pod(&mut self) -> Option<Object> {
        let reviews = Api::<SelfSubjectReview>::all(self.client.clone());
        let question = SelfSubjectReview::default();
        let params = PostParams::default();
        let request = reviews.create(&params, &question);
        let review = noted(call("ask the API server who this is", request).await)?;
        let user = review.status?.user_info?;
        let uid = user.extra?.get(POD_UID)?.first()?.clone();
        Some(Object {
            uid: Some(uid),
            ..self.pod.clone()
        })
    }

    async fn identified<K: Kept>(&self, object: &Object) -> Option<Object> {
        Some(Object {
            uid: self.metadata::<K>(object).await?.uid,
            ..object.clone()
        })
    }

    async fn controller<K: Kept>(&self, object: &Object) -> Option<Object> {
        let metadata = self.metadata::<K>(object).await?;
        // Whoever wrote the pod may have named what is not its owner.
        if metadata.uid != object.uid {
            return None;
        }
        let owners = metadata.owner_references.unwrap_or_default();
        let is_controller = |owner: &OwnerReference| owner.controller == Some(true);
        let owner = owners.into_iter().find(is_controller)?;
        Some(Object::of_owner(owner, &object.namespace))
    }

    async fn metadata<K: Kept>(&self, object: &Object) -> Option<ObjectMeta> {
        let api = Api::<K>::namespaced(self.client.clone(), &object.namespace);
        let doing = format!("get {} {}/{}", object.kind, object.namespace, object.name);
        let found = call(doing, api.get_metadata(&object.name)).await;
        Some(noted(found)?.metadata)
    }
}

/// A kind whose objects are in namespaces.
trait Kept:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned
{
}

impl<K> Kept for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
{
}

/// What is only nice to know.
fn noted<T>(result: Result<T, ApiError>) -> Option<T> {
    result
        .inspect_err(
            |error| debug!(error = %chain(error), "an Event is about less than it could be"),
        )
        .ok()
}

/// Where an Event that says this about this is: the same for all replicas, and for whatever else belongs to the same object.
fn place(about: &Object, notice: &Notice) -> Place {
    let said = ledger::hash(&(about, notice.severity, &notice.reason, &notice.note));
    let end = about.name.floor_char_boundary(MAX_PREFIX_BYTES);
    let prefix = about.name.get(..end).unwrap_or_default();
    let prefix = prefix.trim_end_matches(['-', '.']);
    Place {
        namespace: about.namespace.clone(),
        name: format!("{prefix}.{said:016x}"),
    }
}

fn event(pod: &Object, about: &Object, notice: Notice, place: &Place) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(place.name.clone()),
            namespace: Some(place.namespace.clone()),
            ..ObjectMeta::default()
        },
        regarding: Some(about.reference()),
        type_: Some(notice.severity.as_str().to_owned()),
        reason: Some(notice.reason),
        action: Some(notice.action.to_owned()),
        note: Some(notice.note),
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(pod.name.clone()),
        ..Event::default()
    }
}

// === impl Allowance ===

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            refilled: now,
        }
    }

    /// When there may be a write again, if not at `now`.
    fn wait(&mut self, now: Instant) -> Option<Instant> {
        while self.left < BURST && self.refilled + REFILL <= now {
            self.left += 1;
            self.refilled += REFILL;
        }
        if self.left == BURST {
            self.refilled = now;
        }
        (self.left == 0).then(|| self.refilled + REFILL)
    }

    fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::events::Severity;

    #[test]
    fn writes_come_in_a_burst_and_then_slowly() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(begin);
        for _ in 0..BURST {
            assert_eq!(allowance.wait(begin), None);
            allowance.take();
        }
        assert_eq!(allowance.wait(begin), Some(begin + REFILL));
        assert_eq!(allowance.wait(begin + REFILL), None);
        allowance.take();
        assert_eq!(allowance.wait(begin + REFILL), Some(begin + 2 * REFILL));
        assert_eq!(allowance.wait(begin + 2000 * REFILL), None);
        assert_eq!(allowance.left, BURST);
    }

    #[test]
    fn an_events_name_follows_from_what_it_says_and_is_always_one() {
        let notice = |note: &str| Notice {
            about: Object::core("Pod", "shop", "web"),
            severity: Severity::Warning,
            reason: "HostNetwork".to_owned(),
            action: "Inject",
            note: note.to_owned(),
        };
        let about = |name: &str| Object::core("Deployment", "shop", name);
        let web = place(&about("web"), &notice("a"));
        assert_eq!(web, place(&about("web"), &notice("a")));
        assert_ne!(web, place(&about("web"), &notice("b")));
        assert_ne!(web, place(&about("db"), &notice("a")));
        for name in [
            format!("{}.{}", "x".repeat(199), "y".repeat(53)),
            "ä".repeat(120),
        ] {
            let name = place(&about(&name), &notice("a")).name;
            assert!(name.len() <= 253 && !name.contains(".."), "{name}");
        }
    }
}
