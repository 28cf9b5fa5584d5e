//! The data plane: every captured connection, from its acceptance to its last byte.
//!
//! [`start`] binds the listeners and starts the workers; [`DataPlane`] is the handle by which the rest of the agent drains, watches and
//! reads it. Workers share nothing that one of them writes on the way of a request, and no byte is dialled back into the proxy.
//!
//! ```text
//!            worker (thread)
//! 15001 ──► outbound ─┐                    ┌─► http1 ──► exchange ─┐
//! 15006 ──► inbound ──┴─► captured: detect ┤                       ├──► pool, net::connect ──► upstream
//! 15021 ──► readiness ─────────────────────┴─► tcp ──► pump ───────┘
//!                                   counts ──► telemetry ──► Collector      (read by other threads)
//!                                   lines ───► access_log ──► Reader
//! ```

mod access_log;
mod balance;
mod captured;
mod config;
mod connections;
mod detect;
mod edits;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod inbound;
pub mod net;
mod outbound;
mod pool;
mod readiness;
mod refusal;
mod server_first;
mod target;
mod tcp;
mod telemetry;
mod uses;
mod worker;

use std::{
    future::poll_fn,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

pub use access_log::{
    Control as AccessLogControl, Format, Output as AccessLogOutput, Reader as AccessLogReader,
};
pub use config::{Config, Limits};
pub use error::StartError;
pub use net::original_destination::Capture;
pub use telemetry::{Collector, Handshakes, Outcome, Security, Service, Side};

use captured::Role;
use net::listen::{Reach, listen};
use telemetry::Shared;
use worker::{Order, Parts, Phase};

use crate::{peer::PartyNames, workload::Workload};

/// Addresses that the listeners have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Outbound capture.
    pub outbound: SocketAddr,
    /// Inbound capture.
    pub inbound: SocketAddr,
    /// Readiness.
    pub readiness: SocketAddr,
}

/// The running data plane. Dropping it stops the workers at once and cuts their connections.
#[derive(Debug)]
pub struct DataPlane {
    orders: watch::Sender<Order>,
    workers: Vec<Handle>,
    shared: Arc<[Arc<Shared>]>,
    workload: Arc<Workload>,
    addresses: Addresses,
    access_log: Option<AccessLogReader>,
    access_log_control: AccessLogControl,
}

/// A worker, seen from outside.
#[derive(Debug)]
struct Handle {
    thread: thread::JoinHandle<()>,
    ended: oneshot::Receiver<usize>,
}

/// How [`DataPlane::join`] came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// Connections that were still open at the deadline, and were cut.
    pub cut: usize,
    /// Workers that had died before.
    pub lost: usize,
}

/// Starts the data plane; when this returns, every listener is open and every worker serves.
///
/// # Errors
/// When an address cannot be bound or a thread cannot be started; then nothing is left behind.
pub fn start(config: Config) -> Result<DataPlane, StartError> {
    let (addresses, listeners) = bind(&config)?;
    let guarded: Arc<[u16]> = [addresses.outbound.port(), addresses.inbound.port()]
        .into_iter()
        .chain(config.reserved_ports.iter().copied())
        .collect();
    let (logs, access_log) = access_log::channel(config.access_log, config.workers.get());
    let shared: Arc<[Arc<Shared>]> = listeners.iter().map(|_| Arc::default()).collect();
    let config = Arc::new(config);
    let mut data_plane = DataPlane {
        orders: watch::Sender::default(),
        workers: Vec::new(),
        shared: Arc::clone(&shared),
        workload: Arc::new(config.workload.clone()),
        addresses,
        access_log_control: access_log.control(),
        access_log: Some(access_log),
    };
    let of_workers = listeners.into_iter().zip(shared.iter()).zip(logs);
    for (index, ((listeners, shared), log)) in of_workers.enumerate() {
        let (begun, has_begun) = mpsc::sync_channel(1);
        let (ended, has_ended) = oneshot::channel();
        let parts = Parts {
            config: Arc::clone(&config),
            shared: Arc::clone(shared),
            log,
            listeners,
            guarded: Arc::clone(&guarded),
            orders: data_plane.orders.subscribe(),
            begun,
            ended,
        };
        data_plane
            .workers
            .push(Handle::spawn(index, parts, has_ended)?);
        match has_begun.recv() {
            Ok(Ok(())) => {}
            Ok(Err(source)) => return Err(StartError::Worker { index, source }),
            Err(_) => return Err(StartError::WorkerLost { index }),
        }
    }
    Ok(data_plane)
}

