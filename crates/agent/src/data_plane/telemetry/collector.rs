//! Puts the workers' series together when somebody scrapes.
//!
//! A registry calls [`Collector`] on its own thread; it copies pointers under a short lock and reads atomics.
//! The order of series and labels is the same in every scrape.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{
    handshakes::{Outcome, Side},
    histogram::Total,
    key::OwnedKey,
    labels::Labels,
    series::{HttpSeries, Own, Shared, TcpSeries},
    table::List,
};
use crate::peer::PartyNames;

/// The data plane's metrics, for a `prometheus-client` registry.
#[derive(Clone, Debug)]
pub struct Collector {
    workload: Arc<PartyNames>,
    workers: Arc<[Arc<Shared>]>,
}

/// The HTTP series of all workers with one key.
#[derive(Default)]
struct Http {
    requests: u64,
    duration: Total,
    request_bytes: Total,
    response_bytes: Total,
}

/// The TCP series of all workers with one key.
#[derive(Default)]
struct Tcp {
    opened: u64,
    closed: u64,
    sent: u64,
    received: u64,
}

/// A family of histograms: name, help, and which part of [`Http`] it is.
type HistogramFamily = (&'static str, &'static str, fn(&Http) -> &Total);
/// A family of counters over TCP connections.
type TcpFamily = (&'static str, &'static str, fn(&Tcp) -> u64);
/// One of our own counters.
type OwnFamily = (&'static str, &'static str, fn(&Own) -> &AtomicU64);

const HISTOGRAMS: [HistogramFamily; 3] = [
    (
        "istio_request_duration_milliseconds",
        "Duration of requests in milliseconds",
        |http| &http.duration,
    ),
    (
        "istio_request_bytes",
        "Size of request bodies in bytes",
        |http| &http.request_bytes,
    ),
    (
        "istio_response_bytes",
        "Size of response bodies in bytes",
        |http| &http.response_bytes,
    ),
];

const TCP: [TcpFamily; 4] = [
    (
        "istio_tcp_connections_opened",
        "TCP connections opened",
        |tcp| tcp.opened,
    ),
    (
        "istio_tcp_connections_closed",
        "TCP connections closed",
        |tcp| tcp.closed,
    ),
    (
        "istio_tcp_sent_bytes",
        "Bytes sent to clients over TCP connections",
        |tcp| tcp.sent,
    ),
    (
        "istio_tcp_received_bytes",
        "Bytes received from clients over TCP connections",
        |tcp| tcp.received,
    ),
];

const OWN: [OwnFamily; 7] = [
    (
        "minimesh_loops_prevented",
        "Connections closed because their destination was the proxy itself",
        |own| &own.loops,
    ),
    (
        "minimesh_connections_refused",
        "Connections closed because too many were open",
        |own| &own.refused,
    ),
    (
        "minimesh_access_log_lines_dropped",
        "Access log lines dropped because the log could not be written fast enough",
        |own| &own.log_lines_dropped,
    ),
    (
        "minimesh_connection_panics",
        "Connections ended by a defect of the proxy",
        |own| &own.panics,
    ),
    (
        "minimesh_metrics_overflow",
        "Requests and connections counted under the labels \"overflow\" because there were too many series",
        |own| &own.overflow,
    ),
    (
        "minimesh_upstream_connections",
        "Connections made to upstreams",
        |own| &own.dialled,
    ),
    (
        "minimesh_request_retries",
        "Requests sent again because the upstream had closed an idle connection, or to another endpoint because one could not be reached",
        |own| &own.retries,
    ),
];

/// Gauges of our own.
const GAUGES: [OwnFamily; 2] = [
    (
        "minimesh_active_connections",
        "Connections that are open",
        |own| &own.active,
    ),
    (
        "minimesh_idle_upstream_connections",
        "Connections to upstreams that wait for a request",
        |own| &own.idle,
    ),
];

// === impl Collector ===

