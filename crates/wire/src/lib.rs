//! The gRPC messages between control plane and sidecar.
//!
//! The `.proto` files in `proto/` are the contract: those of Istio, Envoy and SPIFFE carry names and numbers that other programs
//! speak, `minimesh/discovery.proto` is our own. The code in `generated/` is made of them by `cargo xtask codegen`, and a test holds
//! the two together. What the messages mean is the business of the programs.

pub mod peer_authentication;

mod any;

#[rustfmt::skip]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::too_many_lines,
    clippy::str_to_string,
    reason = "generated: the contract is the .proto files"
)]
mod generated {
    include!("generated/packages.rs");
}

pub use any::{Any, TypeError};
pub use generated::{
    envoy::{config::core::v3 as core, service::discovery::v3 as discovery},
    google::rpc,
    istio::{security, v1::auth as ca, workload},
    minimesh::discovery::v1 as minimesh,
};

/// `system_version_info` of a response that another one of the same answer follows: answers of more than a message's worth come in parts, and
/// only the last makes what a client has complete. Clients that do not know it lose nothing but the time between the parts.
pub const PARTIAL: &str = "partial";

/// The SPIFFE Workload API, which has no package.
pub mod spiffe {
    pub use super::generated::{
        X509svid, X509svidRequest, X509svidResponse, spiffe_workload_api_client,
        spiffe_workload_api_server,
    };
}
