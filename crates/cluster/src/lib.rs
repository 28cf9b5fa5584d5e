//! The client of the Kubernetes API: where the cluster is, and how it is reached.
//!
//! The injector and the command line get their client here and nowhere else, so that both find the cluster in the same way, as `kubectl` does.
//! [`connect`] is the entry point; [`Target`] is for callers that want to say which cluster they mean before they ask it anything.
//!
//! ```text
//! kubeconfig, or the pod's ─► target ─► client: base URL ─► retry ─► credentials ─► user agent ─► time limits ─► TLS ─► (proxy) ─► TCP
//! service account                                                                                            aws-lc-rs           resolver
//! ```

mod client;
mod error;
mod proxy;
mod resolver;
mod target;

pub use self::{
    error::{ConnectError, RequestError, Told},
    resolver::ResolveError,
    target::{Options, Origin, Target},
};

/// Finds the cluster and makes a client for it; nothing is sent yet but what a credential plugin of the kubeconfig sends.
///
/// Must be called within a Tokio runtime, on which the client lives.
///
/// # Errors
/// What is wrong with the kubeconfig or the service account, and where. That the API server does not answer shows with the first request.
pub async fn connect(options: &Options) -> Result<kube::Client, ConnectError> {
    Target::find(options).await?.client()
}
