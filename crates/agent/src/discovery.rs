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
pub mod book;
pub mod cache;
pub mod client;
pub mod convert;
pub mod demand;
pub mod node;
pub mod picture;
pub mod run;
pub mod source;
pub mod status;

pub use demand::Demand;
pub use picture::{Picture, Settings};
pub use run::Discovery;
pub use source::Source;
pub use status::Status;
