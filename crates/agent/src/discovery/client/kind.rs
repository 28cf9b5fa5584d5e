//! The types of resources that the sidecar asks for, and whom it asks.
//!
//! A control plane of Istio ends the stream of whoever asks for a type that it does not know (`pilot/pkg/networking/apigen`), so the
//! mesh's own types are asked for once the control plane has called itself the mesh's own.

use wire::discovery::DeltaDiscoveryResponse;

/// What discovery is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `istio.workload.Address`: services and workloads.
    Address,
    /// `minimesh.discovery.v1.MeshSettings`.
    Settings,
    /// `minimesh.discovery.v1.PeerAuthentication`.
    PeerAuthentication,
}

/// Whose control plane it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The mesh's own.
    Own,
    /// Another one, such as Istio's, which knows addresses alone.
    Foreign,
}

/// First word of our own control plane's name for itself. Istio's tells none.
const OWN: &str = "minimesh";

// === impl Kind ===

impl Kind {
    /// In the order in which they are asked for: first what every control plane answers.
    pub const ALL: [Self; 3] = [Self::Address, Self::Settings, Self::PeerAuthentication];

    /// Whether only the mesh's own control plane knows it.
    #[must_use]
    pub fn is_own(self) -> bool {
        match self {
            Self::Address => false,
            Self::Settings | Self::PeerAuthentication => true,
        }
    }

    /// The type of the resources, as requests name it.
    #[must_use]
    pub fn type_url(self) -> String {
        match self {
            Self::Settings => <wire::minimesh::MeshSettings as prost::Name>::type_url(),
            Self::PeerAuthentication => {
                <wire::minimesh::PeerAuthentication as prost::Name>::type_url()
            }
            Self::Address => <wire::workload::Address as prost::Name>::type_url(),
        }
    }

    /// The last part of the type, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "MeshSettings",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::Address => "Address",
        }
    }
}

// === impl Server ===

impl Server {
    /// Whose response this is.
    #[must_use]
    pub fn of(response: &DeltaDiscoveryResponse) -> Self {
        match identifier(response).starts_with(OWN) {
            true => Self::Own,
            false => Self::Foreign,
        }
    }
}

/// What the control plane calls itself; nothing if it does not say.
#[must_use]
pub fn identifier(response: &DeltaDiscoveryResponse) -> &str {
    let control_plane = response.control_plane.as_ref();
    control_plane.map_or("", |control_plane| control_plane.identifier.as_str())
}
