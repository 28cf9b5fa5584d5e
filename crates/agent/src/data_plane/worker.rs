//! A worker: one thread, one event loop, everything on it.
//!
//! [`run`] owns the thread. Listeners, connections, the upstream pool and the metric handles of a worker are touched by its thread alone;
//! what other threads see are counters that they only read, and the phase, which the worker is told.

mod accept;

use std::{
    cell::{Cell, RefCell},
    io,
    net::TcpListener as StdListener,
    ops::Deref,
    rc::Rc,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{oneshot, watch},
    task::{JoinSet, spawn_local},
};

use accept::accept;

use super::{
    Capture, Config,
    access_log::{self, AccessLog, Line},
    captured::{self, Connection, Role},
    connections::{Connections, Ticks},
    http1,
    net::{Buffers, OriginalDestination, Peer, Stream},
    pool::{self, Pool},
    server_first::ServerFirst,
    telemetry::{self, Shared, Telemetry},
    uses::Uses,
};

use crate::{
    mesh::Mesh,
    peer::{cache::PeerCache, metadata::own_fields},
    tls::Credentials,
};

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    #[default]
    Running,
    /// Serving, but an inbound connection ends with the request at hand.
    Draining,
    /// Accepting nothing; every connection ends with the request at hand.
    Stopping,
}

/// What a worker is told: its phase, and when to cut what is left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order {
    pub(crate) phase: Phase,
    pub(crate) deadline: Option<Instant>,
}

/// What a worker needs to begin.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: access_log::Sender,
    pub(crate) listeners: Vec<(Role, StdListener)>,
    /// Ports of the proxy, never to be dialled on anyone's behalf.
    pub(crate) guarded: Arc<[u16]>,
    pub(crate) orders: watch::Receiver<Order>,
    /// Told whether the worker has begun.
    pub(crate) begun: mpsc::SyncSender<io::Result<()>>,
    /// Told at the end how many connections were cut.
    pub(crate) ended: oneshot::Sender<usize>,
}

/// What every connection of a worker shares.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) timeouts: Timeouts,
    pub(crate) buffers: Buffers,
    pub(crate) pool: Pool,
    pub(crate) telemetry: Telemetry,
    pub(crate) server_first: ServerFirst,
    /// What verified clients have said of themselves.
    pub(crate) peers: RefCell<PeerCache>,
    /// The lines by which other sidecars know this workload.
    pub(crate) own_fields: Vec<u8>,
    connections: Rc<Connections>,
    uses: Rc<Uses>,
    log: Rc<AccessLog>,
    guarded: Arc<[u16]>,
    phase: Cell<Phase>,
    /// How often the mesh has changed, as the sweep has seen it.
    n_changes: Cell<u64>,
}

/// The configured times in ticks of the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) head: Ticks,
    pub(crate) idle: Ticks,
    /// How long a connection whose client was busy is kept ready for its next request, and what is left of `idle` then.
    pub(crate) busy: Ticks,
    pub(crate) idle_rest: Ticks,
    pub(crate) tcp_idle: Ticks,
    pub(crate) linger: Ticks,
}

/// How long the room that a request takes is kept for the next one: longer than clients take that are at work.
const BUSY: Duration = Duration::from_secs(1);
/// How long a client that was told goodbye may take to read it.
const LINGER: Duration = Duration::from_secs(1);
/// Longest time between two sweeps.
const MAX_TICK: Duration = Duration::from_secs(1);
/// Shortest time between two sweeps, so that short timeouts do not keep the worker busy.
const MIN_TICK: Duration = Duration::from_millis(10);

/// Runs a worker on the current thread until it is told to stop and its connections have ended.
pub(crate) fn run(parts: Parts) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever waits for the beginning is gone only if it has given up.
            let _ = parts.begun.send(Err(error));
            return;
        }
    };
    let worker = Worker::new(&parts.config, parts.shared, parts.log, parts.guarded);
    let ended = parts.ended;
    let life = live(
        Rc::clone(&worker),
        parts.listeners,
        parts.orders,
        parts.begun,
    );
    runtime.block_on(life);
    let cut = worker.connections.len();
    // Ends the tasks that are left, each of which reports what it was doing.
    drop(runtime);
    worker.pool.clear();
    worker.log.flush();
    let _ = ended.send(cut);
}

/// A worker's life on its event loop.
async fn live(
    worker: Rc<Worker>,
    listeners: Vec<(Role, StdListener)>,
    mut orders: watch::Receiver<Order>,
    begun: mpsc::SyncSender<io::Result<()>>,
) {
    let mut accepting = JoinSet::new();
    for (role, listener) in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => accepting.spawn_local(accept(Rc::clone(&worker), role, listener)),
            Err(error) => {
                let _ = begun.send(Err(error));
                return;
            }
        };
    }
    spawn_local(sweep(Rc::clone(&worker)));
    let log = Rc::clone(&worker.log);
    spawn_local(async move { log.keep_flushing().await });
    let _ = begun.send(Ok(()));
    loop {
        tokio::select! {
            changed = orders.changed() => {
                let order = *orders.borrow_and_update();
                // Whoever gave orders is gone without a last one: stop at once.
                let deadline = if changed.is_err() { Some(Instant::now()) } else { order.deadline };
                worker.phase.set(if changed.is_err() { Phase::Stopping } else { order.phase });
                worker.connections.wake_all();
                if worker.phase() == Phase::Stopping {
                    drop(accepting);
                    return wait_for_connections(&worker, deadline).await;
                }
            }
            // Accepting never ends by itself; a defect in it must not leave a worker that looks alive.
            Some(_) = accepting.join_next() => return,
        }
    }
}

