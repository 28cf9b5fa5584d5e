//! The control plane: sidecar injection webhook.
