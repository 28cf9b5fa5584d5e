//! Counts what passes, one set of series a worker.
//!
//! The request path finds its series in a worker-local table by a small key of handles ([`key`], [`table`]) and adds to atomics that
//! nobody else writes; scraping reads them from another thread and merges the workers ([`collector`]). Names and labels are Istio's
//! standard metrics; the number of series is bounded whatever peers call themselves.

pub(crate) mod collector;
mod handshakes;
mod histogram;
mod key;
mod labels;
mod series;
mod table;

pub use collector::Collector;
pub use handshakes::{Handshakes, Outcome, Side};
pub use key::{Security, Service};

pub(crate) use key::{Code, Key, Reporter};
pub(crate) use series::{Limits, Shared, TcpSeries, Telemetry};
