//! The picture of the mesh from the control plane: the client of discovery.
//!
//! The control plane is asked by incremental aggregated discovery (delta ADS), as ztunnel asks Istio's. What it says is kept as it
//! came, name by name, and becomes a [`Model`](crate::mesh::Model) and so a [`Mesh`](crate::mesh::Mesh) on the housekeeping thread; a
//! resource that is wrong is refused alone, and the last good one of its name stays.
//!
//! ```text
//! control plane ──► client ──► resources ──► assemble ──► Model ──► Mesh ──► MeshStore ──► workers
//!                      ▲          │ convert, one by one
//!                      └── ACK, NACK, names
//! ```

pub mod assemble;
pub mod client;
pub mod convert;
