//! PeerAuthentications in the words of the mesh.

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

fn mode(mode: Mode) -> MtlsMode {
    match mode {
        Mode::Disable => MtlsMode::Disable,
        Mode::Permissive => MtlsMode::Permissive,
        Mode::Strict => MtlsMode::Strict,
    }
}
