//! Settings of the data plane, each with the reason for its default.
//!
//! The shell fills a [`Config`] from flags and the pod's settings; [`start`](super::start) makes it immutable.
//! Every field is plain data that needs no second look, and every bound of what peers can cause is among them.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use super::{access_log::Format, net::original_destination::Capture};
use crate::{discovery::Demand, mesh::MeshStore, peer::Names, tls::Store, workload::Workload};

/// Settings of the data plane.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Number of worker threads.
    pub workers: NonZeroUsize,
    /// Where captured calls of the workload arrive. Like the other two, `[::]` takes IPv4 as well, port 0 lets the kernel choose.
    pub outbound: SocketAddr,
    /// Where captured calls to the workload arrive.
    pub inbound: SocketAddr,
    /// Where readiness is asked for.
    pub readiness: SocketAddr,
    /// The status server, which knows whether the agent is ready.
    pub status: SocketAddr,
    /// How the original destination of outbound connections becomes known. Default: by netfilter.
    pub outbound_capture: Capture,
    /// The same for inbound connections.
    pub inbound_capture: Capture,
    /// Ports that are never dialled, at any address, besides those of the two capture listeners: other names of the proxy itself.
    /// Default: 15001 and 15006.
    pub reserved_ports: Vec<u16>,
    /// What is known of the mesh; its changes apply to requests that begin after them. Default: nothing.
    pub mesh: MeshStore,
    /// Where to ask who is at an address that the mesh does not know. Default: nowhere, so that what is not known is nobody of the mesh.
    pub demand: Option<Demand>,
    /// How long a client may be silent before its server is asked to speak first. Default 100 ms: more than any client needs that speaks
    /// first, and an unnoticed delay once a connection for a server that does.
    pub detect_timeout: Duration,
    /// How long an upstream may take to accept a connection. Default 10 s, as Istio (`pkg/config/mesh`).
    pub connect_timeout: Duration,
    /// How long the head of a request may take from its first byte. Default 60 s, as nginx (`client_header_timeout`).
    pub head_timeout: Duration,
    /// How long an HTTP connection may be without a request, and a request without progress. Default 1 h, as Envoy.
    pub idle_timeout: Duration,
    /// How long an opaque connection may be without a byte. Default 1 h, as Envoy.
    pub tcp_idle_timeout: Duration,
    /// How long an upstream connection may wait for another request. Default 30 s: half of what common servers allow, so that the race
    /// with their closing is rare; what loses it is sent again.
    pub pool_timeout: Duration,
    /// How long a series of the metrics is kept that does not change. Default 1 h: longer than any alert looks back, and short enough that
    /// the peers of yesterday's rollouts are forgotten.
    pub series_timeout: Duration,
    /// Bounds of what peers can make the proxy hold.
    pub limits: Limits,
    /// The access log's format; `None` writes none and costs nothing. Default: none.
    pub access_log: Option<Format>,
    /// By what the workload proves who it is. Default: nothing, so that no mutual TLS is spoken.
    pub credentials: Store,
    /// Who the workload is, for metrics.
    pub workload: Workload,
    /// Names of peers and services, for metrics; whoever describes the mesh to the data plane takes its handles from here.
    pub names: Arc<Names>,
}

/// Bounds of what peers can make the proxy hold, for each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections of each listener; further ones are reset. Default 16384: about 60 MB while they are idle, about 1 GB if every
    /// one of them is in the middle of the largest head.
    pub connections: usize,
    /// Bytes of a head, of requests and answers alike. Default 64 KiB, a little above Envoy's 60 KiB.
    pub head_bytes: usize,
    /// Idle connections to one upstream. Default 512.
    pub idle_per_upstream: usize,
    /// Idle connections to all upstreams. Default 1024.
    pub idle_total: usize,
    /// Series of HTTP metrics; further ones are counted together. Default 500: a page of metrics has about 60 KB for each, as every bucket
    /// of its three histograms bears all labels, so that a scrape takes up to 30 MB for a moment.
    pub http_series: usize,
    /// Series of TCP metrics; further ones are counted together. Default 1000.
    pub tcp_series: usize,
}

// === impl Config ===

impl Config {
    /// One worker with the defaults that the fields state.
    #[must_use]
    pub fn new(
        outbound: SocketAddr,
        inbound: SocketAddr,
        readiness: SocketAddr,
        status: SocketAddr,
    ) -> Self {
        Self {
            workers: NonZeroUsize::MIN,
            outbound,
            inbound,
            readiness,
            status,
            outbound_capture: Capture::Redirect,
            inbound_capture: Capture::Redirect,
            reserved_ports: vec![contract::ports::OUTBOUND, contract::ports::INBOUND],
            mesh: MeshStore::default(),
            demand: None,
            detect_timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            tcp_idle_timeout: Duration::from_secs(3600),
            pool_timeout: Duration::from_secs(30),
            series_timeout: Duration::from_secs(3600),
            limits: Limits::default(),
            access_log: None,
            credentials: Store::default(),
            workload: Workload::default(),
            names: Arc::default(),
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_bytes: 64 * 1024,
            idle_per_upstream: 512,
            idle_total: 1024,
            http_series: 500,
            tcp_series: 1000,
        }
    }
}
