//! The wiring.
//!
//! [`App::build`] puts the program together and binds every address, [`App::run`] keeps it going until it is told to end.
//! Nothing is announced before it works: a listening port means that reviews are answered.

use std::{future, io, net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use runtime::{
    lifecycle::Lifecycle,
    metrics::Registry,
    readiness::{Guard, Readiness},
    task::{Failure, Group},
};
use rustls::sign::CertifiedKey;
use tracing::info;

use crate::{
    cluster::{self, Part, Parts, Settings, events::Events, namespaces::Directory},
    config::{Certificates, Config, Mode, Pair},
    configuration::{self, ConfigurationError, Followed},
    files::{LoadError, Reloader, Voice},
    metrics, monitoring,
    server::{BindError, Drain, Limits, Listener},
    webhook::{
        self, Webhook,
        tls::{self, Certificate, TlsError},
    },
};

/// Time for tasks that have nothing to finish.
const STOP: Duration = Duration::from_secs(1);

/// The program, put together and bound.
pub struct App {
    life: Lifecycle,
    delay: Duration,
    configuration: Reloader<template::Config, ConfigurationError>,
    certificate: Certificate,
    certificate_files: Option<Reloader<CertifiedKey, TlsError>>,
    webhook: Bound,
    monitoring: Option<Bound>,
    /// What keeps the program in step with its cluster.
    parts: Vec<Part>,
    ready: Guard,
}

/// What every subsystem is built on.
struct Base {
    config: Config,
    readiness: Readiness,
    registry: Registry,
    files: metrics::Files,
    injection: metrics::Injection,
}

/// What differs between a program that works by files and one that works with a cluster.
struct Surroundings {
    events: Events,
    namespaces: Directory,
    followed: Option<Followed>,
    certificate: Certificate,
    certificate_files: Option<Reloader<CertifiedKey, TlsError>>,
    parts: Vec<Part>,
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
    #[error("the injection configuration cannot be used{fix}")]
    Configuration {
        /// What to do, where that is not in front of whoever reads it.
        fix: String,
        /// Which file, and why.
        source: Box<LoadError<ConfigurationError>>,
    },
    /// There is no way to the API server.
    #[error("the cluster cannot be used")]
    Cluster(#[source] ::cluster::ConnectError),
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
    /// Reads the files and binds the addresses. A cluster is not asked anything yet: whether it answers shows in readiness.
    ///
    /// # Errors
    /// When a file cannot be used or an address not be bound; then nothing is left open.
    pub async fn build(config: Config) -> Result<Self, AppError> {
        match &config.mode {
            Mode::Files(pair) => {
                let pair = pair.clone();
                let base = Base::new(config);
                let surroundings = base.by_files(&pair)?;
                base.build(surroundings).await
            }
            Mode::Cluster(settings) => {
                let settings = settings.clone();
                let options = ::cluster::Options {
                    kubeconfig: settings.kubeconfig.clone(),
                    ..::cluster::Options::default()
                };
                let client = ::cluster::connect(&options)
                    .await
                    .map_err(AppError::Cluster)?;
                Self::build_in(client, config, &settings).await
            }
        }
    }

    /// As [`App::build`], in the cluster that `client` reaches.
    ///
    /// # Errors
    /// As those of [`App::build`].
    pub async fn build_in(
        client: Client,
        config: Config,
        settings: &Settings,
    ) -> Result<Self, AppError> {
        let mut base = Base::new(config);
        let surroundings = base.in_cluster(client, settings)?;
        base.build(surroundings).await
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
        if let Some(files) = self.certificate_files {
            spawn(&group, "certificate reloader", files.run());
        }
        for (name, part) in self.parts {
            spawn(&group, name, until_draining(self.life.clone(), part));
        }
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
        let webhook = async {
            tokio::select! {
                () = self.certificate.available() => {}
                () = life.draining() => return,
            }
            drop(self.ready);
            self.webhook.serve(life.clone(), self.delay).await;
        };
        tokio::select! {
            () = webhook => life.stop("everything is answered"),
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

/// A replica that is going leaves the cluster to those that stay: what it wrote now might be what is being uninstalled.
async fn until_draining(life: Lifecycle, part: impl Future<Output = ()>) -> io::Result<()> {
    tokio::select! {
        () = part => Ok(()),
        () = life.draining() => future::pending().await,
    }
}

// === impl Base ===

impl Base {
    fn new(config: Config) -> Self {
        let mut registry = Registry::new("pilot", env!("CARGO_PKG_VERSION"));
        Self {
            config,
            readiness: Readiness::new(),
            injection: metrics::Injection::register(registry.families()),
            files: metrics::Files::register(registry.families()),
            registry,
        }
    }

    fn by_files(&self, pair: &Pair) -> Result<Surroundings, AppError> {
        let events = Events::silent();
        let files = self.certificate_files(pair, events.clone())?;
        Ok(Surroundings {
            events,
            namespaces: Directory::default(),
            followed: None,
            certificate: Certificate::Files(files.live()),
            certificate_files: Some(files),
            parts: Vec::new(),
        })
    }

    fn in_cluster(
        &mut self,
        client: Client,
        settings: &Settings,
    ) -> Result<Surroundings, AppError> {
        let registry = self.registry.families();
        let parts = Parts::build(client, settings, &self.readiness, registry);
        let (certificate, certificate_files) = match &settings.certificates {
            Certificates::Authority => (Certificate::Authority(parts.certificate), None),
            Certificates::Files(pair) => {
                let files = self.certificate_files(pair, parts.events.clone())?;
                (Certificate::Files(files.live()), Some(files))
            }
        };
        info!(namespace = settings.namespace, "working with a cluster");
        Ok(Surroundings {
            events: parts.events,
            namespaces: parts.namespaces,
            followed: parts.kubelets,
            certificate,
            certificate_files,
            parts: parts.tasks,
        })
    }

    fn certificate_files(
        &self,
        pair: &Pair,
        events: Events,
    ) -> Result<Reloader<CertifiedKey, TlsError>, AppError> {
        let voice = Voice::of_certificate(&self.readiness, self.files.clone(), events);
        tls::reloader(pair, voice).map_err(AppError::Certificate)
    }

    async fn build(self, surroundings: Surroundings) -> Result<App, AppError> {
        let Self {
            config, readiness, ..
        } = self;
        let ready = readiness.register("webhook listener");
        let events = surroundings.events;
        let voice = Voice::of_configuration(&readiness, self.files, events.clone());
        let configuration = configuration::reloader(&config, surroundings.followed, voice)
            .map_err(|source| AppError::Configuration {
                fix: fix(&config),
                source: Box::new(source),
            })?;
        let certificate = surroundings.certificate;
        let acceptor =
            tls::acceptor(certificate.clone(), tls::provider()).map_err(AppError::Tls)?;
        let webhook = Webhook {
            configuration: configuration.live(),
            namespaces: surroundings.namespaces,
            metrics: self.injection,
            events,
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
                router: monitoring::router(readiness.clone(), Arc::new(self.registry)),
                tls: None,
            }),
            None => None,
        };
        Ok(App {
            life: Lifecycle::new(readiness, config.drain),
            delay: config.shutdown_delay,
            configuration,
            certificate,
            certificate_files: surroundings.certificate_files,
            webhook,
            monitoring,
            parts: surroundings.parts,
            ready,
        })
    }
}

/// Where to correct a configuration that was mounted; whoever gave files by flags knows.
fn fix(config: &Config) -> String {
    match &config.mode {
        Mode::Files(_) => String::new(),
        Mode::Cluster(settings) => format!(
            ", correct {}",
            cluster::config_maps(&config.options.revision, &settings.namespace)
        ),
    }
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
