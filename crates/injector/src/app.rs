//! The wiring.
//!
//! [`App::build`] puts the program together and binds every address, [`App::run`] keeps it going until it is told to end.
//! Nothing is announced before it works: a listening port means that reviews are answered.

use std::{future, io, net::SocketAddr, sync::Arc, time::Duration};

use runtime::{
    lifecycle::Lifecycle,
    metrics::Registry,
    readiness::{Guard, Readiness},
    task::{Failure, Group},
};
use rustls::sign::CertifiedKey;

use crate::{
    config::Config,
    configuration::{self, ConfigurationError},
    files::{LoadError, Reloader},
    metrics, monitoring,
    server::{BindError, Drain, Limits, Listener},
    webhook::{
        self, Webhook,
        tls::{self, TlsError},
    },
};

/// Time for tasks that have nothing to finish.
const STOP: Duration = Duration::from_secs(1);

/// The program, put together and bound.
pub struct App {
    life: Lifecycle,
    delay: Duration,
    configuration: Reloader<template::Config, ConfigurationError>,
    certificate: Reloader<CertifiedKey, TlsError>,
    webhook: Bound,
    monitoring: Option<Bound>,
    ready: Guard,
}

/// A listener and what it serves.
struct Bound {
    listener: Listener,
    router: axum::Router,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

/// Why the program cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The injection configuration cannot be used.
    #[error("the injection configuration cannot be used")]
    Configuration(#[source] LoadError<ConfigurationError>),
    /// The serving certificate cannot be used.
    #[error("the webhook's certificate cannot be used")]
    Certificate(#[source] LoadError<TlsError>),
    /// TLS cannot be set up.
    #[error("the webhook cannot speak TLS")]
    Tls(#[source] TlsError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(BindError),
    /// A part of the program failed.
    #[error(transparent)]
    Run(Failure),
}

/// Runs the program on this thread until it has drained: a review is a fraction of a millisecond of computation, and one thread
/// answers more of them than an API server can ask.
///
/// # Errors
/// When it cannot start, or a part fails that it cannot do without.
pub fn main(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { Ok(App::build(config).await?.run().await?) })
}

// === impl App ===

impl App {
    /// Reads the files and binds the addresses.
    ///
    /// # Errors
    /// When a file cannot be used or an address not be bound; then nothing is left open.
    pub async fn build(config: Config) -> Result<Self, AppError> {
        let readiness = Readiness::new();
        let ready = readiness.register("webhook listener");
        let life = Lifecycle::new(readiness.clone(), config.drain);
        let mut registry = Registry::new("pilot", env!("CARGO_PKG_VERSION"));
        let injection = metrics::Injection::register(registry.families());
        let files = metrics::Files::register(registry.families());

        let configuration = configuration::reloader(&config, &readiness, files.clone())
            .map_err(AppError::Configuration)?;
        let certificate =
            tls::reloader(&config, &readiness, files).map_err(AppError::Certificate)?;
        let acceptor = tls::acceptor(certificate.live(), tls::provider()).map_err(AppError::Tls)?;
        let webhook = Webhook {
            configuration: configuration.live(),
            metrics: injection,
        };

        let webhook = Bound {
            listener: Listener::bind("webhook", "--https-addr", config.https_address)
                .await
                .map_err(AppError::Bind)?,
            router: webhook::router(webhook, readiness.clone()),
            tls: Some(acceptor),
        };
        let monitoring = match config.monitoring_address {
            Some(address) => Some(Bound {
                listener: Listener::bind("monitoring", "--monitoring-addr", address)
                    .await
                    .map_err(AppError::Bind)?,
                router: monitoring::router(readiness, Arc::new(registry)),
                tls: None,
            }),
            None => None,
        };
        Ok(Self {
            life,
            delay: config.shutdown_delay,
            configuration,
            certificate,
            webhook,
            monitoring,
            ready,
        })
    }

    /// Where the webhook listens, with the port that was chosen for port 0.
    #[must_use]
    pub fn https_address(&self) -> SocketAddr {
        self.webhook.listener.address()
    }

    /// Where readiness and metrics are served, if they are.
    #[must_use]
    pub fn monitoring_address(&self) -> Option<SocketAddr> {
        self.monitoring
            .as_ref()
            .map(|bound| bound.listener.address())
    }

    /// The program's life, to end it by other means than a signal.
    #[must_use]
    pub fn life(&self) -> Lifecycle {
        self.life.clone()
    }

    /// Serves until the program has drained.
    ///
    /// # Errors
    /// When a part fails that the program cannot do without.
    pub async fn run(self) -> Result<(), AppError> {
        let group = Group::new();
        let life = self.life.clone();
        spawn(&group, "signal handler", async {
            life.run().await?;
            // The program stops; from here on it is the group that says when everything has ended.
            future::pending::<io::Result<()>>().await
        });
        spawn(&group, "configuration reloader", self.configuration.run());
        spawn(&group, "certificate reloader", self.certificate.run());
        let life = self.life.clone();
        if let Some(monitoring) = self.monitoring {
            // Readiness and metrics can be read for as long as there is a review under way.
            let (drain, group_of_server) = (life.clone(), group.clone());
            group.spawn("monitoring listener", async move {
                let serve = monitoring.serve(drain, Duration::MAX);
                tokio::select! {
                    () = serve => {}
                    () = group_of_server.cancelled() => {}
                }
            });
        }
        drop(self.ready);
        tokio::select! {
            () = self.webhook.serve(life.clone(), self.delay) => life.stop("everything is answered"),
            () = group.cancelled() => life.stop("a part of the program failed"),
        }
        group.cancel();
        group.join(STOP).await.map_err(AppError::Run)
    }
}

/// Starts a part of the program that goes on until the group ends.
fn spawn<E>(
    group: &Group,
    name: &'static str,
    part: impl Future<Output = Result<(), E>> + Send + 'static,
) where
    E: std::error::Error + Send + Sync + 'static,
{
    let token = group.token().clone();
    group.spawn_essential(name, async move {
        tokio::select! {
            result = part => result,
            () = token.cancelled() => Ok(()),
        }
    });
}

// === impl Bound ===

impl Bound {
    async fn serve(self, life: Lifecycle, delay: Duration) {
        let drain = Drain { life, delay };
        self.listener
            .serve(self.router, self.tls, Limits::default(), drain)
            .await;
    }
}
