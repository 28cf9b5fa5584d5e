//! The wiring.
//!
//! [`App::build`] puts the program together and binds every address, [`App::run`] keeps it going until it is told to end.
//! Nothing is announced before it works: a listening port means that reviews are answered.

mod bound;
mod error;
mod sidecars;

use std::{future, io, net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use runtime::{
    lifecycle::Lifecycle,
    metrics::Registry,
    readiness::{Guard, Readiness},
    task::Group,
};
use rustls::sign::CertifiedKey;
use tracing::info;

use crate::{
    cluster::{self, Clients, Part, Parts, Settings, events::Events, namespaces::Directory},
    config::{Certificates, Config, Mode, Pair},
    configuration::{self, ConfigurationError, Followed, Promised},
    files::{Reloader, Voice},
    grpc, metrics,
    policy::{RootNamespace, root},
    server::Versions,
    tasks::{spawn, until_draining, when_draining},
    webhook::{
        self, Webhook,
        tls::{self, Certificate, TlsError},
        validate::Validator,
    },
};

use bound::Bound;
use sidecars::Sidecars;

pub use error::AppError;

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
    grpc: Option<grpc::Server>,
    /// What keeps the program in step with its cluster.
    parts: Vec<Part>,
    endings: Vec<Part>,
    ready: Guard,
}

/// What every subsystem is built on.
struct Base {
    config: Config,
    configured: Promised,
    readiness: Readiness,
    registry: Registry,
    files: metrics::Files,
    injection: metrics::Injection,
    root: (root::Keeper, RootNamespace),
}

/// What differs between a program that works by files and one that works with a cluster.
struct Surroundings {
    events: Events,
    namespaces: Directory,
    followed: Option<Followed>,
    certificate: Certificate,
    certificate_files: Option<Reloader<CertifiedKey, TlsError>>,
    sidecars: Option<Sidecars>,
    parts: Vec<Part>,
    endings: Vec<Part>,
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
                let connect = || ::cluster::connect(&options);
                let clients = Clients {
                    webhook: connect().await.map_err(AppError::Cluster)?,
                    sidecars: connect().await.map_err(AppError::Cluster)?,
                };
                Self::build_with(clients, config, &settings).await
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
        let clients = Clients {
            webhook: client.clone(),
            sidecars: client,
        };
        Self::build_with(clients, config, settings).await
    }

    async fn build_with(
        clients: Clients,
        config: Config,
        settings: &Settings,
    ) -> Result<Self, AppError> {
        let mut base = Base::new(config);
        let surroundings = base.in_cluster(clients, settings)?;
        base.build(surroundings).await
    }

    /// Where gRPC is served, TLS first, with the ports that were chosen for port 0.
    #[must_use]
    pub fn grpc_addresses(&self) -> Vec<SocketAddr> {
        let server = self.grpc.iter();
        server.flat_map(grpc::Server::addresses).collect()
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
        for (name, ending) in self.endings {
            group.spawn(name, when_draining(self.life.clone(), ending));
        }
        let life = self.life.clone();
        if let Some(monitoring) = self.monitoring {
            // Readiness and metrics can be read for as long as there is a review under way.
            let (drain, group_of_server) = (life.clone(), group.clone());
            group.spawn("monitoring listener", async move {
                let serve = monitoring.serve(drain, Duration::MAX);
                tokio::select! {
                    served = serve => drop(served),
                    () = group_of_server.cancelled() => {}
                }
            });
        }
        let webhook = async {
            tokio::select! {
                () = self.certificate.available() => {}
                () = life.draining() => return Ok(()),
            }
            drop(self.ready);
            let served = self.webhook.serve(life.clone(), self.delay).await;
            served.map_err(AppError::Listen)
        };
        let grpc = async {
            match self.grpc {
                Some(server) => server.run(life.clone()).await.map_err(AppError::Grpc),
                None => Ok(()),
            }
        };
        let mut result = Ok(());
        tokio::select! {
            served = async { tokio::try_join!(webhook, grpc) } => {
                result = served.map(drop);
                let reason = if result.is_ok() { "everything is answered" } else { "a listener failed" };
                life.stop(reason);
            }
            () = group.cancelled() => life.stop("a part of the program failed"),
        }
        group.cancel();
        let ended = group.join(STOP).await.map_err(AppError::Run);
        result.and(ended)
    }
}

// === impl Base ===

impl Base {
    fn new(config: Config) -> Self {
        let mut registry = Registry::new("pilot", env!("CARGO_PKG_VERSION"));
        Self {
            root: root::channel(config.root_namespace()),
            config,
            configured: Promised::default(),
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
            sidecars: None,
            parts: Vec::new(),
            endings: Vec::new(),
        })
    }

    fn in_cluster(
        &mut self,
        clients: Clients,
        settings: &Settings,
    ) -> Result<Surroundings, AppError> {
        let registry = self.registry.families();
        let trust_domain = self.configured.trust_domain();
        let told = (Arc::clone(&trust_domain), self.root.1.clone());
        let parts = Parts::build(clients, settings, told, &self.readiness, registry);
        let sidecars = Sidecars {
            context: parts.sidecars,
            certificate: parts.certificate.clone(),
            issuing: parts.issuing,
            lifetimes: settings.lifetimes,
            policies: parts.policies,
            trust_domain,
            pauses: settings.pauses,
        };
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
            sidecars: Some(sidecars),
            parts: parts.tasks,
            endings: parts.endings,
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
            config,
            readiness,
            mut registry,
            root: (keeper, root),
            ..
        } = self;
        let mut parts = surroundings.parts;
        let ready = readiness.register("webhook listener");
        let events = surroundings.events;
        let voice = Voice::of_configuration(&readiness, self.files, events.clone());
        let configuration = configuration::reloader(&config, surroundings.followed, voice)
            .map_err(|source| AppError::Configuration {
                fix: fix(&config),
                source: Box::new(source),
            })?;
        self.configured.keep(configuration.live());
        keeper.look(&configuration.live().load());
        parts.push(("root namespace", Box::pin(keeper.run(configuration.live()))));
        let grpc = match (config.grpc, surroundings.sidecars) {
            (Some(addresses), Some(sidecars)) => {
                let (live, delay) = (configuration.live(), config.shutdown_delay);
                let server = sidecars.bind(addresses, live, registry.families(), delay);
                Some(server.await.map_err(AppError::Grpc)?)
            }
            _ => None,
        };
        let certificate = surroundings.certificate;
        let acceptor = tls::acceptor(certificate.clone(), tls::provider(), Versions::Both)
            .map_err(AppError::Tls)?;
        let webhook = Webhook {
            configuration: configuration.live(),
            namespaces: surroundings.namespaces,
            metrics: self.injection,
            events,
        };
        let validator = Validator::new(root, registry.families());
        let router = webhook::router(webhook, validator, readiness.clone());
        let address = config.https_address;
        let webhook = Bound::new("webhook", "--https-addr", address, router, Some(acceptor));
        let webhook = webhook.await?;
        let monitoring = Bound::monitoring(config.monitoring_address, &readiness, registry).await?;
        Ok(App {
            life: Lifecycle::new(readiness, config.drain),
            delay: config.shutdown_delay,
            configuration,
            certificate,
            certificate_files: surroundings.certificate_files,
            webhook,
            monitoring,
            grpc,
            parts,
            endings: surroundings.endings,
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
