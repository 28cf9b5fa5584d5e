//! HTTP fields that the sidecar writes.

/// On answers that the sidecar gives itself: why, in one word for machines, `connect_failed`.
pub const MESH_ERROR: &str = "x-mesh-error";
