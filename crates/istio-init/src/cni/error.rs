//! Why the plugin refuses, and how it says so: the JSON and the codes of the CNI specification.
//!
//! Made by all modules of [`cni`](super), printed by its `run`. Codes below 100 are the specification's, those above are ours and stable; whatever the
//! code, the runtime does not start the pod and asks again later.

use std::{error::Error as _, io};

use contract::cni::POD_ANNOTATIONS;
use nix::errno::Errno;
use serde_json::json;

use super::request::SUPPORTED;
use crate::{apply::ApplyError, args::UsageError, error::chain};

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum CniError {
    /// A version of the specification that is not spoken here.
    #[error("cniVersion {given:?} is not one of {}", SUPPORTED.join(", "))]
    Version {
        /// As the configuration has it; empty if it has none.
        given: String,
    },
    /// A variable of the protocol is absent or wrong.
    #[error("{name} is {problem}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The namespace is that of the node.
    #[error("CNI_NETNS {path:?} is the node's own network namespace, whose rules are not touched")]
    OwnNamespace {
        /// The path.
        path: String,
    },
    /// The namespace is gone.
    #[error("CNI_NETNS {path:?} does not exist")]
    NoNamespace {
        /// The path.
        path: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace {path:?}")]
    Enter {
        /// The path.
        path: String,
        /// The kernel's reason.
        source: Errno,
    },
    /// Standard input cannot be read.
    #[error("cannot read the network configuration from standard input")]
    Input {
        /// The reason.
        source: io::Error,
    },
    /// Standard input is too much.
    #[error("the network configuration has more than {limit} bytes")]
    TooLong {
        /// How much is read at most.
        limit: u64,
    },
    /// Standard input is no JSON.
    #[error("the network configuration is no JSON object")]
    Json {
        /// Where and why, if it is no JSON at all.
        source: Option<serde_json::Error>,
    },
    /// The configuration lacks something, or has it in a wrong form.
    #[error("the network configuration is wrong: {problem}")]
    Configuration {
        /// The field, and what to do.
        problem: String,
    },
    /// The runtime does not say what the pod's annotations are.
    #[error(
        "pod {pod} is refused, because the container runtime did not pass its annotations and it could be one of the mesh: use containerd 1.5 or CRI-O 1.29 \
         or newer, keep the capability {POD_ANNOTATIONS} in the plugin's configuration, or list the namespace in cni.excludeNamespaces"
    )]
    NoAnnotations {
        /// `NAMESPACE/NAME`.
        pod: String,
    },
    /// An annotation that cannot be understood.
    #[error("annotation {name} of pod {pod} is {problem}")]
    Annotation {
        /// `NAMESPACE/NAME`.
        pod: String,
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// What the annotations ask for cannot be had.
    #[error("the annotations of pod {pod} ask for a capture that cannot be set up")]
    Capture {
        /// `NAMESPACE/NAME`.
        pod: String,
        /// Flag by flag.
        source: UsageError,
    },
    /// The rules are not in force.
    #[error("cannot set the rules of the pod")]
    Apply {
        /// What went wrong.
        #[from]
        source: ApplyError,
    },
    /// The rules are not what they should be.
    #[error(
        "the rules of pod {pod} are not those that its annotations ask for; delete the pod so that it is set up anew"
    )]
    Drift {
        /// `NAMESPACE/NAME`.
        pod: String,
    },
    /// The node cannot do what the plugin is for.
    #[error("this node's kernel lets the plugin set no packet rules")]
    Unusable {
        /// What went wrong.
        source: ApplyError,
    },
}

// === impl CniError ===

impl CniError {
    /// The code of the specification, or one of ours from 100.
    fn code(&self) -> u32 {
        match self {
            Self::Version { .. } => 1,
            Self::NoNamespace { .. } => 3,
            Self::Variable { .. } | Self::OwnNamespace { .. } => 4,
            Self::Input { .. } => 5,
            Self::Json { .. } => 6,
            Self::TooLong { .. } | Self::Configuration { .. } => 7,
            Self::Unusable { .. } => 50,
            Self::NoAnnotations { .. } => 100,
            Self::Annotation { .. } | Self::Capture { .. } => 101,
            Self::Apply { .. } | Self::Enter { .. } => 102,
            Self::Drift { .. } => 103,
        }
    }

    /// What the runtime reads.
    pub(super) fn json(&self, version: &str) -> String {
        let error = json!({
            "cniVersion": version,
            "code": self.code(),
            "msg": self.to_string(),
            "details": self.source().map(chain).unwrap_or_default(),
        });
        format!("{error}\n")
    }
}
