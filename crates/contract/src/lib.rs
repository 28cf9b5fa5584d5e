//! Names and numbers that cross a process boundary.
//!
//! Every program of the mesh reads its share of this crate, so that a port, a label or a path is spelled once.
//! Nothing lives here that only one process knows; there is no logic and no dependency.
//!
//! ```text
//! template ──writes──► pod manifest ──read by──► istio-init (flags, env)
//!                                   └─read by──► agent      (flags, env, paths, ports)
//! ```

pub mod annotations;
pub mod chains;
pub mod cni;
pub mod control_plane;
pub mod env;
pub mod exit;
pub mod headers;
pub mod ids;
pub mod labels;
pub mod net;
pub mod paths;
pub mod pod;
pub mod policy;
pub mod ports;
