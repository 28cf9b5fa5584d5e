//! From objects of the cluster to resources for sidecars.
//!
//! The follower of the cluster tells [`Model`] of every object that is new, other or gone, and calls [`Model::settle`] once a burst is over;
//! that gives the resources that may have changed and nothing else, because the model knows what each depends on. [`Model::everything`] gives
//! the same from scratch. No I/O and no clock: the same objects give the same resources, byte for byte, in every replica.
//!
//! ```text
//! Service ───────────────────────────────► istio.workload.Service
//!    └──────┬─► EndpointSlice ─┬─────────► istio.workload.Workload of an address that is no pod's
//! Node ─────┼─► Pod ───────────┴─────────► istio.workload.Workload of a pod
//! policies ─┘
//! ```

mod build;
mod index;
pub mod protocol;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    object::{Key, Labels, Node, Pod, Service, Slice, Target, Text},
    store::Resource,
};
use crate::policy::Policies;
pub(super) use build::version;
use index::Index;

/// What is the same for all resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name, first part of uids.
    pub name: String,
    /// The domain of Services, `cluster.local`.
    pub domain: String,
    /// First part of identities.
    pub trust_domain: String,
}

/// A resource that may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// It is as given.
    Put(Resource),
    /// There is none of this name.
    Remove(Text),
}

/// The objects, and what is to be made anew of them.
pub struct Model {
    cluster: Cluster,
    policies: Arc<Policies>,
    services: HashMap<Key, Service>,
    slices: HashMap<Key, Slice>,
    pods: HashMap<Key, Pod>,
    nodes: HashMap<Text, Node>,
    index: Index,
    /// The workloads that were made of each slice, by address.
    manual: HashMap<Key, Vec<IpAddr>>,
    stale: Stale,
}

/// Whose resources may have changed.
#[derive(Debug, Default)]
struct Stale {
    services: HashSet<Key>,
    pods: HashSet<Key>,
    slices: HashSet<Key>,
}

// === impl Cluster ===

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: "Kubernetes".to_owned(),
            domain: "cluster.local".to_owned(),
            trust_domain: build::TRUST_DOMAIN.to_owned(),
        }
    }
}

// === impl Model ===

