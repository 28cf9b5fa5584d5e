//! What the sidecars of pods take, as far as discovery has to know.
//!
//! The model asks it of every pod with a sidecar, because clients must not begin mutual TLS where a policy has switched it off; a stream asks
//! which policies its own pod is to be sent. The answer depends on nothing but the policies in force and the pod's labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
};

use wire::{minimesh::PeerAuthentication, peer_authentication::Mode};

use super::object::Labels;
use crate::policy::Policies;

/// Where a sidecar takes mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nowhere.
    Nothing,
    /// On all ports but these.
    AllBut(BTreeSet<NonZeroU16>),
}

/// Which ports of a pod of `namespace` with `labels` take mutual TLS. Where a policy switches it on for single ports only, those of `targets` count as the
/// others: nobody is told of any further ones.
pub fn takes(
    policies: &Policies,
    namespace: &str,
    labels: &Labels,
    targets: impl Iterator<Item = NonZeroU16>,
) -> Takes {
    if policies.iter().next().is_none() {
        return Takes::AllBut(BTreeSet::new());
    }
    let modes = policies.modes(namespace, &map(labels));
    let is_off = |port: &NonZeroU16| modes.of_port(port.get()) == Mode::Disable;
    let named = modes.ports.keys().copied();
    if modes.mode != Mode::Disable {
        return Takes::AllBut(named.filter(is_off).collect());
    }
    if named.clone().all(|port| is_off(&port)) {
        return Takes::Nothing;
    }
    Takes::AllBut(targets.chain(named).filter(is_off).collect())
}

/// The policies that select such a pod.
#[must_use]
pub fn concerning(
    policies: &Policies,
    namespace: &str,
    labels: &Labels,
) -> Vec<PeerAuthentication> {
    let labels = map(labels);
    let concerned = policies.for_workload(namespace, &labels);
    concerned
        .map(|policy| PeerAuthentication::from(&**policy))
        .collect()
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    let labels = labels.iter();
    labels
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::{minimesh::Scope, peer_authentication::Policy};

    use super::*;

    fn port(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    fn policies(mode: Option<Mode>, ports: &[(u16, Mode)]) -> Policies {
        let ports = ports.iter();
        let policy = crate::policy::PeerAuthentication {
            selector: [("app".to_owned(), "web".to_owned())].into(),
            policy: Policy {
                name: "web".to_owned(),
                namespace: "shop".to_owned(),
                scope: Scope::Workload,
                mode,
                port_modes: ports
                    .map(|&(number, mode)| (port(number), Some(mode)))
                    .collect(),
                created: 1,
            },
        };
        Policies::new("istio-system", [Arc::new(policy)])
    }

    #[test]
    fn clients_are_told_where_mutual_tls_is_off() {
        use Mode::{Disable, Permissive, Strict};
        let web = Labels::from([("app".into(), "web".into())]);
        let all_but = |ports: &[u16]| Takes::AllBut(ports.iter().copied().map(port).collect());
        let table = [
            (policies(Some(Strict), &[]), all_but(&[])),
            (policies(Some(Strict), &[(8080, Disable)]), all_but(&[8080])),
            (
                policies(None, &[(8080, Disable), (9090, Strict)]),
                all_but(&[8080]),
            ),
            (policies(Some(Disable), &[]), Takes::Nothing),
            (policies(Some(Disable), &[(8080, Disable)]), Takes::Nothing),
            (
                policies(Some(Disable), &[(8080, Permissive)]),
                all_but(&[9090]),
            ),
            (Policies::default(), all_but(&[])),
        ];
        for (policies, expected) in table {
            let targets = [8080, 9090].map(port);
            let takes = takes(&policies, "shop", &web, targets.into_iter());
            assert_eq!(takes, expected, "{policies:?}");
        }
        let other = Labels::default();
        let off = policies(Some(Disable), &[]);
        let takes = takes(&off, "shop", &other, std::iter::empty());
        assert_eq!(takes, all_but(&[]));
        assert_eq!(concerning(&off, "shop", &web).len(), 1);
        assert_eq!(concerning(&off, "shop", &other).len(), 0);
    }
}
