//! Puts the workers' series together when somebody scrapes.
//!
//! A registry calls [`Collector`] on its own thread; it copies pointers under a short lock and reads atomics.
//! The order of series and labels is the same in every scrape.

use std::{
    collections::BTreeMap,
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
    histogram::Total,
    labels::{Labels, labels},
    series::{HttpSeries, Key, Own, Shared, TcpSeries},
};
use crate::workload::Workload;

/// The data plane's metrics, for a `prometheus-client` registry.
#[derive(Clone, Debug)]
pub struct Collector {
    workload: Arc<Workload>,
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

const OWN: [OwnFamily; 4] = [
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
];

// === impl Collector ===

impl Collector {
    pub(crate) fn new(workload: Arc<Workload>, workers: Arc<[Arc<Shared>]>) -> Self {
        Self { workload, workers }
    }

    fn http(&self) -> Vec<(Labels, Http)> {
        let mut merged = BTreeMap::<Key, Http>::new();
        for (key, series) in self
            .workers
            .iter()
            .flat_map(|worker| Shared::series(&worker.http))
        {
            merged.entry(key).or_default().add(&series);
        }
        self.label(merged)
    }

    fn tcp(&self) -> Vec<(Labels, Tcp)> {
        let mut merged = BTreeMap::<Key, Tcp>::new();
        for (key, series) in self
            .workers
            .iter()
            .flat_map(|worker| Shared::series(&worker.tcp))
        {
            merged.entry(key).or_default().add(&series);
        }
        self.label(merged)
    }

    fn label<T>(&self, merged: BTreeMap<Key, T>) -> Vec<(Labels, T)> {
        merged
            .into_iter()
            .map(|(key, total)| (labels(&key, &self.workload), total))
            .collect()
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
        let http = self.http();
        let mut family =
            encoder.encode_descriptor("istio_requests", "Requests", None, MetricType::Counter)?;
        for (labels, series) in &http {
            counter(family.encode_family(labels)?, series.requests)?;
        }
        for (name, help, read) in HISTOGRAMS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (labels, series) in &http {
                let total = read(series);
                family
                    .encode_family(labels)?
                    .encode_histogram::<NoLabelSet>(
                        total.sum(),
                        total.count(),
                        &total.buckets(),
                        None,
                    )?;
            }
        }
        let tcp = self.tcp();
        for (name, help, read) in TCP {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, series) in &tcp {
                counter(family.encode_family(labels)?, read(series))?;
            }
        }
        for (name, help, read) in OWN {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter(family, self.own(read))?;
        }
        encoder
            .encode_descriptor(
                "minimesh_active_connections",
                "Connections that are open",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&self.own(|own| &own.active))
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
