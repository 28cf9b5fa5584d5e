//! The series of one worker and how it finds them.
//!
//! [`Telemetry`] belongs to the worker, [`Shared`] is what other threads see of it.
//! A lock is taken only when a series appears for the first time; every counter has one writer.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::histogram::{Histogram, add};
use crate::data_plane::error::Flag;

/// Most HTTP series of a worker; about 300 KB. Beyond it new status codes are counted together as `overflow`.
const MAX_HTTP_SERIES: usize = 512;

/// Which side of the traffic this proxy is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reporter {
    /// Outbound: this workload calls.
    Source,
    /// Inbound: this workload is called.
    Destination,
}

/// What the traffic is for, as far as the proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Service {
    /// Outbound to an address that no service of the mesh is known to have.
    Passthrough,
    /// Inbound to a port of this workload.
    InboundPassthrough,
    /// Nowhere: policy refuses it.
    BlackHole,
}

/// Protocol and, for HTTP, the answer's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Code {
    /// Not HTTP.
    Tcp,
    /// HTTP with this status; 0 where none was sent.
    Http(u16),
    /// HTTP with a status that came after all places were taken.
    HttpOverflow,
}

/// What tells one series of a worker from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) reporter: Reporter,
    pub(crate) service: Service,
    pub(crate) code: Code,
    pub(crate) flag: Flag,
}

/// Metrics of requests with one [`Key`].
#[derive(Debug, Default)]
pub(crate) struct HttpSeries {
    pub(crate) requests: AtomicU64,
    /// In milliseconds.
    pub(crate) duration: Histogram,
    /// In bytes.
    pub(crate) request_bytes: Histogram,
    /// In bytes.
    pub(crate) response_bytes: Histogram,
}

/// Metrics of connections with one [`Key`].
#[derive(Debug, Default)]
pub(crate) struct TcpSeries {
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
    /// Towards the client.
    pub(crate) sent: AtomicU64,
    /// From the client.
    pub(crate) received: AtomicU64,
}

/// Our own counters, which Istio does not have.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) active: AtomicU64,
    pub(crate) loops: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) log_lines_dropped: AtomicU64,
    pub(crate) panics: AtomicU64,
}

/// All series of one worker, as a scrape sees them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(super) http: List<HttpSeries>,
    pub(super) tcp: List<TcpSeries>,
    pub(crate) own: Own,
}

/// Locked by the worker only when a series appears, by a scrape only to copy the pointers.
type List<S> = Mutex<Vec<(Key, Arc<S>)>>;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Telemetry {
    shared: Arc<Shared>,
    http: RefCell<HashMap<Key, Arc<HttpSeries>>>,
    tcp: RefCell<HashMap<Key, Arc<TcpSeries>>>,
    overflowed: Cell<bool>,
}

// === impl Service ===

impl Service {
    /// Istio's name for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passthrough => "PassthroughCluster",
            Self::InboundPassthrough => "InboundPassthroughCluster",
            Self::BlackHole => "BlackHoleCluster",
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn series<S>(list: &List<S>) -> Vec<(Key, Arc<S>)> {
        // Nothing can leave the list half changed.
        list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections are open.
    pub(crate) fn active(&self) -> u64 {
        self.own.active.load(Relaxed)
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// The worker's end of `shared`.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            http: RefCell::default(),
            tcp: RefCell::default(),
            overflowed: Cell::new(false),
        }
    }

    /// Calls `note` with the series of a request.
    pub(crate) fn http(&self, mut key: Key, note: impl FnOnce(&HttpSeries)) {
        let mut known = self.http.borrow_mut();
        if known.len() >= MAX_HTTP_SERIES && !known.contains_key(&key) {
            if !self.overflowed.replace(true) {
                tracing::warn!(
                    limit = MAX_HTTP_SERIES,
                    "too many different answers to count apart"
                );
            }
            key.code = Code::HttpOverflow;
        }
        note(find(&mut known, &self.shared.http, key));
    }

    /// The series of a connection; there are only as many as flags.
    pub(crate) fn tcp(&self, key: Key) -> Arc<TcpSeries> {
        Arc::clone(find(&mut self.tcp.borrow_mut(), &self.shared.tcp, key))
    }

    /// A captured connection was accepted.
    pub(crate) fn count_opened(&self) {
        add(&self.shared.own.active, 1);
    }

    /// A captured connection has ended.
    pub(crate) fn count_closed(&self) {
        add(&self.shared.own.active, 1_u64.wrapping_neg());
    }

    /// A connection was closed because it would have led back into the proxy.
    pub(crate) fn count_loop(&self) {
        add(&self.shared.own.loops, 1);
    }

    /// A connection was closed because there are too many.
    pub(crate) fn count_refused(&self) {
        add(&self.shared.own.refused, 1);
    }

    /// An access log line was dropped.
    pub(crate) fn count_dropped_line(&self) {
        add(&self.shared.own.log_lines_dropped, 1);
    }

    /// A connection's task panicked.
    pub(crate) fn count_panic(&self) {
        add(&self.shared.own.panics, 1);
    }
}

fn find<'m, S: Default>(
    known: &'m mut HashMap<Key, Arc<S>>,
    list: &List<S>,
    key: Key,
) -> &'m Arc<S> {
    known.entry(key).or_insert_with(|| {
        let series = Arc::new(S::default());
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push((key, Arc::clone(&series)));
        series
    })
}

// === impl TcpSeries ===

impl TcpSeries {
    /// Bytes went to the client.
    pub(crate) fn sent(&self, n: usize) {
        add(&self.sent, n as u64);
    }

    /// Bytes came from the client.
    pub(crate) fn received(&self, n: usize) {
        add(&self.received, n as u64);
    }

    /// A connection began.
    pub(crate) fn opened(&self) {
        add(&self.opened, 1);
    }

    /// A connection ended.
    pub(crate) fn closed(&self) {
        add(&self.closed, 1);
    }
}

// === impl HttpSeries ===

impl HttpSeries {
    /// A request was answered, or given up.
    pub(crate) fn request(&self, micros: u64, request_bytes: u64, response_bytes: u64) {
        add(&self.requests, 1);
        self.duration.observe(micros);
        self.request_bytes
            .observe(request_bytes.saturating_mul(1000));
        self.response_bytes
            .observe(response_bytes.saturating_mul(1000));
    }
}
