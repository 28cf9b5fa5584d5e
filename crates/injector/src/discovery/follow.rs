//! Follows the cluster and keeps the catalogue in step with it.
//!
//! One task: it hears of Services, EndpointSlices, pods and nodes from the API server, of policies from `policy`, and looks at the mesh configuration; the
//! catalogue is settled once a burst of changes is over. Nothing is told to sidecars before all but the nodes have been listed once, because half a cluster
//! would look like one in which the other half is gone. What is listed again after a gap replaces what was known.

mod received;
mod reduce;

use std::{collections::HashSet, fmt::Debug, time::Duration};

use k8s_openapi::api::core::v1 as core;
use kube::{Api, Resource, core::PartialObjectMeta, runtime::watcher::Event};
use runtime::readiness::Guard;
use serde::de::DeserializeOwned;
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::{
    catalog::Catalog,
    debounce::{Debounce, Pauses},
    metrics::Metrics,
    model::Model,
    object::{Key, Node, Pod, Service, Slice, Texts},
    settings,
};
use crate::{
    cluster::{
        Context,
        watch::{Selection, Watch},
    },
    files::Live,
    policy::Published,
};
pub use reduce::Unusable;

/// What the task works with.
pub struct Follower {
    catalog: Catalog,
    configuration: Live<template::Config>,
    policies: Published,
    metrics: Metrics,
    pauses: Pauses,
    texts: Texts,
    services: Kind<Service>,
    slices: Kind<Slice>,
    pods: Kind<Pod>,
    nodes: Kind<Node>,
    /// Whether the policies are known.
    governed: bool,
    /// Dropped once everything has been listed.
    guard: Option<Guard>,
}

/// Objects of one kind.
struct Kind<T: Followed> {
    watch: Watch<T::Received>,
    /// What a list that is being read has named so far.
    listing: HashSet<Key>,
    /// Whether there was a whole list.
    listed: bool,
    /// Objects that cannot be used, as far as that was said.
    said: HashSet<Key>,
}

/// A kind of object that is followed.
trait Followed: Sized {
    /// As it comes from the API server.
    type Received: Resource + Clone + Debug + DeserializeOwned + Send + 'static;
    /// Istio's word for it in metrics.
    const NAME: &'static str;

    /// What is kept of it; nothing if it is of no use.
    fn reduce(received: &Self::Received, texts: &mut Texts) -> Result<Option<Self>, Unusable>;
    /// Says whether that is news.
    fn set(model: &mut Model, key: &Key, object: Option<Self>) -> bool;
    /// Those that the model has.
    fn keys(model: &Model) -> Vec<Key>;
}

/// How often the mesh configuration is looked at: as often as its files.
const LOOK: Duration = crate::files::INTERVAL;
/// What is said of objects that cannot be used; more are only counted.
const MOST_SAID: usize = 1000;
/// Pods that have ended keep their address in their status, and are nobody's endpoints.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// EndpointSlices of Services; others are somebody's own affair.
const OF_SERVICES: &str = "kubernetes.io/service-name";

// === impl Follower ===

impl Follower {
    /// A follower of the cluster of `context`, before anything has been asked.
    #[must_use]
    pub fn new(
        context: &Context,
        configuration: Live<template::Config>,
        policies: Published,
        catalog: Catalog,
        metrics: Metrics,
        pauses: Pauses,
    ) -> Self {
        Self {
            catalog,
            configuration,
            policies,
            metrics,
            pauses,
            texts: Texts::default(),
            services: Kind::new(context, "the Services", "services", &Selection::all()),
            slices: Kind::new(
                context,
                "the EndpointSlices",
                "endpoint slices",
                &Selection::labelled(OF_SERVICES.to_owned()),
            ),
            pods: Kind::new(
                context,
                "the pods",
                "pods",
                &Selection::with_fields(RUNNING),
            ),
            nodes: Kind::new(
                context,
                "where the nodes are",
                "localities",
                &Selection::all(),
            ),
            governed: false,
            guard: Some(context.readiness.register("discovery")),
        }
    }

    /// Follows for ever.
    pub async fn run(mut self) {
        let mut debounce = Debounce::new(self.pauses);
        let mut look = time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut configured = None;
        self.configure(&mut configured);
        // They may have been published before.
        self.govern();
        loop {
            let due = debounce.due();
            let changed = tokio::select! {
                event = self.services.watch.next() => self.services.observe(event, &self.catalog, &mut self.texts, &self.metrics),
                event = self.slices.watch.next() => self.slices.observe(event, &self.catalog, &mut self.texts, &self.metrics),
                event = self.pods.watch.next() => self.pods.observe(event, &self.catalog, &mut self.texts, &self.metrics),
                event = self.nodes.watch.next() => self.nodes.observe(event, &self.catalog, &mut self.texts, &self.metrics),
                Ok(()) = self.policies.changed() => self.govern(),
                _ = look.tick() => {
                    self.configure(&mut configured);
                    false
                }
                () = time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.settle(debounce.end(Instant::now()));
                    false
                }
            };
            if changed {
                debounce.note(Instant::now());
            }
            self.begin_if_complete(&mut debounce);
        }
    }

    /// Takes over the mesh configuration if it is another than the last time.
    fn configure(&self, configured: &mut Option<template::Config>) {
        let current = self.configuration.load();
        let current = template::Config::clone(&current);
        if !configured
            .as_ref()
            .is_some_and(|last| last.is_same(&current))
        {
            let settings = settings::resource(&current);
            self.catalog
                .configure(&settings::cluster(&current), vec![settings]);
            *configured = Some(current);
        }
    }

    /// Takes over the policies in force; says whether there are any to be in force yet.
    fn govern(&mut self) -> bool {
        let policies = self.policies.borrow_and_update().clone();
        let Some(policies) = policies else {
            return false;
        };
        self.catalog.set_policies(policies);
        self.governed = true;
        true
    }

    fn settle(&self, burst: Duration) {
        let n_changes = self.catalog.settle();
        let counts = self.catalog.read().counts();
        self.metrics.settled(burst, n_changes, counts);
    }

    fn begin_if_complete(&mut self, debounce: &mut Debounce) {
        // Where nodes are only makes one endpoint nearer than another, and can be told later.
        let listed = self.services.listed && self.slices.listed && self.pods.listed;
        if !(listed && self.governed) || self.guard.is_none() {
            return;
        }
        self.settle(debounce.end(Instant::now()));
        self.catalog.complete();
        let counts = self.catalog.read().counts();
        info!(
            services = counts.services,
            pods = counts.pods,
            "the cluster is known"
        );
        self.guard = None;
    }
}