async fn wait_for_connections(worker: &Worker, deadline: Option<Instant>) {
    let mut poll = tokio::time::interval(MIN_TICK);
    while worker.connections.len() > 0 && deadline.is_none_or(|deadline| Instant::now() < deadline)
    {
        poll.tick().await;
    }
}

/// Takes care of everything that gets old.
async fn sweep(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(worker.connections.tick_length());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut mesh = worker.config.mesh.current();
    let mut reported = last;
    loop {
        ticks.tick().await;
        worker.connections.advance();
        let current = worker.config.mesh.current();
        if !Arc::ptr_eq(&mesh, &current) {
            mesh = current;
            worker.n_changes.set(worker.n_changes.get() + 1);
            worker.connections.wake_all();
        }
        let now = Instant::now();
        if now - last >= MAX_TICK {
            last = now;
            worker.pool.sweep(now);
            worker.buffers.trim();
            worker.telemetry.note_idle(worker.pool.n_idle());
            worker.telemetry.sweep(now);
            if let Some(demand) = &worker.config.demand {
                reported = worker.uses.report(demand, reported, now);
            }
        }
    }
}

/// Serves one connection.
async fn serve(
    worker: Rc<Worker>,
    slot: super::connections::Slot,
    role: Role,
    stream: TcpStream,
    peer: Peer,
) {
    let capture = match role {
        Role::Outbound => worker.config.outbound_capture,
        Role::Inbound => worker.config.inbound_capture,
        Role::Readiness => Capture::Fixed(worker.config.status),
    };
    let destination = match capture.original_destination(&stream) {
        Ok(destination) if role == Role::Readiness || !worker.is_own(destination) => destination,
        // Dialling it would lead back here, and again, without end.
        Ok(_) | Err(_) => {
            worker.telemetry.count_loop();
            Stream::new(stream).reset_on_close();
            return;
        }
    };
    let is_kept = role == Role::Outbound && worker.config.demand.is_some();
    let _using = is_kept.then(|| worker.uses.begin(destination.0.ip()));
    let connection = Connection::new(worker, slot, role, destination, peer);
    let stream = Stream::new(stream);
    match role {
        Role::Outbound | Role::Inbound => captured::serve(&connection, stream).await,
        Role::Readiness => http1::serve(&connection, stream, Vec::new(), None).await,
    }
}

// === impl Worker ===

impl Worker {
    fn new(
        config: &Arc<Config>,
        shared: Arc<Shared>,
        log: access_log::Sender,
        guarded: Arc<[u16]>,
    ) -> Rc<Self> {
        let shortest = config
            .head_timeout
            .min(config.idle_timeout)
            .min(config.tcp_idle_timeout);
        let connections = Connections::new((shortest / 8).clamp(MIN_TICK, MAX_TICK));
        let busy = BUSY.min(config.idle_timeout);
        Rc::new(Self {
            timeouts: Timeouts {
                head: connections.ticks(config.head_timeout),
                idle: connections.ticks(config.idle_timeout),
                busy: connections.ticks(busy),
                idle_rest: connections.ticks(config.idle_timeout - busy),
                tcp_idle: connections.ticks(config.tcp_idle_timeout),
                linger: connections.ticks(LINGER),
            },
            buffers: Buffers::default(),
            pool: Pool::new(pool::Limits {
                per_upstream: config.limits.idle_per_upstream,
                total: config.limits.idle_total,
                age: config.pool_timeout,
            }),
            telemetry: Telemetry::new(
                shared,
                telemetry::Limits {
                    http: config.limits.http_series,
                    tcp: config.limits.tcp_series,
                    age: config.series_timeout,
                },
            ),
            server_first: ServerFirst::default(),
            peers: RefCell::new(PeerCache::new(Arc::clone(&config.names))),
            own_fields: own_fields(&config.workload),
            connections,
            uses: Uses::new(),
            config: Arc::clone(config),
            log: AccessLog::new(log),
            guarded,
            phase: Cell::new(Phase::Running),
            n_changes: Cell::new(0),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// How often the mesh has changed; every connection is woken when it has.
    pub(crate) fn n_changes(&self) -> u64 {
        self.n_changes.get()
    }

    /// By what the workload proves who it is at the moment, if it can.
    pub(crate) fn credentials(&self) -> Option<Arc<Credentials>> {
        self.config.credentials.current()
    }

    /// The mesh to decide the request at hand by.
    pub(crate) fn mesh(&self) -> impl Deref<Target = Arc<Mesh>> {
        self.config.mesh.load()
    }

    pub(crate) fn has_log(&self) -> bool {
        self.log.is_on()
    }

    /// Writes a line to the access log, if it is on.
    pub(crate) fn log(&self, line: &Line<'_>) {
        if !self.log.write(line) {
            self.telemetry.count_dropped_line();
        }
    }

    /// Whether a destination is this proxy, wherever it runs: no application listens on its ports.
    fn is_own(&self, destination: OriginalDestination) -> bool {
        self.guarded.contains(&destination.0.port())
    }
}