impl Model {
    /// A model without objects.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            policies: Arc::default(),
            services: HashMap::new(),
            slices: HashMap::new(),
            pods: HashMap::new(),
            nodes: HashMap::new(),
            index: Index::default(),
            manual: HashMap::new(),
            stale: Stale::default(),
        }
    }

    /// Takes note of a Service, or that there is none of this name; says whether that is news.
    pub fn set_service(&mut self, key: &Key, service: Option<Service>) -> bool {
        if !replace(&mut self.services, key, service) {
            return false;
        }
        self.stale.services.insert(key.clone());
        for name in self.index.slices_of_service(key) {
            self.spread(&key.sibling(&name));
        }
        true
    }

    /// Takes note of an EndpointSlice, or that there is none of this name; says whether that is news.
    pub fn set_slice(&mut self, key: &Key, slice: Option<Slice>) -> bool {
        if self.slices.get(key) == slice.as_ref() {
            return false;
        }
        // Whoever was in it is concerned as well as whoever is.
        self.spread(key);
        if let Some(before) = self.slices.get(key) {
            self.index.remove_slice(key, before);
        }
        if let Some(slice) = &slice {
            self.index.add_slice(key, slice);
        }
        replace(&mut self.slices, key, slice);
        self.spread(key);
        true
    }

    /// Takes note of a pod, or that there is none of this name; says whether that is news.
    pub fn set_pod(&mut self, key: &Key, pod: Option<Pod>) -> bool {
        let before = self.pods.get(key);
        if before == pod.as_ref() {
            return false;
        }
        let own = |pod: Option<&Pod>| pod.map(own_addresses).unwrap_or_default().to_vec();
        let (old, new) = (own(before), own(pod.as_ref()));
        if old != new {
            self.index.move_pod(key, &old, &new);
            for address in old.iter().chain(&new) {
                // What seemed to be an address only is a pod, or the other way round.
                let slices = self.index.slices_of_address(*address);
                self.stale.slices.extend(slices);
            }
        }
        replace(&mut self.pods, key, pod);
        self.stale.pods.insert(key.clone());
        true
    }

    /// Takes note of where a node is, or that there is none of this name; says whether that is news.
    pub fn set_node(&mut self, name: &Text, node: Option<Node>) -> bool {
        if !replace(&mut self.nodes, name, node) {
            return false;
        }
        let pods = self.pods.iter().filter(|(_, pod)| pod.node == *name);
        self.stale.pods.extend(pods.map(|(key, _)| key.clone()));
        true
    }

    /// Takes note of the policies in force.
    pub fn set_policies(&mut self, policies: Arc<Policies>) {
        self.policies = policies;
        self.stale.pods.extend(self.pods.keys().cloned());
    }

    /// Takes note of what is the same for all resources; says whether that is something else, and with it everything.
    pub fn set_cluster(&mut self, cluster: &Cluster) -> bool {
        let differs = self.cluster != *cluster;
        if differs {
            self.cluster = cluster.clone();
        }
        differs
    }

    /// The labels of a pod, if there is one of this name.
    #[must_use]
    pub fn labels(&self, pod: &Key) -> Option<&Labels> {
        self.pods.get(pod).map(|pod| &pod.labels)
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// The Services that there are.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.services.keys()
    }

    /// The EndpointSlices that there are.
    pub fn slices(&self) -> impl Iterator<Item = &Key> {
        self.slices.keys()
    }

    /// The pods that there are.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.pods.keys()
    }

    /// The nodes that there are; their keys have no namespace.
    pub fn nodes(&self) -> impl Iterator<Item = Key> {
        let names = self.nodes.keys().cloned();
        names.map(|name| Key {
            namespace: Text::from(""),
            name,
        })
    }

    /// Whether [`Model::settle`] has anything to tell.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let Stale {
            services,
            pods,
            slices,
        } = &self.stale;
        services.is_empty() && pods.is_empty() && slices.is_empty()
    }

    /// The resources that may have changed since the last time.
    pub fn settle(&mut self) -> Vec<Update> {
        let stale = std::mem::take(&mut self.stale);
        let mut updates = Vec::new();
        for key in stale.services {
            updates.push(match self.services.get(&key) {
                Some(service) => Update::Put(self.service(&key, service)),
                None => Update::Remove(self.service_name(&key)),
            });
        }
        for key in stale.pods {
            updates.push(match self.pod_workload(&key) {
                Some(resource) => Update::Put(resource),
                None => Update::Remove(self.pod_uid(&key)),
            });
        }
        for key in stale.slices {
            let before = self.manual.remove(&key).unwrap_or_default();
            let now = self.manual_workloads(&key);
            for address in before {
                if !now.iter().any(|(known, _)| *known == address) {
                    updates.push(Update::Remove(self.manual_uid(&key, address)));
                }
            }
            if !now.is_empty() {
                let addresses = now.iter().map(|(address, _)| *address);
                self.manual.insert(key, addresses.collect());
            }
            updates.extend(now.into_iter().map(|(_, resource)| Update::Put(resource)));
        }
        updates
    }

    /// All resources, made from scratch; nothing is left to settle.
    pub fn everything(&mut self) -> Vec<Resource> {
        self.stale = Stale {
            services: self.services.keys().cloned().collect(),
            pods: self.pods.keys().cloned().collect(),
            slices: self.slices.keys().cloned().collect(),
        };
        self.manual.clear();
        let updates = self.settle().into_iter();
        updates
            .filter_map(|update| match update {
                Update::Put(resource) => Some(resource),
                Update::Remove(_) => None,
            })
            .collect()
    }

    /// Everybody in a slice is to be made anew, and what is made of the slice itself.
    fn spread(&mut self, slice_key: &Key) {
        self.stale.slices.insert(slice_key.clone());
        let Some(slice) = self.slices.get(slice_key) else {
            return;
        };
        for endpoint in &slice.endpoints {
            match &endpoint.target {
                Target::Pod(name) => {
                    self.stale.pods.insert(slice_key.sibling(name));
                }
                Target::Address(address) => {
                    let pods = self.index.pods_of_address(*address).cloned();
                    self.stale.pods.extend(pods);
                }
            }
        }
    }
}

/// The addresses that are the pod's and nobody else's.
fn own_addresses(pod: &Pod) -> &[IpAddr] {
    if pod.state.host_network {
        &[]
    } else {
        &pod.addresses
    }
}

/// Says whether that changed anything.
fn replace<K: Clone + Eq + std::hash::Hash, V: PartialEq>(
    objects: &mut HashMap<K, V>,
    key: &K,
    object: Option<V>,
) -> bool {
    if objects.get(key) == object.as_ref() {
        return false;
    }
    match object {
        Some(object) => drop(objects.insert(key.clone(), object)),
        None => drop(objects.remove(key)),
    }
    true
}

#[cfg(test)]
mod tests;
