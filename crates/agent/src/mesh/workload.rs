//! Workloads of the mesh: pods and whatever else has an address and an identity.
//!
//! Made by `build`; telemetry takes its names from here, the transport its identity. All texts are shared between the workloads that
//! have them in common, because a Deployment's pods differ in little more than name and address.

use std::{net::IpAddr, sync::Arc};

use super::service::Transport;
use crate::peer::{Names, Party, PartyNames, names::Handle};

/// A workload. Texts are never empty but where they say so: what nobody told has Istio's default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// The key of the discovery protocol, unique in the mesh.
    pub uid: Arc<str>,
    /// Name of the pod.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account, the last part of its identity.
    pub service_account: Arc<str>,
    /// First part of its identity.
    pub trust_domain: Arc<str>,
    /// `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
    pub identity: Arc<str>,
    /// The cluster that it runs in.
    pub cluster: Arc<str>,
    /// Name of what owns it, a Deployment for example; telemetry calls it the workload.
    pub workload_name: Arc<str>,
    /// Istio's canonical service name; telemetry's `app`, too, because discovery carries no labels.
    pub canonical_name: Arc<str>,
    /// Istio's canonical revision; telemetry's `version`, too.
    pub canonical_revision: Arc<str>,
    /// Its addresses, the first of them the preferred one.
    pub addresses: Box<[IpAddr]>,
    /// How its sidecar can be reached, whatever the settings of the mesh say.
    pub transport: Transport,
    /// Ports of the application that take no mutual TLS though the sidecar does, sorted.
    pub plaintext_ports: Box<[u16]>,
    /// Whether it takes new requests.
    pub ready: bool,
    /// The node that it runs on; empty it is not known.
    pub node: Arc<str>,
    /// Where that is.
    pub locality: Locality,
    /// Whether its addresses are its node's, which others have too.
    pub host_network: bool,
    /// Its names in telemetry.
    pub(super) party: Handle<Party>,
}

/// A place; what is empty is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Part of the world.
    pub region: Arc<str>,
    /// Part of the region.
    pub zone: Arc<str>,
    /// Part of the zone.
    pub subzone: Arc<str>,
}

// === impl Workload ===

impl Workload {
    /// How its sidecar can be reached on `port` of the application.
    #[must_use]
    pub fn transport_to(&self, port: u16) -> Transport {
        match self.plaintext_ports.binary_search(&port) {
            Ok(_) => Transport::Plaintext,
            Err(_) => self.transport,
        }
    }

    /// What telemetry calls it. Only the first call for a workload takes the lock of `names`.
    pub fn party(&self, names: &Names) -> &Party {
        self.party.get_or_make(|| {
            names.party(PartyNames {
                workload: self.workload_name.to_string(),
                namespace: self.namespace.to_string(),
                principal: self.identity.to_string(),
                app: self.canonical_name.to_string(),
                version: self.canonical_revision.to_string(),
                cluster: self.cluster.to_string(),
                canonical_service: self.canonical_name.to_string(),
                canonical_revision: self.canonical_revision.to_string(),
            })
        })
    }
}
