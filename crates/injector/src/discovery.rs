//! Discovery: tells every sidecar who the others are.
//!
//! ```text
//!  API server ─► follow ─► Catalog ┬ Model: objects ─► resources that changed
//!  policies, mesh configuration ─┘ └ Store: resources by name and by address, in the order of their changes
//!                                      │ number of the last change
//!  sidecar ◄─ delta ADS ─► server ─► Session (one per stream) ─► what this client asked for and does not have yet
//! ```
//!
//! `grpc` serves it and runs its task, on a thread of their own. Decisions are pure: [`model`], [`store`] and [`session`] know no clock and no I/O.
//! Every replica works for itself and gives the same resources the same versions, so a sidecar may come from any to any other.

pub mod catalog;
pub mod client;
pub mod debounce;
pub mod follow;
pub mod inbound;
pub mod metrics;
pub mod model;
pub mod object;
pub mod server;
pub mod session;
pub mod settings;
pub mod store;

use prometheus_client::registry::Registry;

use crate::{cluster::Context, files::Live, grpc::Services, policy::Published};
use catalog::Catalog;
use debounce::Pauses;
use follow::Follower;
use metrics::Metrics;
use model::Cluster;
use server::{Limits, Server};

/// Discovery of the cluster of `context`, and the task behind it. Nothing is asked of the API server before the task runs.
#[must_use]
pub fn services(
    context: &Context,
    configuration: Live<template::Config>,
    policies: Published,
    pauses: Pauses,
    registry: &mut Registry,
) -> Services {
    let catalog = Catalog::new(Cluster::default());
    let metrics = Metrics::register(registry);
    let server = Server::new(catalog.clone(), metrics.clone(), Limits::default());
    let follower = Follower::new(context, configuration, policies, catalog, metrics, pauses);
    Services::default()
        .everywhere(server)
        .task("discovery", follower.run())
}