impl Collector {
    /// `workload` is the own side of every series.
    pub(crate) fn new(workload: PartyNames, workers: Arc<[Arc<Shared>]>) -> Self {
        Self {
            workload: Arc::new(workload),
            workers,
        }
    }

    /// The series of all workers in the order of their labels, those with the same labels added up.
    fn merged<S, T: Default>(
        &self,
        list: fn(&Shared) -> &List<S>,
        add: fn(&mut T, &S),
    ) -> Vec<(OwnedKey, T)> {
        let mut all: Vec<_> = self
            .workers
            .iter()
            .flat_map(|worker| list(worker).series())
            .collect();
        all.sort_by(|(one, _), (other, _)| self.labels(one).rank().cmp(&self.labels(other).rank()));
        let mut merged: Vec<(OwnedKey, T)> = Vec::with_capacity(all.len());
        for (key, series) in all {
            match merged.last_mut() {
                Some((last, total)) if self.labels(last).rank() == self.labels(&key).rank() => {
                    add(total, &series);
                }
                _ => {
                    let mut total = T::default();
                    add(&mut total, &series);
                    merged.push((key, total));
                }
            }
        }
        merged
    }

    fn labels<'a>(&'a self, key: &'a OwnedKey) -> Labels<'a> {
        Labels {
            key: key.as_key(),
            own: &self.workload,
        }
    }

    fn encode_handshakes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "minimesh_tls_handshakes",
            "TLS handshakes between sidecars, by how they ended",
            None,
            MetricType::Counter,
        )?;
        for side in Side::ALL {
            for outcome in Outcome::ALL {
                let workers = self.workers.iter();
                let n = workers
                    .map(|worker| worker.own.handshakes.read(side, outcome))
                    .sum();
                let labels = [("side", side.as_str()), ("result", outcome.as_str())];
                counter(family.encode_family(&labels)?, n)?;
            }
        }
        Ok(())
    }

    fn own(&self, read: fn(&Own) -> &AtomicU64) -> u64 {
        self.workers
            .iter()
            .map(|worker| read(&worker.own).load(Relaxed))
            .sum()
    }
}

impl prometheus_client::collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let http = self.merged(|worker| &worker.http, Http::add);
        let mut family =
            encoder.encode_descriptor("istio_requests", "Requests", None, MetricType::Counter)?;
        for (key, series) in &http {
            counter(family.encode_family(&self.labels(key))?, series.requests)?;
        }
        for (name, help, read) in HISTOGRAMS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (key, series) in &http {
                let total = read(series);
                family
                    .encode_family(&self.labels(key))?
                    .encode_histogram::<NoLabelSet>(
                        total.sum(),
                        total.count(),
                        &total.buckets(),
                        None,
                    )?;
            }
        }
        let tcp = self.merged(|worker| &worker.tcp, Tcp::add);
        for (name, help, read) in TCP {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (key, series) in &tcp {
                counter(family.encode_family(&self.labels(key))?, read(series))?;
            }
        }
        for (name, help, read) in OWN {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter(family, self.own(read))?;
        }
        for (name, help, read) in GAUGES {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&self.own(read))?;
        }
        self.encode_handshakes(&mut encoder)
    }
}

fn counter(mut encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

// === impl Http ===

impl Http {
    fn add(&mut self, series: &HttpSeries) {
        self.requests += series.requests.load(Relaxed);
        series.duration.add_to(&mut self.duration);
        series.request_bytes.add_to(&mut self.request_bytes);
        series.response_bytes.add_to(&mut self.response_bytes);
    }
}

// === impl Tcp ===

impl Tcp {
    fn add(&mut self, series: &TcpSeries) {
        self.opened += series.opened.load(Relaxed);
        self.closed += series.closed.load(Relaxed);
        self.sent += series.sent.load(Relaxed);
        self.received += series.received.load(Relaxed);
    }
}

#[cfg(test)]
mod tests;
