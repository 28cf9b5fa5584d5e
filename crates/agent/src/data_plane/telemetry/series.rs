//! What one worker counts.
//!
//! [`Telemetry`] belongs to the worker, [`Shared`] is what other threads see of it.
//! Every counter has one writer; series are found without a lock, and one that nobody has used for long is forgotten.

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    handshakes::Handshakes,
    histogram::{Histogram, add},
    key::Key,
    table::{List, Series, Table},
};

/// Bounds of the series of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Series of HTTP.
    pub(crate) http: usize,
    /// Series of TCP.
    pub(crate) tcp: usize,
    /// How long a series is kept that does not change.
    pub(crate) age: Duration,
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
    pub(crate) overflow: AtomicU64,
    pub(crate) dialled: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// Idle upstream connections, as the last sweep saw them.
    pub(crate) idle: AtomicU64,
    /// How handshakes have ended.
    pub(crate) handshakes: Handshakes,
}

/// All series of one worker, as a scrape sees them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(super) http: List<HttpSeries>,
    pub(super) tcp: List<TcpSeries>,
    pub(crate) own: Own,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Telemetry {
    shared: Arc<Shared>,
    http: RefCell<Table<HttpSeries>>,
    tcp: RefCell<Table<TcpSeries>>,
    age: Duration,
    has_overflowed: Cell<bool>,
}

// === impl Shared ===

impl Shared {
    /// How many connections are open.
    pub(crate) fn active(&self) -> u64 {
        self.own.active.load(Relaxed)
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// The worker's end of `shared`.
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits) -> Self {
        Self {
            shared,
            http: RefCell::new(Table::new(limits.http)),
            tcp: RefCell::new(Table::new(limits.tcp)),
            age: limits.age,
            has_overflowed: Cell::new(false),
        }
    }

    /// Calls `note` with the series of a request.
    pub(crate) fn http(&self, key: Key<'_>, note: impl FnOnce(&HttpSeries)) {
        let mut table = self.http.borrow_mut();
        let place = table.find(key, &self.shared.http);
        if place.is_overflow {
            self.count_overflow();
        }
        note(place.series);
    }

    /// The series of a connection, which stays while it is held.
    pub(crate) fn tcp(&self, key: Key<'_>) -> Arc<TcpSeries> {
        let mut table = self.tcp.borrow_mut();
        let place = table.find(key, &self.shared.tcp);
        if place.is_overflow {
            self.count_overflow();
        }
        Arc::clone(place.series)
    }

    /// Forgets what has not changed for long, a part of it each time; to be called about once a second.
    pub(crate) fn sweep(&self, now: Instant) {
        let shared = &self.shared;
        self.http.borrow_mut().sweep(now, self.age, &shared.http);
        self.tcp.borrow_mut().sweep(now, self.age, &shared.tcp);
    }

    fn count_overflow(&self) {
        add(&self.own().overflow, 1);
        if !self.has_overflowed.replace(true) {
            tracing::warn!(
                "too many different peers, services or answers to count apart, further ones have the labels \"overflow\""
            );
        }
    }

    /// What is not counted by series.
    pub(crate) fn own(&self) -> &Own {
        &self.shared.own
    }

    /// A connection to an upstream was made.
    pub(crate) fn count_dialled(&self) {
        add(&self.own().dialled, 1);
    }

    /// A request is sent once more, because the connection that it was sent over had been closed by the upstream.
    pub(crate) fn count_retry(&self) {
        add(&self.own().retries, 1);
    }

    /// So many upstream connections are idle.
    pub(crate) fn note_idle(&self, n: usize) {
        self.own().idle.store(n as u64, Relaxed);
    }

    /// A captured connection was accepted.
    pub(crate) fn count_opened(&self) {
        add(&self.own().active, 1);
    }

    /// A captured connection has ended.
    pub(crate) fn count_closed(&self) {
        add(&self.own().active, 1_u64.wrapping_neg());
    }

    /// A connection was closed because it would have led back into the proxy.
    pub(crate) fn count_loop(&self) {
        add(&self.own().loops, 1);
    }

    /// A connection was closed because there are too many.
    pub(crate) fn count_refused(&self) {
        add(&self.own().refused, 1);
    }

    /// An access log line was dropped.
    pub(crate) fn count_dropped_line(&self) {
        add(&self.own().log_lines_dropped, 1);
    }

    /// A connection's task panicked.
    pub(crate) fn count_panic(&self) {
        add(&self.own().panics, 1);
    }
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

impl Series for HttpSeries {
    fn activity(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

impl Series for TcpSeries {
    fn activity(&self) -> u64 {
        [&self.opened, &self.closed, &self.sent, &self.received]
            .iter()
            .fold(0, |sum, counter| sum.wrapping_add(counter.load(Relaxed)))
    }
}
