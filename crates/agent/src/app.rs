//! The proxy, put together.
//!
//! [`run`] binds every listener, starts the workers of the data plane and then the housekeeping on the calling thread: status and
//! metrics server, access log, signals. It is ready once everything is bound; if an essential part ends, the process ends with an error
//! and the kubelet starts it anew.

mod certificates;
pub mod ending;
mod listeners;
pub mod log_file;
mod mesh_source;
mod startup;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use runtime::{
    lifecycle::Lifecycle,
    log,
    metrics::Registry,
    readiness::Readiness,
    task::{Failure, Group},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::{
    admin::{self, Admin},
    config::{Config, Drain, Encoding, Interception},
    data_plane::{self, DataPlane, StartError},
    dns,
    files::{self, Voice},
    mesh,
    status::{
        Control, Metrics, Status,
        probes::{dial::Dialer, prober::Prober},
        scrape::Scraper,
        server::{self, Handler},
    },
    tls,
};
use certificates::Certificates;
use ending::{Ending, Lost};
use listeners::{Listeners, port_of};
use log_file::{LogFile, OpenError};
use mesh_source::MeshSource;
use startup::Stopwatch;

/// Why the proxy could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A port of the status or the metrics server is taken.
    #[error(
        "cannot listen on {address} for {purpose}, is another program using this port? {flag} gives another one"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What it is for.
        purpose: &'static str,
        /// The flag and variable that change it.
        flag: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The data plane cannot start.
    #[error("the data plane cannot start")]
    DataPlane(#[source] StartError),
    /// The local mesh cannot be read or is wrong.
    #[error(transparent)]
    LocalMesh(#[from] mesh::local::LoadError),
    /// The files of mutual TLS cannot be used.
    #[error(transparent)]
    Credentials(#[from] tls::reload::LoadError),
    /// The access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] OpenError),
    /// The port of the DNS proxy is taken.
    #[error(
        "cannot listen on {address} for captured questions about names, is another program using this port? it is only needed with --dns-capture (env ISTIO_META_DNS_CAPTURE)"
    )]
    ListenForNames {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nobody could be asked about names.
    #[error("questions about names are captured, but cannot be answered")]
    Dns(#[from] dns::ReadError),
    /// Tokio refused to start.
    #[error("cannot start the housekeeping thread's runtime")]
    Runtime(#[source] io::Error),
    /// The kernel does not hand over signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// A worker has died.
    #[error("a worker of the data plane ended before its time")]
    WorkerLost,
    /// A part of the housekeeping has died.
    #[error("the housekeeping did not end well")]
    Housekeeping(#[source] Failure),
}

/// What is read from files, and again when they change.
struct Sources {
    mesh: MeshSource,
    certificates: Certificates,
}

/// What runs, and must be brought to its end.
struct Running {
    group: Group,
    data_plane: DataPlane,
}

/// Threads that write the access log, look up names and make pages of metrics; one would do, but a large page must not hold up the log.
const BLOCKING_THREADS: usize = 3;
/// How long answers that are under way and the last lines of the access log may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the proxy until it is told to end.
///
/// # Errors
/// Any [`AppError`].
pub fn run(config: Config, log: log::Handle) -> Result<(), AppError> {
    let stopwatch = Stopwatch::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(AppError::Runtime)?;
    raise_descriptor_limit();
    let mesh = MeshSource::open(&config)?;
    let (readiness, group) = (Readiness::new(), Group::new());
    let certificates = Certificates::open(&config, mesh.store(), (&group, &readiness))?;
    let access_log = mesh.access_log(&config);
    let path = match &access_log {
        Some(log) => log.file.as_path(),
        None => Path::new(log_file::STDOUT),
    };
    let log_file = runtime.block_on(LogFile::open(path))?;
    let starting = readiness.register("listeners");
    let listeners = Listeners::bind(&config)?;
    let status_port = port_of(&listeners.status);
    let sources = Sources { mesh, certificates };
    let mut data_plane = data_plane_config(&config, &sources, status_port);
    data_plane.access_log = access_log.map(|log| format(log.encoding));
    let data_plane = data_plane::start(data_plane).map_err(AppError::DataPlane)?;
    announce(&config, &listeners, &data_plane);
    let ended = runtime.block_on(Box::pin(async {
        let lifecycle = Lifecycle::new(readiness.clone(), ending::limit(config.drain));
        let ending = Ending::new(lifecycle.clone(), readiness.clone());
        let drain = config.drain;
        let mut running = Running { group, data_plane };
        running.write_access_log(log_file)?;
        let said = (ending.clone(), log, stopwatch);
        running.serve(config, sources, listeners, readiness, said);
        drop(starting);
        running.live(&lifecycle, &ending, drain).await
    }));
    // A write that the kernel holds up, to a pipe that nobody reads, must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Allows as many descriptors as the container may have: each proxied connection takes two, and runtimes start with as few as 1024.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files cannot be raised, connections may be refused");
    }
}

// === impl Running ===

impl Running {
    fn write_access_log(&mut self, file: LogFile) -> Result<(), AppError> {
        if let Some(lines) = self.data_plane.access_log() {
            self.group
                .spawn_essential("access log writer", lines.copy_to(file));
        }
        let control = self.data_plane.access_log_control();
        let mut asked = signal(SignalKind::user_defined1()).map_err(AppError::Signals)?;
        let token = self.group.token().clone();
        self.group.spawn("access log reopener", async move {
            let reopen = async {
                while asked.recv().await.is_some() {
                    control.reopen();
                }
            };
            token.run_until_cancelled(reopen).await;
        });
        Ok(())
    }

    fn serve(
        &self,
        config: Config,
        sources: Sources,
        listeners: Listeners,
        readiness: Readiness,
        (ending, log, stopwatch): (Ending, log::Handle, Stopwatch),
    ) {
        let mut registry = Registry::new("proxy", env!("CARGO_PKG_VERSION"));
        registry
            .families()
            .register_collector(Box::new(self.data_plane.collector()));
        stopwatch.follow(&readiness, &self.group, registry.families());
        let store = sources.mesh.store();
        let credentials = sources.certificates.store();
        let access_log = self.data_plane.access_log_control();
        let files = files::Metrics::register(registry.families());
        let discovery = sources.mesh.status();
        discovery.register(registry.families());
        sources.mesh.follow(
            (&self.group, &readiness),
            Voice::new("local-mesh", files.clone(), &readiness),
            (access_log.clone(), config.access_log.clone()),
        );
        sources.certificates.register(registry.families());
        let voice = Voice::new("certificates", files, &readiness);
        sources.certificates.follow(&self.group, voice);
        let reserved = self.reserved_ports(&listeners);
        let targets = config.application_metrics.clone();
        let scraper = Scraper::register(targets, reserved.clone(), registry.families());
        if let Some(dns) = listeners.dns {
            dns.register(registry.families());
            self.group.spawn_essential("dns proxy", dns.serve());
        }
        let metrics = Metrics::new(Arc::new(registry)).hidden(config.hides_metrics);
        let dialer = Dialer::new(config.application, reserved).keeping(config.keeps_probes);
        let prober = Prober::new(config.probes.clone(), dialer);
        let control: Arc<dyn Control> = Arc::new(ending);
        let status = Status::new(
            readiness.clone(),
            metrics.clone(),
            scraper,
            prober,
            Arc::clone(&control),
        );
        self.answer("status server", listeners.status, &Arc::new(status));
        let page = Arc::new(metrics.clone());
        for listener in listeners.prometheus {
            self.answer("metrics server", listener, &page);
        }
        let admin = Arc::new(Admin::new(admin::Parts {
            config,
            mesh: store,
            discovery,
            credentials,
            readiness,
            metrics,
            log,
            access_log,
            control,
        }));
        for listener in listeners.admin {
            self.answer("admin server", listener, &admin);
        }
    }

    fn answer<H: Handler>(&self, name: &'static str, listener: TcpListener, handler: &Arc<H>) {
        let serving = server::serve(listener, Arc::clone(handler), self.group.clone());
        self.group.spawn_essential(name, serving);
    }

    /// Ports that no probe of the application may be for.
    fn reserved_ports(&self, listeners: &Listeners) -> Vec<u16> {
        let addresses = self.data_plane.addresses();
        vec![
            addresses.outbound.port(),
            addresses.inbound.port(),
            addresses.readiness.port(),
            port_of(&listeners.status),
            listeners.prometheus_port(),
            listeners.admin_port(),
        ]
    }

    async fn live(
        mut self,
        lifecycle: &Lifecycle,
        ending: &Ending,
        drain: Drain,
    ) -> Result<(), AppError> {
        let ended = tokio::select! {
            signals = lifecycle.clone().run() => signals.map_err(AppError::Signals),
            followed = ending.follow(&mut self.data_plane, drain) => followed.map_err(|Lost| AppError::WorkerLost),
            () = self.group.cancelled() => Ok(()),
        };
        lifecycle.stop("an essential part has ended");
        // Before the data plane, whose end is the end of the access log, so that it does not count as untimely.
        self.group.cancel();
        let joined = self.data_plane.join(Duration::ZERO).await;
        if joined.cut > 0 {
            warn!(connections = joined.cut, "connections were cut");
        }
        match self.group.join(LAST_WORDS).await {
            // It has been logged, and whoever asked the proxy to end need not know.
            Ok(()) | Err(Failure::Unfinished { .. }) => ended,
            Err(failure) => ended.and(Err(AppError::Housekeeping(failure))),
        }
    }
}

fn data_plane_config(config: &Config, sources: &Sources, status_port: u16) -> data_plane::Config {
    let everywhere = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let mut data_plane = data_plane::Config::new(
        everywhere(config.ports.outbound),
        everywhere(config.ports.inbound),
        everywhere(config.ports.readiness),
        SocketAddr::from((Ipv4Addr::LOCALHOST, status_port)),
    );
    data_plane.workers = config.workers;
    data_plane.inbound_capture = match config.interception {
        Interception::Redirect => data_plane::Capture::Redirect,
        Interception::Tproxy => data_plane::Capture::Tproxy,
    };
    data_plane.detect_timeout = config.detect_timeout;
    data_plane.workload = config.workload.clone();
    data_plane.mesh = sources.mesh.store();
    data_plane.demand = sources.mesh.demand();
    data_plane.credentials = sources.certificates.store();
    data_plane
}

fn format(encoding: Encoding) -> data_plane::Format {
    match encoding {
        Encoding::Text => data_plane::Format::Text,
        Encoding::Json => data_plane::Format::Json,
    }
}

/// Says once how the proxy runs and where it listens, whatever port the kernel has chosen.
fn announce(config: &Config, listeners: &Listeners, data_plane: &DataPlane) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        workers = config.workers,
        workload.name = config.workload.name,
        workload.namespace = config.workload.namespace,
        interception = ?config.interception,
        dns_capture = config.captures_dns,
        application = %config.application,
        probes = config.probes.n_probes(),
        local_mesh = config.local_mesh.as_ref().map(|path| tracing::field::display(path.display())),
        access_log = config.access_log.as_ref().map(|log| tracing::field::display(log.file.display())),
        drain = ?config.drain,
        "configured"
    );
    let addresses = data_plane.addresses();
    info!(
        outbound = %addresses.outbound,
        inbound = %addresses.inbound,
        readiness = %addresses.readiness,
        prometheus = listeners.prometheus_port(),
        status = port_of(&listeners.status),
        admin = listeners.admin_port(),
        "listening"
    );
}
