//! HTTP fields that the sidecar writes.

/// On answers that the sidecar gives itself: why, in one word for machines, `connect_failed`.
pub const MESH_ERROR: &str = "x-mesh-error";

/// The sender's workload as a base64 protobuf structure, which sidecars exchange for their metrics.
pub const PEER_METADATA: &str = "x-envoy-peer-metadata";
/// The sender's node, `sidecar~10.0.0.7~web-0.shop~shop.svc.cluster.local`; goes with [`PEER_METADATA`].
pub const PEER_METADATA_ID: &str = "x-envoy-peer-metadata-id";
/// Who sent the request, as the sidecar has verified it: `By=…;Hash=…;Subject="…";URI=…`.
pub const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";
