//! The mesh's certificate authority in the cluster: a Secret, and what is served from it.
//!
//! Every replica runs one keeper. It watches the Secret, decides by the pure function of `decide`, writes what is to be written under the guard of
//! the Secret's version, and publishes the trust bundle and the serving certificate. What is published is always a whole good state: it
//! outlives whatever happens to the Secret, and the Secret is put right from it.
//!
//! ```text
//! Secret ─ watch ─► Stored ─┐                               cacerts ─ watch ─► Given
//!          memory ─► State ─┼─► decide ─► Plan ─► State ─► rotation::advance ─► State ─┬─► certificate, issuer, bundle
//!           clock ──────────┘                                                          └─► write, if the Secret holds anything else
//! ```

mod decide;
mod expiry;
mod finding;
mod given;
mod keeper;
mod metrics;
mod names;
mod published;
mod revoked;
mod rotation;
mod secret;
mod voice;

use std::sync::Arc;

use identity::DnsName;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{Bundle, Context, ServingCertificate};
use crate::ca::{Issuing, TrustDomain};
use keeper::Keeper;
use published::Published;

pub use metrics::Metrics;
pub use names::{NameError, serving_names};
pub use rotation::Periods;

/// What the authority is for.
#[derive(Clone)]
pub struct Settings {
    /// The names that the webhook's certificate is for, see [`serving_names`].
    pub names: Vec<DnsName<'static>>,
    /// The mesh's trust domain as it is now: names a root that is made, and is what an authority of the user's has to be able to serve.
    pub trust_domain: TrustDomain,
    /// How long the parts of a rotation take.
    pub periods: Periods,
    /// The clock on the wall, [`OffsetDateTime::now_utc`].
    pub clock: Clock,
}

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// The running authority.
pub struct Running<F> {
    /// What the webhook serves, once there is something.
    pub certificate: ServingCertificate,
    /// What the mesh trusts, once it is known.
    pub bundle: Bundle,
    /// The revoked certificates, once it is known whether there are any; empty if there are none.
    pub revoked: Bundle,
    /// What signs for workloads, once there is something.
    pub issuing: Issuing,
    /// Keeps both and the Secret in step, for ever. Dropping it loses nothing.
    pub task: F,
}

/// Begins to keep the Secret of the control plane's namespace in step; the program is not ready before there is a certificate to serve.
pub fn start(
    context: &Context,
    settings: Settings,
    metrics: Metrics,
) -> Running<impl Future<Output = ()> + Send + 'static> {
    let (certificate, certificate_receiver) = watch::channel(None);
    let (bundle, bundle_receiver) = watch::channel(None);
    let (issuer, issuing) = watch::channel(None);
    let (revoked, revoked_receiver) = watch::channel(None);
    let published = Published {
        certificate,
        bundle,
        issuer,
        revoked,
    };
    let keeper = Keeper::new(context, settings, metrics, published);
    Running {
        certificate: certificate_receiver,
        bundle: bundle_receiver,
        revoked: revoked_receiver,
        issuing,
        task: keeper.run(),
    }
}

#[cfg(test)]
mod tests;
