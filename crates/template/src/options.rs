//! What decides injection beside the three configuration texts: switches of the program that injects.
//!
//! Made by the injector and by `minimesh kube-inject` from their flags, kept in the `Config`.
//! Each type reads the flag's text and says what it expects, so both programs understand the same spellings.

use std::str::FromStr;

/// Switches of the injecting program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The control plane's revision; empty or `default` is the default one, which templates see as an empty text.
    pub revision: String,
    /// Whether the sidecar is an init container that keeps running (Kubernetes' native sidecar) or an ordinary container.
    pub native_sidecars: NativeSidecars,
    /// The cluster's nodes as far as known, for [`NativeSidecars::Auto`]; `None` where there is no cluster to look at.
    pub nodes: Option<Vec<Node>>,
    /// What templates see as `.CompliancePolicy`, such as `fips-140-2`; empty is none.
    pub compliance_policy: String,
    /// The kind of cluster.
    pub platform: Platform,
}

/// Which form the sidecar takes where the pod does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NativeSidecars {
    /// Native where the nodes that the pod may run on have it (from Kubernetes 1.33 on); ordinary where nothing is known of the nodes.
    #[default]
    Auto,
    /// Native.
    Always,
    /// Ordinary.
    Never,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name; empty where only the version is known.
    pub name: String,
    /// Its kubelet's version, such as `v1.33.1`.
    pub version: String,
}

/// The kind of cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// Kubernetes without peculiarities.
    #[default]
    Kubernetes,
    /// OpenShift, where each namespace has its own range of user ids.
    OpenShift,
}

/// A switch with a value that it does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is none of {expected}")]
pub struct InvalidOption {
    /// What was given.
    pub value: String,
    /// What is possible.
    pub expected: &'static str,
}

/// The first minor version of Kubernetes 1 whose native sidecars are stable.
const NATIVE_SIDECARS_SINCE: (u32, u32) = (1, 33);

// === impl Options ===

impl Options {
    /// The revision as templates see it.
    pub(crate) fn shown_revision(&self) -> &str {
        match self.revision.as_str() {
            "default" => "",
            other => other,
        }
    }

    /// Whether a pod that is bound to `node` (empty: to none) gets a native sidecar.
    pub(crate) fn native_sidecar_on(&self, node: &str) -> bool {
        match (self.native_sidecars, &self.nodes) {
            (NativeSidecars::Always, _) => true,
            (NativeSidecars::Never, _) | (NativeSidecars::Auto, None) => false,
            (NativeSidecars::Auto, Some(nodes)) => {
                match nodes
                    .iter()
                    .find(|known| !node.is_empty() && known.name == node)
                {
                    Some(known) => known.has_native_sidecars(),
                    None => nodes.iter().all(Node::has_native_sidecars),
                }
            }
        }
    }
}

// === impl NativeSidecars ===

impl FromStr for NativeSidecars {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "true" => Ok(Self::Always),
            "false" => Ok(Self::Never),
            _ => Err(InvalidOption {
                value: text.to_owned(),
                expected: "true, false and auto",
            }),
        }
    }
}

// === impl Node ===

impl Node {
    /// A node of which only the kubelet's version is known.
    #[must_use]
    pub fn of_version(version: &str) -> Self {
        Self {
            name: String::new(),
            version: version.to_owned(),
        }
    }

    /// Whether its kubelet has stable native sidecars; a version that cannot be read has not.
    fn has_native_sidecars(&self) -> bool {
        let mut parts = self.version.trim().trim_start_matches('v').split('.');
        let mut number = || {
            let part = parts.next()?;
            let digits = part
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(part.len());
            part.get(..digits)?.parse::<u32>().ok()
        };
        let version = number().zip(number());
        version.is_some_and(|version| version >= NATIVE_SIDECARS_SINCE)
    }
}

// === impl Platform ===

impl FromStr for Platform {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "kubernetes" => Ok(Self::Kubernetes),
            "openshift" => Ok(Self::OpenShift),
            _ => Err(InvalidOption {
                value: text.to_owned(),
                expected: "kubernetes and openshift",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_means_native_where_the_nodes_have_it() {
        let auto = |nodes: Option<&[(&str, &str)]>, node: &str| {
            let nodes = nodes.map(|nodes| {
                nodes
                    .iter()
                    .map(|(name, version)| Node {
                        name: (*name).to_owned(),
                        version: (*version).to_owned(),
                    })
                    .collect()
            });
            Options {
                nodes,
                ..Options::default()
            }
            .native_sidecar_on(node)
        };
        let mixed: &[(&str, &str)] = &[("old", "v1.32.9"), ("new", "v1.33.0-eks-1")];
        for (nodes, node, native) in [
            (None, "", false),
            (Some(&[][..]), "", true),
            (Some(mixed), "", false),
            (Some(mixed), "new", true),
            (Some(mixed), "old", false),
            (Some(mixed), "unknown", false),
            (Some(&[("", "1.34+")][..]), "", true),
            (Some(&[("", "v2.0")][..]), "", true),
            (Some(&[("", "latest")][..]), "", false),
            (Some(&[("", "v1")][..]), "", false),
        ] {
            assert_eq!(auto(nodes, node), native, "{nodes:?} {node:?}");
        }
    }

    #[test]
    fn switches_are_read_exactly() {
        assert_eq!("true".parse(), Ok(NativeSidecars::Always));
        assert_eq!("openshift".parse(), Ok(Platform::OpenShift));
        let error = "yes".parse::<NativeSidecars>().expect_err("not a mode");
        assert_eq!(error.to_string(), "\"yes\" is none of true, false and auto");
    }
}
