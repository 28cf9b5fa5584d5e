//! What the access log is told of a connection, besides what its requests say.
//!
//! Asked once a line by the records of requests and of opaque connections; names are Istio's.

use super::{Connection, Role};
use crate::data_plane::{access_log::Cluster, telemetry::Service};

impl Connection {
    /// Whether a line is written for it.
    pub(crate) fn logs(&self) -> bool {
        self.role != Role::Readiness && self.worker.has_log()
    }

    /// Keeps for the log what the client's TLS has asked for.
    pub(super) fn note_server_name(&self, name: Option<Box<str>>) {
        if let Some(name) = name.filter(|_| self.logs()) {
            // A connection has one hello.
            let _ = self.server_name.set(name);
        }
    }

    /// What the client's TLS has asked for, where that is known.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.get().map(|name| &**name)
    }

    /// The upstream's name in the access log.
    pub(crate) fn cluster<'s>(&self, service: &'s Service) -> Cluster<'s> {
        let port = self.destination().port();
        match (self.role, service) {
            (Role::Outbound, Service::Known(names)) => Cluster::Outbound(port, &names.host),
            (Role::Outbound, _) => Cluster::Named(service.as_str()),
            (Role::Inbound | Role::Readiness, _) => Cluster::Inbound(port),
        }
    }

    /// The route's name in the access log, as Istio calls the ones that match everything.
    pub(crate) fn route_name(&self, service: &Service) -> &'static str {
        match (self.role, service) {
            (Role::Outbound, Service::BlackHole) => "block_all",
            (Role::Outbound, Service::Passthrough) => "allow_any",
            _ => "default",
        }
    }
}
