//! gRPC for sidecars: certificates and discovery, on a thread of its own.
//!
//! `app` gathers [`Services`] from the subsystems, binds the addresses and starts the [`Server`]: reviews of pods never wait behind
//! a push to a thousand sidecars, nor behind signing. Every call is authenticated before any of its body is read; a service finds
//! the [`Caller`] and the [`Peer`](crate::server::Peer) in the extensions of its `tonic::Request`, and can rely on both being there.
//!
//! ```text
//! server::Listener ─► Authenticator ─► Caller in extensions ─► farewell ─┬─► ca         :15012
//!  (TLS, HTTP/2)        │  (bearer token)                                └─► discovery  :15012, :15010
//!                       └─ Review: TokenReview
//! ```
//!
//! A subsystem makes its services with [`Services::everywhere`] or [`Services::over_tls`], and gives the tasks behind them to
//! [`Services::task`]; they run on the thread of gRPC too. Their futures must make no timer and no socket before they are polled.
//! A stream of answers is ended by [`farewell`] when the program drains, so services need not listen for that.

pub mod authenticate;
pub mod caller;
pub mod farewell;
mod remembered;
pub mod review;
mod server;
pub(crate) mod voice;

use std::convert::Infallible;

use axum::{Router, body::Body, extract::Request, response::Response};
use tonic::{Status, server::NamedService};
use tower_service::Service;

use crate::cluster::Part;

pub use authenticate::{Authenticator, Metrics};
pub use caller::{Caller, Pod, Refusal};
pub use review::{Review, TokenReviews};
pub use server::{Addresses, Server, ServerError};

/// The most bytes of one message, in either direction: what Istio's agents take.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// The audience that tokens must be for: the one that Istio's templates ask the kubelet for.
pub const TOKEN_AUDIENCE: &str = "istio-ca";

/// What is served, and what has to run for it.
#[derive(Default)]
pub struct Services {
    everywhere: Router,
    over_tls: Router,
    tasks: Vec<Part>,
}

// === impl Services ===

impl Services {
    /// Adds a service that is served with and without TLS.
    ///
    /// # Panics
    /// When there is a service of this name already.
    #[must_use]
    pub fn everywhere<S>(mut self, service: S) -> Self
    where
        S: Service<Request, Response = http::Response<tonic::body::Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.everywhere = self.everywhere.route_service(&path::<S>(), service);
        self
    }

    /// Adds a service that is served over TLS only, because what it is asked or answers must not be overheard.
    ///
    /// # Panics
    /// When there is a service of this name already.
    #[must_use]
    pub fn over_tls<S>(mut self, service: S) -> Self
    where
        S: Service<Request, Response = http::Response<tonic::body::Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.over_tls = self.over_tls.route_service(&path::<S>(), service);
        self
    }

    /// Adds a task that goes on for ever, until the program drains; `name` is for logs.
    #[must_use]
    pub fn task(
        mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.tasks.push((name, Box::pin(task)));
        self
    }

    /// These services and tasks and those of `other`.
    ///
    /// # Panics
    /// When both have a service of the same name.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.everywhere = self.everywhere.merge(other.everywhere);
        self.over_tls = self.over_tls.merge(other.over_tls);
        self.tasks.extend(other.tasks);
        self
    }

    fn split(self) -> (Routers, Vec<Part>) {
        let routers = Routers {
            tls: self.everywhere.clone().merge(self.over_tls),
            plaintext: self.everywhere,
        };
        (routers, self.tasks)
    }
}

/// What is served on each kind of listener.
struct Routers {
    tls: Router,
    plaintext: Router,
}

fn path<S: NamedService>() -> String {
    format!("/{}/{{*method}}", S::NAME)
}

/// The answer to a call of a method that nobody serves.
async fn unknown(request: Request) -> Response {
    let path = request.uri().path().chars().take(100).collect::<String>();
    answer(Status::unimplemented(format!(
        "{path} is not served at this address"
    )))
}

/// A call that ends with `status` and nothing else.
fn answer(status: Status) -> Response {
    status.into_http::<Body>()
}
