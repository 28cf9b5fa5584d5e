//! Counts what passes, one set of series a worker.
//!
//! The request path finds its series in a worker-local map by a small key and adds to atomics that nobody else writes; scraping reads
//! them from another thread and merges the workers ([`collector`]). Names and labels are Istio's standard metrics; no label value
//! comes from a peer, so the number of series is bounded by what the proxy itself can say, and capped in any case.

pub(crate) mod collector;
mod histogram;
mod labels;
mod series;

pub use collector::Collector;

pub(crate) use series::{Code, Key, Reporter, Service, Shared, TcpSeries, Telemetry};
