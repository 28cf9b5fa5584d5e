//! The bodies of the targets, which a test of the injector replays with the corpora.

use injector::webhook::review;

pub mod bodies;
pub mod interception;
