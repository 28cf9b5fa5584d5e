//! Which endpoints of a service come first, as it is handed over.
//!
//! Part of [`Service`](super::Service) and [`Workload`](super::Workload); what it means is decided where the mesh is made.

use serde::Deserialize;

/// `istio.workload.LoadBalancing`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancing {
    /// What endpoints should share with the client, the most important first.
    pub routing_preference: Vec<Scope>,
    /// What becomes of those that do not.
    pub mode: BalancingMode,
    /// What becomes of those that are not healthy.
    pub health_policy: HealthPolicy,
}

/// `istio.workload.LoadBalancing.Scope`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scope {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

/// `istio.workload.LoadBalancing.Mode`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BalancingMode {
    /// All endpoints are the same.
    #[default]
    UnspecifiedMode,
    /// Only endpoints that share everything are used.
    Strict,
    /// Endpoints that share more come before those that share less.
    Failover,
    /// Connections go where they were meant to go.
    Passthrough,
}

/// `istio.workload.LoadBalancing.HealthPolicy`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthPolicy {
    /// They take no new requests.
    #[default]
    OnlyHealthy,
    /// They are used as all others.
    AllowAll,
}

/// `istio.workload.Locality`; what is empty is not known.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Locality {
    /// Part of the world, `europe-west1`.
    pub region: String,
    /// Part of the region, `europe-west1-b`.
    pub zone: String,
    /// Part of the zone, a rack for example.
    pub subzone: String,
}
