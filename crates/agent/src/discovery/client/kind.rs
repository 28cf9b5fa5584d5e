//! The types of resources that the sidecar asks for.

/// What discovery is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `minimesh.discovery.v1.MeshSettings`.
    Settings,
    /// `minimesh.discovery.v1.PeerAuthentication`.
    PeerAuthentication,
    /// `istio.workload.Address`: services and workloads.
    Address,
}

// === impl Kind ===

impl Kind {
    /// In the order in which they are asked for: what the others depend on first.
    pub const ALL: [Self; 3] = [Self::Settings, Self::PeerAuthentication, Self::Address];

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
