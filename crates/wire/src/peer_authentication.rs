//! Which of several PeerAuthentications counts.
//!
//! The control plane asks what a port of a workload takes, to tell its clients; the sidecar merges what it is sent, to act on it. Both call
//! [`Modes::resolve`], so they never disagree. The rule is Istio's: port before workload before namespace before mesh, and of equals the oldest,
//! then the first by name; nothing is merged of two policies of one scope.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    num::NonZeroU16,
};

use crate::minimesh::{MtlsMode, PeerAuthentication, Scope};

/// What a port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// What comes is passed on as it is; the sidecar takes no part in TLS.
    Disable,
    /// Mutual TLS or plain text, as the client chooses.
    Permissive,
    /// Only mutual TLS.
    Strict,
}

/// One PeerAuthentication, checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// What it is for.
    pub scope: Scope,
    /// The mode; without one the next wider scope decides.
    pub mode: Option<Mode>,
    /// Modes of single ports, which are the application's; without one it is as the rest of the workload.
    pub port_modes: BTreeMap<NonZeroU16, Option<Mode>>,
    /// When the object was made, in seconds since 1970.
    pub created: i64,
}

/// What the ports of one workload take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Modes {
    /// All ports that `ports` does not name.
    pub mode: Mode,
    /// Ports with a mode of their own, even if it is the same.
    pub ports: BTreeMap<NonZeroU16, Mode>,
}

/// Why a message is no policy. A newer control plane may know more than this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The scope is not one of ours.
    #[error("scope: {0} is none of MESH, NAMESPACE and WORKLOAD")]
    Scope(i32),
    /// The mode is not one of ours.
    #[error("mode: {0} is none of UNSET, DISABLE, PERMISSIVE and STRICT")]
    Mode(i32),
    /// A port's mode is not one of ours.
    #[error("port_modes[{port}]: {mode} is none of UNSET, DISABLE, PERMISSIVE and STRICT")]
    PortMode {
        /// The port.
        port: u32,
        /// The number that stands for a mode.
        mode: i32,
    },
    /// A port that cannot be.
    #[error("port_modes[{0}]: a port is a number from 1 to 65535")]
    Port(u32),
}

// === impl Mode ===

impl Mode {
    /// The mode that `mode` names; none where it leaves that to the next wider scope.
    #[must_use]
    pub fn of(mode: MtlsMode) -> Option<Self> {
        match mode {
            MtlsMode::Unset => None,
            MtlsMode::Disable => Some(Self::Disable),
            MtlsMode::Permissive => Some(Self::Permissive),
            MtlsMode::Strict => Some(Self::Strict),
        }
    }
}

impl From<Mode> for MtlsMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Disable => Self::Disable,
            Mode::Permissive => Self::Permissive,
            Mode::Strict => Self::Strict,
        }
    }
}

/// As people write it.
impl Display for Mode {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(MtlsMode::from(*self).as_str_name())
    }
}

// === impl Policy ===

impl Policy {
    /// The name of the resource: `NAMESPACE/NAME`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What is compared among policies of one scope; the smallest counts.
    #[must_use]
    pub fn seniority(&self) -> (i64, &str, &str) {
        (self.created, &self.name, &self.namespace)
    }
}

impl TryFrom<&PeerAuthentication> for Policy {
    type Error = PolicyError;

    fn try_from(message: &PeerAuthentication) -> Result<Self, PolicyError> {
        let scope =
            Scope::try_from(message.scope).map_err(|_| PolicyError::Scope(message.scope))?;
        let mode = decoded(message.mode).ok_or(PolicyError::Mode(message.mode))?;
        let port_modes = message.port_modes.iter().map(|(&port, &number)| {
            let mode = decoded(number).ok_or(PolicyError::PortMode { port, mode: number })?;
            let checked = u16::try_from(port).ok().and_then(NonZeroU16::new);
            Ok((checked.ok_or(PolicyError::Port(port))?, mode))
        });
        Ok(Self {
            name: message.name.clone(),
            namespace: message.namespace.clone(),
            scope,
            mode,
            port_modes: port_modes.collect::<Result<_, _>>()?,
            created: message.created,
        })
    }
}

impl From<&Policy> for PeerAuthentication {
    fn from(policy: &Policy) -> Self {
        let port_modes = policy.port_modes.iter();
        Self {
            name: policy.name.clone(),
            namespace: policy.namespace.clone(),
            scope: policy.scope.into(),
            mode: number(policy.mode),
            port_modes: port_modes
                .map(|(port, mode)| (u32::from(port.get()), number(*mode)))
                .collect(),
            created: policy.created,
        }
    }
}

fn decoded(number: i32) -> Option<Option<Mode>> {
    MtlsMode::try_from(number).ok().map(Mode::of)
}

fn number(mode: Option<Mode>) -> i32 {
    mode.map_or(MtlsMode::Unset, MtlsMode::from).into()
}

// === impl Modes ===

