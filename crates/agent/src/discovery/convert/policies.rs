//! PeerAuthentications in the words of the mesh: those of our own control plane, and what Istio's makes of them.
//!
//! Istio's workload discovery has no PeerAuthentication. Its control plane writes them as policies of authorization and gives each
//! workload the names of those that select it (`pilot/pkg/serviceregistry/ambient/authorization.go`).

use prost::Message;
use wire::{
    minimesh::PeerAuthentication,
    peer_authentication::{Mode, Modes, Policy},
};

use super::Refusal;
use crate::mesh::{
    MtlsMode,
    model::{PortNumber, WorkloadMode},
};

/// Istio's policy that refuses whoever has not proven who he is.
const STATIC_STRICT: &str = "istio_converted_static_strict";
/// Beginning of the names of Istio's policies that are made of a PeerAuthentication with ports of its own.
const CONVERTED: &str = "converted_peer_authentication_";

/// Decodes a PeerAuthentication.
///
/// # Errors
/// When it is none, says what this version does not know, or is called otherwise than `name`.
pub fn policy(name: &str, body: &[u8]) -> Result<Policy, Refusal> {
    let message = PeerAuthentication::decode(body).map_err(Refusal::Garbled)?;
    let policy = Policy::try_from(&message).map_err(Refusal::Policy)?;
    let expected = policy.resource_name();
    if expected == name {
        Ok(policy)
    } else {
        Err(Refusal::Name { expected })
    }
}

/// What `policies`, all of which select the own pod, mean for its ports.
#[must_use]
pub fn own_modes(policies: &[Policy]) -> WorkloadMode {
    let modes = Modes::resolve(policies);
    let ports = modes.ports.iter();
    WorkloadMode {
        mode: Some(mode(modes.mode)),
        ports: ports
            .map(|(port, of_port)| (PortNumber::from(*port), mode(*of_port)))
            .collect(),
    }
}

/// What the names of policies that Istio's control plane attaches to the own workload mean for its ports.
///
/// What a policy with ports of its own says about which is not known here, so it closes all of them.
#[must_use]
pub fn attached_modes(names: &[String]) -> WorkloadMode {
    let closes = |name: &String| {
        let name = name.rsplit('/').next().unwrap_or_default();
        name == STATIC_STRICT || name.starts_with(CONVERTED)
    };
    let mode = match names.iter().any(closes) {
        true => MtlsMode::Strict,
        false => MtlsMode::Permissive,
    };
    WorkloadMode {
        mode: Some(mode),
        ..WorkloadMode::default()
    }
}

fn mode(mode: Mode) -> MtlsMode {
    match mode {
        Mode::Disable => MtlsMode::Disable,
        Mode::Permissive => MtlsMode::Permissive,
        Mode::Strict => MtlsMode::Strict,
    }
}
