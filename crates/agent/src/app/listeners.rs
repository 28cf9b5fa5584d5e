//! The listeners of the housekeeping thread.
//!
//! `app` binds all of them before anything is announced, so that a port that is taken ends the start and is named with the flag that
//! changes it.

use std::{net::TcpListener, path::Path};

use contract::{paths, ports};
use tracing::warn;

use super::AppError;
use crate::{config::Config, dns, status::server};

/// Bound, and nobody answers yet.
pub(super) struct Listeners {
    pub(super) status: TcpListener,
    /// One for all addresses, or for each family's loopback address.
    pub(super) prometheus: Vec<TcpListener>,
    /// One for each family of addresses.
    pub(super) admin: Vec<TcpListener>,
    pub(super) dns: Option<dns::Proxy>,
}

// === impl Listeners ===

impl Listeners {
    pub(super) fn bind(config: &Config) -> Result<Self, AppError> {
        let taken = |purpose, flag| {
            move |(address, source)| AppError::Listen {
                address,
                purpose,
                flag,
                source,
            }
        };
        let dns = if config.captures_dns {
            Some(bind_dns()?)
        } else {
            None
        };
        let status = taken("status and probes", "--status-port (env AGENT_PORT_STATUS)");
        let prometheus = taken("metrics", "--prometheus-port (env ENVOY_PROMETHEUS_PORT)");
        let admin = taken("the admin interface", "--admin-port (env AGENT_PORT_ADMIN)");
        Ok(Self {
            dns,
            status: server::bind(config.ports.status).map_err(status)?,
            prometheus: match config.hides_metrics {
                true => server::bind_loopback(config.ports.prometheus),
                false => server::bind(config.ports.prometheus).map(|listener| vec![listener]),
            }
            .map_err(prometheus)?,
            admin: server::bind_loopback(config.ports.admin).map_err(admin)?,
        })
    }

    /// The port of the sidecar's own metrics.
    pub(super) fn prometheus_port(&self) -> u16 {
        self.prometheus.first().map_or(0, port_of)
    }

    /// The port of the admin interface.
    pub(super) fn admin_port(&self) -> u16 {
        self.admin.first().map_or(0, port_of)
    }
}

pub(super) fn port_of(listener: &TcpListener) -> u16 {
    // The kernel tells the address of every socket that it has bound.
    listener.local_addr().map_or(0, |address| address.port())
}

fn bind_dns() -> Result<dns::Proxy, AppError> {
    let servers = dns::read(Path::new(paths::RESOLV_CONF))?;
    if servers.is_empty() {
        warn!(
            file = paths::RESOLV_CONF,
            "no name server is named, so questions about names will fail; give the pod servers in dnsConfig"
        );
    }
    dns::Proxy::bind(ports::DNS, &servers)
        .map_err(|(address, source)| AppError::ListenForNames { address, source })
}
