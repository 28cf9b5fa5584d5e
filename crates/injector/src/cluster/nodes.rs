//! Which kubelets there are, for native sidecars that are decided by version.
//!
//! The task follows the nodes and leaves the result in [`Kubelets`], from where the configuration's reloader takes it into its options. Of each
//! node only the name and the version are read and kept: the rest of a node, its images above all, is large and nobody's business here.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use k8s_openapi::{
    ClusterResourceScope, api::core::v1::Node as FullNode,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, runtime::watcher::Event};
use serde::{Deserialize, Serialize};
use template::Node;
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{
    Context,
    watch::{Selection, Watch},
};

/// How long the program waits for the nodes before it is ready without them: ordinary sidecars are better than no pods.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cluster's kubelets as far as known; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Kubelets(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    nodes: ArcSwapOption<Vec<Node>>,
    overdue: AtomicBool,
}

/// A node without what is of no use here.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Kubelet {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    node_info: NodeInfo,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeInfo {
    kubelet_version: String,
}

/// Versions by node, as the watch tells them.
#[derive(Debug, Default)]
struct Census {
    nodes: BTreeMap<String, String>,
    /// The list that is being read; it takes the place of `nodes` once it is whole.
    listing: Option<BTreeMap<String, String>>,
}

/// Follows the nodes for ever.
pub async fn run(context: Context, kubelets: Kubelets) {
    let mut watch = Watch::<Kubelet>::new(
        "the nodes",
        Api::all(context.client.clone()),
        &Selection::all(),
        context.readiness.detail("nodes"),
        context.events.clone(),
    );
    let mut census = Census::default();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let known = kubelets.is_overdue() || kubelets.load().is_some();
        tokio::select! {
            event = watch.next() => {
                if census.observe(event) {
                    let nodes = census.nodes();
                    info!(nodes = nodes.len(), "kubelet versions changed");
                    kubelets.0.nodes.store(Some(Arc::new(nodes)));
                }
            }
            () = time::sleep_until(deadline), if !known => {
                warn!("the nodes are not known, sidecars are ordinary containers until they are");
                kubelets.0.overdue.store(true, Ordering::Relaxed);
            }
        }
    }
}

// === impl Kubelets ===

impl Kubelets {
    /// The nodes by name; nothing before they are known.
    #[must_use]
    pub fn load(&self) -> Option<Arc<Vec<Node>>> {
        self.0.nodes.load_full()
    }

    /// Whether they are waited for in vain.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.0.overdue.load(Ordering::Relaxed)
    }
}

// === impl Census ===

impl Census {
    /// Takes note; says whether anything changed that counts.
    fn observe(&mut self, event: Event<Kubelet>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(node) => {
                let (name, version) = node.into_pair();
                self.listing.get_or_insert_default().insert(name, version);
                false
            }
            Event::InitDone => match self.listing.take() {
                // An empty cluster is worth telling too: it is known then.
                Some(listed) if listed != self.nodes || listed.is_empty() => {
                    self.nodes = listed;
                    true
                }
                _ => false,
            },
            Event::Apply(node) => {
                let (name, version) = node.into_pair();
                self.nodes.insert(name, version.clone()) != Some(version)
            }
            Event::Delete(node) => self.nodes.remove(&node.into_pair().0).is_some(),
        }
    }

    fn nodes(&self) -> Vec<Node> {
        self.nodes
            .iter()
            .map(|(name, version)| Node {
                name: name.clone(),
                version: version.clone(),
            })
            .collect()
    }
}

// === impl Kubelet ===

impl Kubelet {
    fn into_pair(self) -> (String, String) {
        (
            self.metadata.name.unwrap_or_default(),
            self.status.node_info.kubelet_version,
        )
    }
}

impl Resource for Kubelet {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        FullNode::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        FullNode::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        FullNode::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        FullNode::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, version: &str) -> Kubelet {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"nodeInfo": {"kubeletVersion": version, "osImage": "x"}, "images": []},
        }))
        .expect("a node")
    }

    fn versions(census: &Census) -> Vec<(String, String)> {
        let nodes = census.nodes();
        nodes
            .into_iter()
            .map(|node| (node.name, node.version))
            .collect()
    }

    #[test]
    fn only_names_and_versions_count() {
        let mut census = Census::default();
        assert!(!census.observe(Event::Init));
        assert!(!census.observe(Event::InitApply(node("a", "v1.33.0"))));
        assert!(!census.observe(Event::InitApply(node("b", "v1.32.0"))));
        assert!(census.observe(Event::InitDone));
        assert!(!census.observe(Event::Apply(node("a", "v1.33.0"))));
        assert!(census.observe(Event::Apply(node("b", "v1.34.0"))));
        assert!(census.observe(Event::Delete(node("a", "v1.33.0"))));
        assert_eq!(versions(&census), [("b".to_owned(), "v1.34.0".to_owned())]);
    }

    #[test]
    fn a_new_list_replaces_the_old_one_once_it_is_whole() {
        let mut census = Census::default();
        census.observe(Event::Apply(node("gone", "v1.30.0")));
        census.observe(Event::Init);
        census.observe(Event::InitApply(node("a", "v1.33.0")));
        assert_eq!(versions(&census).len(), 1, "the old list still counts");
        assert!(census.observe(Event::InitDone));
        assert_eq!(versions(&census), [("a".to_owned(), "v1.33.0".to_owned())]);
    }

    #[test]
    fn a_node_without_a_version_is_a_node() {
        let bare: Kubelet =
            serde_json::from_value(json!({"metadata": {"name": "new"}})).expect("a node");
        assert_eq!(bare.into_pair(), ("new".to_owned(), String::new()));
    }
}
