//! What is known of one opaque connection, reported when it is dropped.
//!
//! [`serve`](super::serve) notes here what it learns. A connection is counted as opened once its upstream is known, or was found to be
//! out of reach, and exactly once as closed.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime},
};

use super::Traffic;
use crate::{
    data_plane::{
        access_log::Line,
        captured::Connection,
        error::{Failure, Flag},
        pool::Upstream,
        target::Target,
        telemetry::{Code, Key, Security, Service},
    },
    peer::Party,
};

/// An opaque connection, from its acceptance to its last byte.
pub(super) struct Record<'a> {
    connection: &'a Connection,
    pub(super) service: Service,
    peer: Party,
    security: Security,
    traffic: Option<Traffic>,
    flag: Flag,
    details: Option<&'static str>,
    termination: Option<&'static str>,
    transport_failure: Option<&'static str>,
    upstream: Option<(SocketAddr, Option<SocketAddr>)>,
    started: Instant,
}

// === impl Record ===

impl<'a> Record<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            service: connection.service(),
            peer: connection.client(&[]),
            security: Security::of(connection.identity().is_some()),
            traffic: None,
            // Whoever drops the record without another word has lost the client.
            flag: Flag::DownstreamClosed,
            details: None,
            termination: None,
            transport_failure: None,
            upstream: None,
            started: Instant::now(),
        }
    }

    /// Notes where the connection goes.
    pub(super) fn target(&mut self, target: &Target) {
        self.service = target.service.clone();
        self.peer = self.connection.peer_of(&self.peer, target);
    }

    /// The upstream was reached; what is carried is counted from now on.
    pub(super) fn open(&mut self, upstream: &Upstream) -> &Traffic {
        self.upstream = Some((upstream.key.address, upstream.local));
        if self.connection.calls() {
            self.peer = upstream.party.clone();
            self.security = Security::of(upstream.stream.peer().is_some());
        }
        self.begin()
    }

    /// Everything was carried.
    pub(super) fn end(&mut self) {
        self.flag = Flag::None;
    }

    pub(super) fn fail(&mut self, failure: &Failure) {
        self.flag = failure.flag();
        self.details = Some(failure.code());
        self.termination = failure.termination();
        self.transport_failure = failure.transport_failure();
    }

    fn begin(&mut self) -> &Traffic {
        let key = self.key(Flag::None);
        let telemetry = &self.connection.worker().telemetry;
        let series = key.map(|key| telemetry.tcp(key));
        self.traffic.get_or_insert_with(|| {
            series.map_or_else(Traffic::default, |series| {
                series.opened();
                Traffic::counted_in(series)
            })
        })
    }

    /// What the connection is counted under; `None` if it is no traffic of the workload.
    fn key(&self, flag: Flag) -> Option<Key<'_>> {
        Some(Key {
            reporter: self.connection.reporter()?,
            peer: &self.peer,
            service: &self.service,
            code: Code::Tcp,
            flag,
            security: self.security,
        })
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if self.traffic.is_none() {
            self.begin();
        }
        let connection = self.connection;
        let worker = connection.worker();
        let Some(key) = self.key(self.flag) else {
            return;
        };
        worker.telemetry.tcp(key).closed();
        let traffic = self.traffic.as_ref().filter(|_| connection.logs());
        let Some(traffic) = traffic else {
            return;
        };
        let duration = self.started.elapsed();
        worker.log(&Line {
            started: SystemTime::now() - duration,
            http: None,
            status: 0,
            flags: self.flag.as_str(),
            details: self.details,
            termination: self.termination,
            transport_failure: self.transport_failure,
            bytes_received: traffic.received(),
            bytes_sent: traffic.sent(),
            duration,
            upstream_time: None,
            upstream_host: self.upstream.map(|(host, _)| host),
            upstream_local: self.upstream.and_then(|(_, local)| local),
            cluster: connection.cluster(&self.service),
            downstream_local: connection.destination(),
            downstream_remote: connection.peer(),
            server_name: connection.server_name(),
            route: None,
        });
    }
}
