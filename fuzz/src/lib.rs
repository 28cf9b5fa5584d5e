//! The bodies of the targets, with the parts of the injector that they need.
//!
//! The reader of reviews is taken by its file, so that fuzzing does not build the whole injector with its TLS.

pub mod bodies;

#[path = "../../crates/injector/src/webhook/review.rs"]
pub mod review;
