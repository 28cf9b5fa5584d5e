//! The bodies of the targets, which tests of the programs replay with the corpora.

use injector::webhook::review;

pub mod bodies;
pub mod interception;
pub mod sidecar;