// === impl Kind ===

impl<T: Followed> Kind<T> {
    fn new(
        context: &Context,
        what: &'static str,
        component: &'static str,
        selection: &Selection,
    ) -> Self
    where
        T::Received: Resource<DynamicType = ()>,
        Api<T::Received>: Sync,
    {
        Self {
            watch: Watch::new(
                what,
                Api::all(context.client.clone()),
                selection,
                context.readiness.detail(component),
                context.events.clone(),
            ),
            listing: HashSet::new(),
            listed: false,
            said: HashSet::new(),
        }
    }

    /// Takes note of an event; says whether it is news to the model.
    fn observe(
        &mut self,
        event: Event<T::Received>,
        catalog: &Catalog,
        texts: &mut Texts,
        metrics: &Metrics,
    ) -> bool {
        match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply(object) => {
                metrics.heard(T::NAME, "add");
                let (key, is_news) = self.apply(&object, catalog, texts, metrics);
                self.listing.insert(key);
                is_news
            }
            Event::InitDone => {
                self.listed = true;
                let listing = std::mem::take(&mut self.listing);
                self.said.retain(|key| listing.contains(key));
                catalog.edit(|model| {
                    let mut gone = T::keys(model);
                    gone.retain(|key| !listing.contains(key));
                    for key in &gone {
                        T::set(model, key, None);
                    }
                    !gone.is_empty()
                })
            }
            Event::Apply(object) => {
                metrics.heard(T::NAME, "update");
                self.apply(&object, catalog, texts, metrics).1
            }
            Event::Delete(object) => {
                metrics.heard(T::NAME, "delete");
                let key = reduce::key(object.meta(), texts);
                self.said.remove(&key);
                catalog.edit(|model| T::set(model, &key, None))
            }
        }
    }

    fn apply(
        &mut self,
        object: &T::Received,
        catalog: &Catalog,
        texts: &mut Texts,
        metrics: &Metrics,
    ) -> (Key, bool) {
        let key = reduce::key(object.meta(), texts);
        let reduced = T::reduce(object, texts).unwrap_or_else(|error| {
            metrics.unusable(T::NAME);
            if self.said.len() < MOST_SAID && self.said.insert(key.clone()) {
                warn!(kind = T::NAME, object = %key, %error, "object cannot be used, it is as if it were not there");
            }
            None
        });
        let is_news = catalog.edit(|model| T::set(model, &key, reduced));
        (key, is_news)
    }
}

// === impl Followed ===

impl Followed for Service {
    type Received = received::Service;
    const NAME: &'static str = "Services";

    fn reduce(received: &Self::Received, texts: &mut Texts) -> Result<Option<Self>, Unusable> {
        reduce::service(received, texts)
    }

    fn set(model: &mut Model, key: &Key, object: Option<Self>) -> bool {
        model.set_service(key, object)
    }

    fn keys(model: &Model) -> Vec<Key> {
        model.services().cloned().collect()
    }
}

impl Followed for Slice {
    type Received = received::EndpointSlice;
    const NAME: &'static str = "EndpointSlice";

    fn reduce(received: &Self::Received, texts: &mut Texts) -> Result<Option<Self>, Unusable> {
        reduce::slice(received, texts)
    }

    fn set(model: &mut Model, key: &Key, object: Option<Self>) -> bool {
        model.set_slice(key, object)
    }

    fn keys(model: &Model) -> Vec<Key> {
        model.slices().cloned().collect()
    }
}

impl Followed for Pod {
    type Received = received::Pod;
    const NAME: &'static str = "Pods";

    fn reduce(received: &Self::Received, texts: &mut Texts) -> Result<Option<Self>, Unusable> {
        reduce::pod(received, texts)
    }

    fn set(model: &mut Model, key: &Key, object: Option<Self>) -> bool {
        model.set_pod(key, object)
    }

    fn keys(model: &Model) -> Vec<Key> {
        model.pods().cloned().collect()
    }
}

impl Followed for Node {
    type Received = PartialObjectMeta<core::Node>;
    const NAME: &'static str = "Nodes";

    fn reduce(received: &Self::Received, texts: &mut Texts) -> Result<Option<Self>, Unusable> {
        Ok(Some(reduce::node(received, texts)))
    }

    fn set(model: &mut Model, key: &Key, object: Option<Self>) -> bool {
        model.set_node(&key.name, object)
    }

    fn keys(model: &Model) -> Vec<Key> {
        model.nodes().collect()
    }
}
