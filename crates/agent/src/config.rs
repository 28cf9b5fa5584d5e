//! Everything the proxy is told, validated.
//!
//! [`Config::resolve`] turns the arguments, PROXY_CONFIG and the pod's annotations into values that need no second look; `app` builds
//! the program from it. A flag or its variable wins over the annotation, that over PROXY_CONFIG, that over the default.

pub mod certificates;
pub mod control_plane;
pub mod discovery;
pub mod problem;
pub mod proxy_config;
mod reader;
mod settings;
pub mod tls;

use std::{net::IpAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use contract::env;
use serde::Deserialize;

use crate::{
    args::ProxyArgs,
    mesh::Own,
    pod_info::Pairs,
    status::{probes::Probes, scrape::Targets},
    workload::Workload,
};
use certificates::Certificates;
use control_plane::ControlPlane;
use discovery::Discovery;
use problem::Problems;
use proxy_config::ProxyConfig;
use reader::{Reader, Setting};
use tls::Tls;

/// The proxy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Number of worker threads of the data plane.
    pub workers: NonZeroUsize,
    /// Ports to listen on.
    pub ports: Ports,
    /// How inbound connections come.
    pub interception: Interception,
    /// Whether questions about names come, too.
    pub captures_dns: bool,
    /// The access log, if there is to be one.
    pub access_log: Option<AccessLog>,
    /// How long a client may be silent before its connection counts as TCP whose server speaks first.
    pub detect_timeout: Duration,
    /// How the proxy ends.
    pub drain: Drain,
    /// Where the application is, seen from the status server.
    pub application: IpAddr,
    /// The application's probes.
    pub probes: Probes,
    /// Whether their connections are kept for the next probe.
    pub keeps_probes: bool,
    /// Whether metrics are for processes of the pod alone.
    pub hides_metrics: bool,
    /// How traffic between sidecars is secured.
    pub tls: Tls,
    /// Where the control plane is.
    pub control_plane: ControlPlane,
    /// What the control plane is asked for.
    pub discovery: Discovery,
    /// What certificates are asked for.
    pub certificates: Certificates,
    /// Where the application's metrics are.
    pub application_metrics: Targets,
    /// Who this workload is.
    pub workload: Workload,
    /// The file with the picture of the mesh, if there is one.
    pub local_mesh: Option<PathBuf>,
    /// Who this pod is in that picture.
    pub own: Own,
}

/// Ports to listen on; 0 lets the kernel choose. No two are the same, 0 aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Captured outbound connections.
    pub outbound: u16,
    /// Captured inbound connections.
    pub inbound: u16,
    /// Readiness through the data plane.
    pub readiness: u16,
    /// Metrics.
    pub prometheus: u16,
    /// Health, probes, metrics, drain.
    pub status: u16,
    /// Configuration, logs, ending; on loopback addresses only.
    pub admin: u16,
}

/// How inbound connections come to the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interception {
    /// Their destination address was translated, or nothing is captured.
    #[default]
    Redirect,
    /// They come with the address that the client dialled, which takes a transparent socket.
    Tproxy,
}

/// Where and how the access log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file, which is appended to.
    pub file: PathBuf,
    /// The form of a line.
    pub encoding: Encoding,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Encoding {
    /// Istio's default line.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// How long the proxy goes on after it was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// So long, whatever happens meanwhile: the application may still be finishing its own work.
    Fixed(Duration),
    /// Until no connection is left.
    UntilIdle {
        /// But not less than this.
        minimum: Duration,
        /// And not more than this, if it is known; the kubelet keeps the pod's grace period in any case.
        limit: Option<Duration>,
    },
}

// === impl Config ===

impl Config {
    /// Settles every setting. `annotations` and `labels` are the pod's; `n_cores` is what the machine offers.
    ///
    /// # Errors
    /// Everything that is wrong, each with the place where it was given.
    pub fn resolve(
        args: &ProxyArgs,
        labels: &Pairs,
        annotations: &Pairs,
        n_cores: NonZeroUsize,
    ) -> Result<Self, Problems> {
        let text = args.pod.proxy_config.as_deref().unwrap_or_default();
        let (proxy_config, unreadable) = match ProxyConfig::parse(text) {
            Ok(proxy_config) => (proxy_config, None),
            Err(error) => (ProxyConfig::default(), Some(error)),
        };
        let mut reader = Reader {
            proxy_config: &proxy_config,
            problems: Vec::new(),
        };
        reader.refuse_role(&args.role);
        if let Some(error) = unreadable {
            let setting = Setting::new("proxy-config", env::PROXY_CONFIG, None);
            reader.not_json(setting, &error);
        }
        let workload = Workload::new(settings::told(&args.pod), labels);
        let config = Self {
            workers: reader.workers(args, n_cores),
            ports: reader.ports(args, annotations),
            interception: reader.interception(&args.pod),
            captures_dns: reader.captures_dns(&args.traffic),
            access_log: reader.access_log(&args.traffic),
            detect_timeout: reader.detect_timeout(&args.traffic),
            drain: reader.drain(args),
            application: reader.application(&args.pod),
            probes: reader.probes(&args.pod),
            keeps_probes: reader.keeps_probes(&args.status),
            hides_metrics: reader.hides_metrics(&args.status),
            application_metrics: reader.application_metrics(&args.pod),
            local_mesh: reader.local_mesh(&args.mesh),
            own: reader.own(args, &workload),
            control_plane: reader.control_plane(args, &workload),
            discovery: reader.discovery(&args.discovery, labels),
            certificates: reader.certificates(args, &workload),
            workload,
            tls: reader.tls(&args.tls, &args.pod),
        };
        let has_authority = config.control_plane.authority.is_some();
        reader.refuse_nobody(has_authority, &config.certificates);
        match reader.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Problems(problems)),
        }
    }
}

// === impl Ports ===

impl Ports {
    /// Each port with what it is for.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u16); 6] {
        [
            ("outbound", self.outbound),
            ("inbound", self.inbound),
            ("readiness", self.readiness),
            ("prometheus", self.prometheus),
            ("status", self.status),
            ("admin", self.admin),
        ]
    }
}

#[cfg(test)]
mod tests;
