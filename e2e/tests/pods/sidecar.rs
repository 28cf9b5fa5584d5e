//! The two forms of the sidecar, for tests that hold for both.

use contract::annotations;
use e2e::Manifest;

/// How the sidecar is part of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sidecar {
    /// An init container that keeps running: what pods get on nodes that can do it.
    Native,
    /// A container among the application's, which a pod can ask for.
    Ordinary,
}

// === impl Sidecar ===

impl Sidecar {
    /// A part of the scenario's name.
    pub(crate) fn suffix(self, native: &'static str, ordinary: &'static str) -> &'static str {
        match self {
            Self::Native => native,
            Self::Ordinary => ordinary,
        }
    }

    /// The manifest, asking for this form.
    pub(crate) fn asked_by(self, manifest: Manifest) -> Manifest {
        match self {
            Self::Native => manifest,
            Self::Ordinary => manifest.annotated(annotations::NATIVE_SIDECAR, "false"),
        }
    }
}
