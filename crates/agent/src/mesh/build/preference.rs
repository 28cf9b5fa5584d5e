//! Which endpoints of a service this pod prefers.
//!
//! Asked once for each port when a mesh is made, so that a request finds the endpoints in order. The rules are those of ztunnel: what
//! counts is how many of the preferred scopes an endpoint shares with this pod, from the first one on and without a gap.

use crate::mesh::{
    model::{BalancingMode, HealthPolicy, LoadBalancing, Scope},
    service::Endpoint,
    workload::Workload,
};

/// A service's preference, as the pod `own` sees it.
pub(super) struct Preference<'a> {
    pub(super) balancing: &'a LoadBalancing,
    pub(super) own: Option<&'a Workload>,
}

/// Endpoints in the order of preference.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arranged {
    /// Those that take requests, the preferred ones first.
    pub(super) endpoints: Vec<Endpoint>,
    /// Where each tier of them ends, the last one aside.
    pub(super) tiers: Box<[u32]>,
    /// Those that take none.
    pub(super) aside: Vec<Endpoint>,
}

// === impl Preference ===

impl Preference<'_> {
    /// Puts endpoints in order; those of one tier stay in theirs.
    pub(super) fn arrange(&self, endpoints: Vec<Endpoint>) -> Arranged {
        let (mut ranked, mut aside) = (Vec::with_capacity(endpoints.len()), Vec::new());
        for endpoint in endpoints {
            match self.rank(&endpoint.workload) {
                Some(rank) => ranked.push((rank, endpoint)),
                None => aside.push(endpoint),
            }
        }
        ranked.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let (mut tiers, mut end) = (Vec::new(), 0);
        for tier in ranked.chunk_by(|(one, _), (other, _)| one == other) {
            end += u32::try_from(tier.len()).unwrap_or(u32::MAX);
            tiers.push(end);
        }
        tiers.pop();
        Arranged {
            endpoints: ranked.into_iter().map(|(_, endpoint)| endpoint).collect(),
            tiers: tiers.into(),
            aside,
        }
    }

    /// How near an endpoint is, the nearest having the highest rank; nothing if it is not to be used.
    fn rank(&self, workload: &Workload) -> Option<usize> {
        if !workload.ready && self.balancing.health_policy == HealthPolicy::OnlyHealthy {
            return None;
        }
        let scopes = &self.balancing.routing_preference;
        let n_shared = self.own.map_or(0, |own| {
            let shared = scopes
                .iter()
                .take_while(|scope| shares(**scope, own, workload));
            shared.count()
        });
        match self.balancing.mode {
            BalancingMode::Strict => (n_shared == scopes.len()).then_some(0),
            BalancingMode::Failover => Some(n_shared),
            BalancingMode::UnspecifiedMode | BalancingMode::Passthrough => Some(0),
        }
    }
}

/// Whether two workloads are in one place. Where no node says its zone all are in the same, but nobody's node is nobody else's.
fn shares(scope: Scope, own: &Workload, other: &Workload) -> bool {
    match scope {
        Scope::Region => own.locality.region == other.locality.region,
        Scope::Zone => own.locality.zone == other.locality.zone,
        Scope::Subzone => own.locality.subzone == other.locality.subzone,
        Scope::Node => !own.node.is_empty() && own.node == other.node,
        Scope::Cluster => own.cluster == other.cluster,
        // Nobody of another network is in the mesh.
        Scope::Network => true,
    }
}
