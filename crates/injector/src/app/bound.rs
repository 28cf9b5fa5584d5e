//! A bound address with what is served there.
//!
//! `app` binds the webhook's and monitoring's before anything is announced, and serves them on its own thread.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use runtime::{lifecycle::Lifecycle, metrics::Registry, readiness::Readiness};
use tokio_rustls::TlsAcceptor;

use super::AppError;
use crate::{
    monitoring,
    server::{Drain, Limits, Listener},
};

/// A listener and what it serves.
pub(super) struct Bound {
    pub(super) listener: Listener,
    router: axum::Router,
    tls: Option<TlsAcceptor>,
}

// === impl Bound ===

impl Bound {
    pub(super) async fn new(
        name: &'static str,
        flag: &'static str,
        address: SocketAddr,
        router: axum::Router,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self, AppError> {
        let listener = Listener::bind(name, flag, address)
            .await
            .map_err(AppError::Bind)?;
        Ok(Self {
            listener,
            router,
            tls,
        })
    }

    /// Readiness and metrics, if they are to be served.
    pub(super) async fn monitoring(
        address: Option<SocketAddr>,
        readiness: &Readiness,
        registry: Registry,
    ) -> Result<Option<Self>, AppError> {
        let Some(address) = address else {
            return Ok(None);
        };
        let router = monitoring::router(readiness.clone(), Arc::new(registry));
        let bound = Self::new("monitoring", "--monitoring-addr", address, router, None);
        Ok(Some(bound.await?))
    }

    pub(super) async fn serve(self, life: Lifecycle, delay: Duration) -> io::Result<()> {
        let drain = Drain { life, delay };
        self.listener
            .serve(self.router, self.tls, Limits::default(), drain)
            .await
    }
}
