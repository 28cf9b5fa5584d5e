//! Objects of the cluster, reduced to what discovery makes of them.
//!
//! Made by `kube` of what the API server sends, kept by [`Model`](super::model::Model). They are small, because there are many: a text that
//! many objects have in common is one text ([`Texts`]), and what no sidecar is told is not here. Equal objects mean that nothing is to be done.

use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    net::IpAddr,
    sync::Arc,
};

use wire::workload::{AppProtocol, IpFamilies, WorkloadType};

/// A text that many objects may share.
pub type Text = Arc<str>;

/// Labels, sorted by key.
pub type Labels = Arc<[(Text, Text)]>;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: Text,
    /// The name in it.
    pub name: Text,
}

/// A pod that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its addresses; none before it has a network.
    pub addresses: Box<[IpAddr]>,
    /// Its labels, which policies select it by.
    pub labels: Labels,
    /// Its service account.
    pub service_account: Text,
    /// The node that it runs on; empty before that is known.
    pub node: Text,
    /// The name of what owns it.
    pub workload_name: Text,
    /// The kind of what owns it.
    pub workload_type: WorkloadType,
    /// The workload's name in telemetry.
    pub canonical_name: Text,
    /// The workload's revision in telemetry.
    pub canonical_revision: Text,
    /// What is the case at the moment.
    pub state: PodState,
}

/// What is the case with a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Whether it takes new requests: it says that it is ready, and is not on its way out.
    pub serves: bool,
    /// Whether its addresses are its node's.
    pub host_network: bool,
    /// Whether it has a sidecar that takes mutual TLS.
    pub sidecar: bool,
}

/// A Service that is more than another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its virtual addresses; a headless one has none.
    pub addresses: Box<[IpAddr]>,
    /// Its ports, as far as they are TCP.
    pub ports: Box<[ServicePort]>,
    /// Which families it was made for.
    pub ip_families: IpFamilies,
    /// Whether pods that are not ready are reached all the same.
    pub publish_not_ready: bool,
    /// Which endpoints come first.
    pub preference: Preference,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// What clients dial.
    pub number: u16,
    /// The application's port; 0 where it has a name, which each pod can understand differently.
    pub target: u16,
    /// Its name in the Service, which EndpointSlices refer to.
    pub name: Text,
    /// What is spoken on it.
    pub protocol: AppProtocol,
}

/// Which endpoints of a Service come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// None: `internalTrafficPolicy: Cluster` without a traffic distribution.
    #[default]
    Any,
    /// Those of the own node and no others: `internalTrafficPolicy: Local`.
    OnlySameNode,
    /// Those of the own node, then of the own zone: `trafficDistribution: PreferSameNode`.
    SameNode,
    /// Those of the own zone, then of the own region: `trafficDistribution: PreferSameZone` and `PreferClose`.
    SameZone,
}

/// An EndpointSlice of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The name of the Service, which is in the slice's namespace.
    pub service: Text,
    /// By the names of the Service's ports, the application's.
    pub ports: Box<[(Text, u16)]>,
    /// Who is behind the Service.
    pub endpoints: Box<[Endpoint]>,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub target: Target,
    /// Whether it takes new requests.
    pub ready: bool,
}

/// What an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pod of the slice's namespace, by name.
    Pod(Text),
    /// Something of which only the address is known.
    Address(IpAddr),
}

/// Where a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The region.
    pub region: Text,
    /// The zone in it.
    pub zone: Text,
    /// Istio's own level below that.
    pub subzone: Text,
}

/// Texts that objects have in common, each kept once.
#[derive(Debug)]
pub struct Texts {
    known: HashSet<Text>,
    /// How many there may be before those that nobody uses any more are let go.
    limit: usize,
}

/// The least number of texts that letting go is worth the while for.
const FEW_TEXTS: usize = 1024;

// === impl Key ===

impl Key {
    /// The key of `namespace` and `name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The object `name` of the same namespace.
    #[must_use]
    pub fn sibling(&self, name: &Text) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(name),
        }
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl Texts ===

impl Texts {
    /// The one text that equals `text`.
    pub fn get(&mut self, text: &str) -> Text {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.limit {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.limit = FEW_TEXTS.max(2 * self.known.len());
        }
        let text = Text::from(text);
        self.known.insert(Arc::clone(&text));
        text
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            limit: FEW_TEXTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_text() {
        let mut texts = Texts::default();
        let first = texts.get("web");
        assert!(Arc::ptr_eq(&first, &texts.get("web")));
        assert!(!Arc::ptr_eq(&first, &texts.get("shop")));
    }

    #[test]
    fn texts_that_nobody_uses_are_let_go() {
        let mut texts = Texts::default();
        let kept = texts.get("kept");
        for number in 0..10 * FEW_TEXTS {
            texts.get(&number.to_string());
        }
        assert!(texts.known.len() <= FEW_TEXTS, "{}", texts.known.len());
        assert!(Arc::ptr_eq(&kept, &texts.get("kept")));
    }
}