/// One listener of each kind for every worker.
type Listeners = Vec<Vec<(Role, TcpListener)>>;

fn bind(config: &Config) -> Result<(Addresses, Listeners), StartError> {
    let mut of_workers: Listeners = (0..config.workers.get()).map(|_| Vec::new()).collect();
    let mut bind = |role, address, purpose| {
        let reach = match (role, config.inbound_capture) {
            (Role::Inbound, Capture::Tproxy) => Reach::Everywhere,
            _ => Reach::OwnAddresses,
        };
        let failed = |source| StartError::Listen {
            address,
            purpose,
            source,
        };
        let listeners = listen(address, reach, config.workers).map_err(failed)?;
        let mut bound = address;
        for (worker, listener) in of_workers.iter_mut().zip(listeners) {
            bound = listener.local_addr().map_err(failed)?;
            worker.push((role, listener));
        }
        Ok(bound)
    };
    let addresses = Addresses {
        outbound: bind(
            Role::Outbound,
            config.outbound,
            "captured outbound connections",
        )?,
        inbound: bind(
            Role::Inbound,
            config.inbound,
            "captured inbound connections",
        )?,
        readiness: bind(Role::Readiness, config.readiness, "readiness probes")?,
    };
    Ok((addresses, of_workers))
}

// === impl DataPlane ===

impl DataPlane {
    /// Where the data plane listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The metrics, to be registered once; reading them disturbs nobody.
    #[must_use]
    pub fn collector(&self) -> Collector {
        Collector::new(PartyNames::from(&*self.workload), Arc::clone(&self.shared))
    }

    /// Switches the access log.
    #[must_use]
    pub fn access_log_control(&self) -> AccessLogControl {
        self.access_log_control.clone()
    }

    /// The access log, to be written by another thread; `None` if it was taken already.
    pub fn access_log(&mut self) -> Option<AccessLogReader> {
        self.access_log.take()
    }

    /// How many captured connections are open, idle ones included.
    #[must_use]
    pub fn active_connections(&self) -> usize {
        let open: u64 = self.shared.iter().map(|worker| worker.active()).sum();
        usize::try_from(open).unwrap_or(usize::MAX)
    }

    /// Lets inbound connections end with the request at hand and closes the idle ones. New ones are still accepted, and serve one
    /// request each. Outbound connections go on as before.
    pub fn drain(&self) {
        self.orders.send_modify(|order| {
            if order.phase == Phase::Running {
                order.phase = Phase::Draining;
            }
        });
    }

    /// Ready when a worker has ended though nobody has asked it to, which is a defect: its share of connections is not served any more.
    pub async fn worker_lost(&mut self) {
        poll_fn(|cx| {
            let lost = self.workers.iter_mut().any(|worker| {
                worker.ended.is_terminated()
                    || Future::poll(std::pin::Pin::new(&mut worker.ended), cx).is_ready()
            });
            if lost { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Accepts nothing more, lets every connection end with the request at hand, and cuts what is left after `limit`.
    ///
    /// Dropping the future stops the workers at once.
    pub async fn join(mut self, limit: Duration) -> Joined {
        let deadline = Instant::now().checked_add(limit);
        self.orders.send_replace(Order {
            phase: Phase::Stopping,
            deadline,
        });
        let mut joined = Joined::default();
        for worker in std::mem::take(&mut self.workers) {
            let cut = if worker.ended.is_terminated() {
                None
            } else {
                worker.ended.await.ok()
            };
            match cut {
                Some(cut) => joined.cut += cut,
                None => joined.lost += 1,
            }
            // Telling the end was the last thing that the thread had to do.
            if worker.thread.join().is_err() {
                tracing::error!("a worker of the data plane panicked");
            }
        }
        joined
    }
}

// === impl Handle ===

impl Handle {
    fn spawn(
        index: usize,
        parts: Parts,
        ended: oneshot::Receiver<usize>,
    ) -> Result<Self, StartError> {
        let thread = thread::Builder::new()
            .name(format!("data-plane-{index}"))
            .spawn(move || worker::run(parts))
            .map_err(|source| StartError::Worker { index, source })?;
        Ok(Self { thread, ended })
    }
}
