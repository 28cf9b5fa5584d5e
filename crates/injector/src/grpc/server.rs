//! The listeners of gRPC, and the thread that they and what is behind them run on.
//!
//! `app` builds a [`Server`] with everything else, so that a busy address is told before anything is announced, and awaits
//! [`Server::run`]. The sockets and timers of the services belong to the thread's own runtime.

use std::{io, net::SocketAddr, thread, time::Duration};

use axum::Router;
use runtime::{
    lifecycle::Lifecycle,
    readiness::Guard,
    task::{Failure, Group},
};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::{Authenticator, Services, farewell, unknown};
use crate::{
    cluster::Part,
    server::{BindError, Drain, Limits, Listener, Versions},
    tasks::{spawn, until_draining},
    webhook::tls::{self, Certificate, TlsError},
};

/// Time for tasks that have nothing to finish.
const STOP: Duration = Duration::from_secs(1);

/// What is served over gRPC, bound.
pub struct Server {
    listeners: Vec<Bound>,
    certificate: Certificate,
    tasks: Vec<Part>,
    delay: Duration,
    ready: Guard,
}

/// Where gRPC is served.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Over TLS.
    pub tls: SocketAddr,
    /// Without TLS, if it is.
    pub plaintext: Option<SocketAddr>,
}

/// Why gRPC cannot be served, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(BindError),
    /// TLS cannot be set up.
    #[error("gRPC cannot be served over TLS")]
    Tls(#[source] TlsError),
    /// There is no thread to be had.
    #[error("the thread of gRPC cannot be started")]
    Thread(#[source] io::Error),
    /// The thread ended with a panic, which is in the log.
    #[error("the thread of gRPC panicked")]
    Panicked,
    /// A listener cannot be waited for.
    #[error("the listeners of gRPC cannot be served")]
    Listen(#[source] io::Error),
    /// A task failed.
    #[error(transparent)]
    Run(Failure),
}

/// A listener and what it serves.
struct Bound {
    listener: Listener,
    router: Router,
    tls: Option<TlsAcceptor>,
}

// === impl Server ===

impl Server {
    /// Binds `addresses` for `services`, whose calls are let through by `authenticator`. `ready` is given back once calls are answered;
    /// connections are accepted for `delay` after draining has begun.
    ///
    /// # Errors
    /// When an address cannot be bound or TLS not be set up.
    pub async fn build(
        addresses: Addresses,
        services: Services,
        authenticator: &Authenticator,
        certificate: Certificate,
        (ready, delay): (Guard, Duration),
    ) -> Result<Self, ServerError> {
        let (routers, tasks) = services.split();
        let acceptor = tls::acceptor(certificate.clone(), tls::provider(), Versions::Http2)
            .map_err(ServerError::Tls)?;
        let mut listeners = vec![Bound {
            listener: Listener::bind("gRPC server", "--grpc-addr", addresses.tls)
                .await
                .map_err(ServerError::Bind)?,
            router: authenticator.layer(routers.tls.fallback(unknown)),
            tls: Some(acceptor),
        }];
        if let Some(address) = addresses.plaintext {
            listeners.push(Bound {
                listener: Listener::bind("plaintext gRPC server", "--plaintext-grpc-addr", address)
                    .await
                    .map_err(ServerError::Bind)?,
                router: authenticator.layer(routers.plaintext.fallback(unknown)),
                tls: None,
            });
        }
        Ok(Self {
            listeners,
            certificate,
            tasks,
            delay,
            ready,
        })
    }

    /// Where it listens, TLS first, with the ports that were chosen for port 0.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().map(|bound| bound.listener.address())
    }

    /// Serves on a thread of its own until `life` has drained. Dropping the future leaves the thread to the end of `life`.
    ///
    /// # Errors
    /// When the thread cannot be started, or a part of what it runs fails.
    pub async fn run(self, life: Lifecycle) -> Result<(), ServerError> {
        let (sender, ended) = oneshot::channel();
        thread::Builder::new()
            .name("grpc".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .thread_name("grpc-blocking")
                    .enable_all()
                    .build();
                let result = match runtime {
                    Ok(runtime) => runtime.block_on(self.serve(life)),
                    Err(error) => Err(ServerError::Thread(error)),
                };
                // Whoever does not wait any more has a reason of his own to end.
                let _ = sender.send(result);
            })
            .map_err(ServerError::Thread)?;
        ended.await.unwrap_or(Err(ServerError::Panicked))
    }

    async fn serve(self, life: Lifecycle) -> Result<(), ServerError> {
        let group = Group::new();
        for (name, task) in self.tasks {
            spawn(&group, name, until_draining(life.clone(), task));
        }
        let available = async {
            tokio::select! {
                () = self.certificate.available() => true,
                () = life.draining() => false,
                () = group.cancelled() => false,
            }
        };
        let mut result = Ok(());
        if available.await {
            drop(self.ready);
            let listeners = self.listeners.into_iter().map(|bound| {
                let drain = Drain {
                    life: life.clone(),
                    delay: self.delay,
                };
                bound.serve(drain)
            });
            let serving = futures_util::future::try_join_all(listeners);
            tokio::select! {
                served = serving => result = served.map(drop).map_err(ServerError::Listen),
                () = group.cancelled() => {}
            }
        }
        group.cancel();
        let ended = group.join(STOP).await.map_err(ServerError::Run);
        result.and(ended)
    }
}

// === impl Bound ===

impl Bound {
    async fn serve(self, drain: Drain) -> io::Result<()> {
        let router = farewell::layer(self.router, drain.life.clone());
        self.listener
            .serve(router, self.tls, Limits::grpc(), drain)
            .await
    }
}
