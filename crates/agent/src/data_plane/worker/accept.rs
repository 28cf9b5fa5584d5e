//! Accepting connections.
//!
//! Each of a worker's listeners has one [`accept`] for its whole life. A connection is counted as long as its task lives, however that
//! ends; those beyond the limit are reset at once.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use tokio::{net::TcpListener, task::spawn_local};

use super::{Worker, serve};
use crate::data_plane::{
    captured::Role,
    net::{Peer, Stream, canonical},
};

/// One more connection, until it is dropped.
struct Open {
    worker: Rc<Worker>,
    role: Role,
    /// How many connections the listener has.
    listener: Rc<Cell<usize>>,
}

/// How long accepting pauses when the kernel has no descriptors or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Accepts connections of one listener until it is dropped.
pub(super) async fn accept(worker: Rc<Worker>, role: Role, listener: TcpListener) {
    let n_open = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if n_open.get() >= worker.config.limits.connections => {
                worker.telemetry.count_refused();
                Stream::new(stream).reset_on_close();
            }
            Ok((stream, peer)) => {
                let open = Open::new(&worker, role, &n_open);
                let slot = worker.connections.enter();
                spawn_local(async move {
                    let worker = Rc::clone(&open.worker);
                    let peer = Peer(canonical(peer));
                    serve(worker, slot, role, stream, peer).await;
                    drop(open);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, ?role, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

// === impl Open ===

impl Open {
    fn new(worker: &Rc<Worker>, role: Role, listener: &Rc<Cell<usize>>) -> Self {
        listener.set(listener.get() + 1);
        if role != Role::Readiness {
            worker.telemetry.count_opened();
        }
        Self {
            worker: Rc::clone(worker),
            role,
            listener: Rc::clone(listener),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.set(self.listener.get().saturating_sub(1));
        if self.role != Role::Readiness {
            self.worker.telemetry.count_closed();
        }
        if std::thread::panicking() {
            self.worker.telemetry.count_panic();
        }
    }
}

/// Errors of `accept` that concern the connection which was to be accepted, not the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::PermissionDenied
    )
}
