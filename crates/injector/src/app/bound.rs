//! A bound address with what is served there.
//!
//! `app` binds the webhook's and monitoring's before anything is announced, and serves them on its own thread.

use std::{io, net::SocketAddr, time::Duration};

use runtime::lifecycle::Lifecycle;
use tokio_rustls::TlsAcceptor;

use super::AppError;
use crate::server::{Drain, Limits, Listener};

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

    pub(super) async fn serve(self, life: Lifecycle, delay: Duration) -> io::Result<()> {
        let drain = Drain { life, delay };
        self.listener
            .serve(self.router, self.tls, Limits::default(), drain)
            .await
    }
}