impl Modes {
    /// What holds for a workload that all of `policies` select, in whichever order they come; Istio's default is PERMISSIVE.
    #[must_use]
    pub fn resolve<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let (mut mesh, mut namespace, mut workload) = (None, None, None);
        for policy in policies {
            let best: &mut Option<&Policy> = match policy.scope {
                Scope::Mesh => &mut mesh,
                Scope::Namespace => &mut namespace,
                Scope::Workload => &mut workload,
            };
            if best.is_none_or(|best| policy.seniority() < best.seniority()) {
                *best = Some(policy);
            }
        }
        let mode = [workload, namespace, mesh]
            .into_iter()
            .find_map(|policy| policy?.mode)
            .unwrap_or(Mode::Permissive);
        let ports = workload.into_iter().flat_map(|policy| &policy.port_modes);
        Self {
            mode,
            ports: ports
                .map(|(&port, own)| (port, own.unwrap_or(mode)))
                .collect(),
        }
    }

    /// What the application's port `port` takes.
    #[must_use]
    pub fn of_port(&self, port: u16) -> Mode {
        NonZeroU16::new(port)
            .and_then(|port| self.ports.get(&port).copied())
            .unwrap_or(self.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(scope: Scope, name: &str, created: i64, mode: Option<Mode>) -> Policy {
        Policy {
            name: name.to_owned(),
            namespace: "shop".to_owned(),
            scope,
            mode,
            port_modes: BTreeMap::new(),
            created,
        }
    }

    fn with_ports(mut policy: Policy, ports: &[(u16, Option<Mode>)]) -> Policy {
        policy.port_modes = ports
            .iter()
            .map(|&(port, mode)| (NonZeroU16::new(port).unwrap(), mode))
            .collect();
        policy
    }

    #[test]
    fn the_narrowest_policy_that_says_something_counts() {
        use Mode::{Disable, Permissive, Strict};
        let mesh = policy(Scope::Mesh, "default", 1, Some(Strict));
        let space = policy(Scope::Namespace, "default", 2, Some(Permissive));
        let space_unset = policy(Scope::Namespace, "default", 2, None);
        let web = policy(Scope::Workload, "web", 3, Some(Disable));
        let web_unset = policy(Scope::Workload, "web", 3, None);
        let table: [(&[&Policy], Mode); 8] = [
            (&[], Permissive),
            (&[&mesh], Strict),
            (&[&space, &mesh], Permissive),
            (&[&mesh, &space_unset], Strict),
            (&[&web, &space, &mesh], Disable),
            (&[&web_unset, &space, &mesh], Permissive),
            (&[&mesh, &space_unset, &web_unset], Strict),
            (&[&web_unset, &space_unset], Permissive),
        ];
        for (policies, expected) in table {
            let forward = Modes::resolve(policies.iter().copied());
            let backward = Modes::resolve(policies.iter().rev().copied());
            assert_eq!(forward.mode, expected, "{policies:?}");
            assert_eq!(forward, backward, "{policies:?}");
        }
    }

    #[test]
    fn of_equals_the_oldest_counts_and_then_the_first_by_name() {
        let strict = |name, created| policy(Scope::Namespace, name, created, Some(Mode::Strict));
        let disable = |name, created| policy(Scope::Namespace, name, created, Some(Mode::Disable));
        let table = [
            (strict("b", 1), disable("a", 2)),
            (strict("a", 1), disable("b", 1)),
        ];
        for (older, younger) in table {
            for policies in [[&older, &younger], [&younger, &older]] {
                assert_eq!(Modes::resolve(policies).mode, Mode::Strict, "{policies:?}");
            }
        }
        // An older one that leaves the mode open still shuts the younger one out.
        let open = policy(Scope::Namespace, "a", 0, None);
        assert_eq!(
            Modes::resolve([&open, &strict("b", 1)]).mode,
            Mode::Permissive
        );
    }

    #[test]
    fn ports_are_those_of_the_oldest_policy_of_the_workload() {
        let mesh = policy(Scope::Mesh, "default", 1, Some(Mode::Strict));
        let web = with_ports(
            policy(Scope::Workload, "web", 2, None),
            &[(80, Some(Mode::Disable)), (81, None)],
        );
        let later = with_ports(
            policy(Scope::Workload, "later", 3, Some(Mode::Permissive)),
            &[(82, Some(Mode::Permissive))],
        );
        let modes = Modes::resolve([&later, &web, &mesh]);
        assert_eq!(modes.of_port(80), Mode::Disable);
        for port in [0, 81, 82, 443] {
            assert_eq!(modes.of_port(port), Mode::Strict, "{port}");
        }
    }

    #[test]
    fn messages_carry_policies_whole() {
        let web = with_ports(
            policy(
                Scope::Workload,
                "web",
                1_700_000_000,
                Some(Mode::Permissive),
            ),
            &[
                (80, Some(Mode::Disable)),
                (65535, None),
                (1, Some(Mode::Strict)),
            ],
        );
        let message = PeerAuthentication::from(&web);
        assert_eq!(Policy::try_from(&message), Ok(web.clone()));
        assert_eq!(web.resource_name(), "shop/web");
    }

    #[test]
    fn what_a_newer_control_plane_means_is_refused_rather_than_guessed() {
        let good = PeerAuthentication::from(&policy(Scope::Mesh, "default", 0, None));
        let ports = |port, mode| PeerAuthentication {
            port_modes: BTreeMap::from([(port, mode)]),
            ..good.clone()
        };
        let table = [
            (
                PeerAuthentication {
                    scope: 3,
                    ..good.clone()
                },
                PolicyError::Scope(3),
            ),
            (
                PeerAuthentication {
                    mode: 4,
                    ..good.clone()
                },
                PolicyError::Mode(4),
            ),
            (ports(0, 1), PolicyError::Port(0)),
            (ports(65536, 1), PolicyError::Port(65536)),
            (ports(80, -1), PolicyError::PortMode { port: 80, mode: -1 }),
        ];
        for (message, expected) in table {
            assert_eq!(Policy::try_from(&message), Err(expected), "{message:?}");
        }
    }
}
