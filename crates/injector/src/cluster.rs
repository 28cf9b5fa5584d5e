//! The injector's life in a cluster.
//!
//! `app` starts these parts where there is a cluster, and none of them where the program works by files alone. Each keeps one thing in step
//! through the API server, on its own, in every replica at once: most need no leader, because all replicas want the same and every write is
//! guarded; `lease` makes one for what would only be noise if all did it. None of them ever ends the program: what goes wrong is said in log, Event and readiness detail, and tried again.
//!
//! ```text
//! Secret istio-ca-secret ◄─► authority ─┬─ certificate ─► webhook's listener
//!                                       └─ bundle ─┬─► webhook_configuration ─► caBundle
//! namespaces ──────────► namespaces ───────────────┴─► trust_bundle ─► ConfigMap istio-ca-root-cert
//! nodes ───────────────► nodes ─► options of the configuration
//! service accounts ────► account_secrets ─► Secrets istio.ACCOUNT, where they are asked for
//! ```

pub mod account_secrets;
pub mod api;
pub mod authority;
pub mod events;
pub mod lease;
pub mod namespaces;
pub mod nodes;
pub mod owner;
pub mod trust_bundle;
pub mod watch;
pub mod webhook_configuration;

mod listed;
pub(crate) mod pace;
mod parts;

use std::{path::PathBuf, sync::Arc};

use identity::{DnsName, Lifetimes};
use kube::Client;
use runtime::readiness::Readiness;
use template::Platform;

use crate::{config::Certificates, discovery::debounce::Pauses};
use events::Events;
use owner::Owner;

pub use parts::{Part, Parts, config_maps};

/// What the program does in a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kubeconfig of a cluster that the program is not in.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the control plane.
    pub namespace: String,
    /// The program's own pod, for Events; without it there are none.
    pub pod_name: Option<String>,
    /// The ConfigMap of the injection configuration, for Events.
    pub config_map: String,
    /// Whether Events tell workloads what became of their pods.
    pub workload_events: bool,
    /// The ClusterRole that owns what is created; without it nobody does.
    pub owner_cluster_role: Option<String>,
    /// The revision as a label's value.
    pub revision: String,
    /// The MutatingWebhookConfiguration to keep in step, if one is to be; the revision's tags have more of them.
    pub webhook_configuration: Option<String>,
    /// The ValidatingWebhookConfiguration to keep in step, if one is to be.
    pub validation_configuration: Option<String>,
    /// The names that the webhook is called by.
    pub names: Vec<DnsName<'static>>,
    /// Where the webhook's certificate comes from.
    pub certificates: Certificates,
    /// How long workloads' certificates live.
    pub lifetimes: Lifetimes,
    /// How long changes are gathered before sidecars are told.
    pub pauses: Pauses,
    /// How long the parts of a change of the root take.
    pub rotation: authority::Periods,
    /// Whether service accounts have certificates in Secrets of their own.
    pub account_secrets: bool,
    /// Whether the nodes' versions matter.
    pub follow_nodes: bool,
    /// The kind of cluster.
    pub platform: Platform,
}

/// Ways to the API server, a connection each: what one thread lists does not hold up the other.
#[derive(Clone)]
pub struct Clients {
    /// For the webhook's thread.
    pub webhook: Client,
    /// For the thread of gRPC.
    pub sidecars: Client,
}

/// What every part works with; clones share it.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The namespace of the control plane.
    pub namespace: Arc<str>,
    /// Who owns what is created.
    pub owner: Owner,
    /// Where parts say what whoever runs the mesh should know.
    pub events: Events,
    /// Where parts say what they lack.
    pub readiness: Readiness,
}

/// The roots that the mesh trusts, as PEM, once they are known. Published by the authority and read by those who write it where others find it.
pub type Bundle = tokio::sync::watch::Receiver<Option<Arc<str>>>;

/// What the webhook's listener shows, once there is one. Published by the authority.
pub type ServingCertificate = tokio::sync::watch::Receiver<Option<Arc<rustls::sign::CertifiedKey>>>;
