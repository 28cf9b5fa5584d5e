//! What sidecars are served with, put together.
//!
//! `app` makes [`Sidecars`] where there is a cluster, and binds them once the configuration is known. Everything here runs on the thread of
//! gRPC and reaches the API server by a connection of its own, so none of it holds up a review.

use std::{sync::Arc, time::Duration};

use ::time::OffsetDateTime;
use identity::Lifetimes;
use prometheus_client::registry::Registry;

use crate::{
    ca,
    cluster::{Context, ServingCertificate},
    discovery::{self, debounce::Pauses},
    files::Live,
    grpc::{self, Addresses, Authenticator, Server, ServerError, Services, TokenReviews},
    policy,
    webhook::tls::Certificate,
};

/// The cluster as the thread of gRPC sees it.
pub(super) struct Sidecars {
    /// The way to the API server, and where to say what is wrong.
    pub(super) context: Context,
    /// The authority's certificate for the control plane, which sidecars can verify; the webhook's may be of somebody else.
    pub(super) certificate: ServingCertificate,
    /// What signs for workloads.
    pub(super) issuing: ca::Issuing,
    /// How long workloads' certificates live.
    pub(super) lifetimes: Lifetimes,
    /// The policies in force.
    pub(super) policies: policy::Published,
    /// First part of every identity.
    pub(super) trust_domain: ca::TrustDomain,
    /// How long changes are gathered before sidecars are told.
    pub(super) pauses: Pauses,
}

// === impl Sidecars ===

impl Sidecars {
    /// Binds `addresses`; connections are accepted for `delay` after draining has begun.
    pub(super) async fn bind(
        self,
        addresses: Addresses,
        configuration: Live<template::Config>,
        registry: &mut Registry,
        delay: Duration,
    ) -> Result<Server, ServerError> {
        let ready = self.context.readiness.register("gRPC server");
        let discovery = discovery::services(
            &self.context,
            configuration,
            self.policies,
            self.pauses,
            registry,
        );
        let review = Arc::new(TokenReviews::new(self.context.client));
        let authenticator = Authenticator::new(review, grpc::Metrics::register(registry));
        let certificates = ca::Service::new(
            self.issuing,
            self.trust_domain,
            self.lifetimes,
            Arc::new(OffsetDateTime::now_utc),
            ca::Metrics::register(registry),
        );
        let services = Services::default()
            .over_tls(ca::service(certificates))
            .and(discovery);
        let certificate = Certificate::Authority(self.certificate);
        Server::build(
            addresses,
            services,
            &authenticator,
            certificate,
            (ready, delay),
        )
        .await
    }
}
