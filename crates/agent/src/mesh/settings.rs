//! What holds for the whole mesh.
//!
//! Part of every [`Mesh`](super::Mesh); the names and defaults are those of Istio's MeshConfig. A setting that is `None` leaves the
//! matter to the agent's own flags, so that a mesh that knows nothing changes nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Deserialize;

use crate::config::Encoding;

/// Settings of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// What becomes of outbound connections to destinations that the mesh does not know. Default: allowed.
    pub outbound_policy: OutboundPolicy,
    /// Whether endpoints that can take mutual TLS get it without being asked. Default: yes.
    pub auto_mtls: bool,
    /// Whether and how an access log is written.
    pub access_log: Option<AccessLog>,
    /// How long a client may be silent before its protocol is no longer waited for.
    pub detection_timeout: Option<Duration>,
    /// How long an upstream may take to accept a connection.
    pub connect_timeout: Option<Duration>,
    /// First part of every identity of the mesh, `cluster.local`.
    pub trust_domain: Arc<str>,
    /// Other trust domains whose identities count as the mesh's own.
    pub trust_domain_aliases: Arc<[Arc<str>]>,
}

/// What becomes of outbound connections to destinations that the mesh does not know (Istio's `outboundTrafficPolicy.mode`).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundPolicy {
    /// They go where they were meant to go.
    #[default]
    AllowAny,
    /// HTTP is answered with 502, anything else is reset.
    RegistryOnly,
}

/// What the mesh says of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// None is written.
    Off,
    /// It is written there.
    File {
        /// The file, which is appended to.
        path: PathBuf,
        /// The form of a line.
        encoding: Encoding,
    },
}

/// Whether inbound connections must come by mutual TLS (Istio's PeerAuthentication).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MtlsMode {
    /// Only by mutual TLS.
    Strict,
    /// By mutual TLS or in plain text, whatever the client chooses.
    #[default]
    Permissive,
    /// The agent takes no part in TLS: what comes is passed on as it is.
    Disable,
}

/// Istio's default trust domain (`pkg/config/constants`).
pub(super) const TRUST_DOMAIN: &str = "cluster.local";

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            outbound_policy: OutboundPolicy::AllowAny,
            auto_mtls: true,
            access_log: None,
            detection_timeout: None,
            connect_timeout: None,
            trust_domain: TRUST_DOMAIN.into(),
            trust_domain_aliases: Arc::default(),
        }
    }
}

// === impl OutboundPolicy ===

impl OutboundPolicy {
    /// Istio's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowAny => "ALLOW_ANY",
            Self::RegistryOnly => "REGISTRY_ONLY",
        }
    }
}

// === impl MtlsMode ===

impl MtlsMode {
    /// Istio's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "STRICT",
            Self::Permissive => "PERMISSIVE",
            Self::Disable => "DISABLE",
        }
    }
}
