//! The policies in force, at one moment.
//!
//! Made by the `follower` whenever one of them changes, read by discovery. What it says of a pod depends on nothing but the policies, so every
//! replica says the same.

use std::{collections::BTreeMap, sync::Arc};

use wire::peer_authentication::{Mode, Modes};

use super::PeerAuthentication;

/// An immutable set of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    root_namespace: Box<str>,
    /// By namespace, each list in the order of names.
    by_namespace: BTreeMap<Box<str>, Vec<Arc<PeerAuthentication>>>,
}

// === impl Policies ===

impl Policies {
    /// `policies` in a mesh whose own ones are in `root_namespace`.
    pub fn new(
        root_namespace: &str,
        policies: impl IntoIterator<Item = Arc<PeerAuthentication>>,
    ) -> Self {
        let mut by_namespace: BTreeMap<Box<str>, Vec<_>> = BTreeMap::new();
        for policy in policies {
            let namespace = policy.policy.namespace.as_str().into();
            by_namespace.entry(namespace).or_default().push(policy);
        }
        for policies in by_namespace.values_mut() {
            policies.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
        }
        Self {
            root_namespace: root_namespace.into(),
            by_namespace,
        }
    }

    /// All policies, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PeerAuthentication>> {
        self.by_namespace.values().flatten()
    }

    /// The policies that select a pod with `labels` in `namespace`, which is what its sidecar is sent; by scope or not, `Modes::resolve` sorts it out.
    pub fn for_workload<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Arc<PeerAuthentication>> {
        let root = (namespace != &*self.root_namespace).then_some(&*self.root_namespace);
        [Some(namespace), root]
            .into_iter()
            .flatten()
            .filter_map(|namespace| self.by_namespace.get(namespace))
            .flatten()
            .filter(|policy| policy.selects(labels))
    }

    /// What the ports of such a pod take.
    #[must_use]
    pub fn modes(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Modes {
        Modes::resolve(
            self.for_workload(namespace, labels)
                .map(|object| &object.policy),
        )
    }

    /// What the application's port `port` of such a pod takes.
    #[must_use]
    pub fn effective(&self, namespace: &str, labels: &BTreeMap<String, String>, port: u16) -> Mode {
        self.modes(namespace, labels).of_port(port)
    }

    /// The policy of the same scope that counts instead of `policy`, where every pod that `policy` selects is selected by that too. Selectors that only
    /// overlap are not told.
    #[must_use]
    pub fn elder(&self, policy: &PeerAuthentication) -> Option<&Arc<PeerAuthentication>> {
        let equals = self
            .by_namespace
            .get(policy.policy.namespace.as_str())?
            .iter();
        equals
            .filter(|other| other.policy.scope == policy.policy.scope)
            .filter(|other| other.policy.seniority() < policy.policy.seniority())
            .filter(|other| other.selects(&policy.selector))
            .min_by_key(|other| other.policy.seniority())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{minimesh::Scope, peer_authentication::Policy};

    use super::*;

    const ROOT: &str = "istio-system";

    type Labels = BTreeMap<String, String>;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn object(
        namespace: &str,
        name: &str,
        selector: Labels,
        mode: Option<Mode>,
        created: i64,
    ) -> Arc<PeerAuthentication> {
        let scope = match (selector.is_empty(), namespace == ROOT) {
            (false, _) => Scope::Workload,
            (true, true) => Scope::Mesh,
            (true, false) => Scope::Namespace,
        };
        Arc::new(PeerAuthentication {
            selector,
            policy: Policy {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                scope,
                mode,
                port_modes: BTreeMap::new(),
                created,
            },
        })
    }

    #[test]
    fn a_pod_is_concerned_by_its_own_namespace_and_the_whole_mesh() {
        let policies = Policies::new(
            ROOT,
            [
                object(ROOT, "default", Labels::new(), Some(Mode::Strict), 1),
                object("shop", "all", Labels::new(), Some(Mode::Permissive), 2),
                object(
                    "shop",
                    "web",
                    labels(&[("app", "web")]),
                    Some(Mode::Disable),
                    3,
                ),
                object("bank", "all", Labels::new(), None, 4),
            ],
        );
        let web = labels(&[("app", "web"), ("version", "1")]);
        let table = [
            ("shop", &web, Mode::Disable, 3),
            ("shop", &Labels::new(), Mode::Permissive, 2),
            ("bank", &web, Mode::Strict, 2),
            ("other", &web, Mode::Strict, 1),
            (ROOT, &web, Mode::Strict, 1),
        ];
        for (namespace, labels, mode, n_policies) in table {
            assert_eq!(
                policies.effective(namespace, labels, 80),
                mode,
                "{namespace}"
            );
            let concerned = policies.for_workload(namespace, labels);
            assert_eq!(concerned.count(), n_policies, "{namespace}");
        }
        assert_eq!(
            Policies::default().effective("a", &web, 1),
            Mode::Permissive
        );
    }

    #[test]
    fn an_elder_is_one_that_leaves_nothing_to_the_younger() {
        let web = labels(&[("app", "web")]);
        let web_1 = labels(&[("app", "web"), ("version", "1")]);
        let [all, later, wide, narrow] = [
            object("shop", "z-first", Labels::new(), None, 1),
            object("shop", "a-later", Labels::new(), None, 2),
            object("shop", "wide", web, None, 3),
            object("shop", "narrow", web_1, None, 4),
        ];
        let objects = [&all, &later, &wide, &narrow].map(Arc::clone);
        let policies = Policies::new(ROOT, objects);
        let elder = |policy| {
            policies
                .elder(policy)
                .map(|elder| elder.policy.name.as_str())
        };
        assert_eq!(elder(&all), None);
        assert_eq!(elder(&later), Some("z-first"));
        assert_eq!(elder(&wide), None, "the namespace's is wider");
        assert_eq!(elder(&narrow), Some("wide"));
    }

    fn any_labels() -> impl Strategy<Value = Labels> {
        prop::collection::btree_map("[ab]", "[xy]", 0..3)
    }

    prop_compose! {
        fn any_object()(
            namespace in prop_oneof![Just(ROOT), Just("shop"), Just("bank")],
            name in "[a-d]",
            selector in any_labels(),
            mode in prop_oneof![Just(None), Just(Some(Mode::Strict)), Just(Some(Mode::Disable))],
            created in 0..3_i64,
        ) -> Arc<PeerAuthentication> {
            // The root namespace's selectors select nothing, so none gets this far.
            let selector = if namespace == ROOT { Labels::new() } else { selector };
            object(namespace, &name, selector, mode, created)
        }
    }

    /// Two objects never have both name and namespace in common.
    fn distinct(mut objects: Vec<Arc<PeerAuthentication>>) -> Vec<Arc<PeerAuthentication>> {
        let mut names = std::collections::HashSet::new();
        objects.retain(|object| names.insert(object.policy.resource_name()));
        objects
    }

    proptest! {
        #[test]
        fn the_index_says_what_going_through_all_policies_says(
            objects in prop::collection::vec(any_object(), 0..12).prop_map(distinct),
            namespace in prop_oneof![Just(ROOT), Just("shop"), Just("none")],
            labels in any_labels(),
        ) {
            let policies = Policies::new(ROOT, objects.iter().cloned());
            let naive = objects
                .iter()
                .filter(|object| [ROOT, namespace].contains(&object.policy.namespace.as_str()))
                .filter(|object| object.selects(&labels))
                .map(|object| &object.policy);
            prop_assert_eq!(policies.modes(namespace, &labels), Modes::resolve(naive));
            let mut backward = objects;
            backward.reverse();
            let backward = Policies::new(ROOT, backward);
            prop_assert_eq!(
                policies.modes(namespace, &labels),
                backward.modes(namespace, &labels)
            );
        }
    }
}
