//! What the rest of the program hears of the authority.
//!
//! The keeper tells every good state that it puts to use; who listens gets the last one.

use std::sync::Arc;

use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::secret::State;
use crate::ca::Issuer;

/// What the rest of the program hears of the authority.
pub(super) struct Published {
    pub(super) certificate: watch::Sender<Option<Arc<CertifiedKey>>>,
    pub(super) bundle: watch::Sender<Option<Arc<str>>>,
    pub(super) issuer: watch::Sender<Option<Arc<Issuer>>>,
    pub(super) revoked: watch::Sender<Option<Arc<str>>>,
}

// === impl Published ===

impl Published {
    /// Tells of `state`; the bundle only if it is another one, because it is written into every namespace.
    pub(super) fn state(&self, state: &State) {
        self.certificate
            .send_replace(Some(state.pair.certified_key()));
        let roots = Arc::<str>::from(state.roots.pem());
        self.issuer.send_replace(Some(Arc::new(Issuer {
            authority: state.authority.clone(),
            roots: Arc::clone(&roots),
        })));
        self.bundle.send_if_modified(|bundle| {
            let is_new = bundle.as_deref() != Some(&*roots);
            if is_new {
                *bundle = Some(roots);
            }
            is_new
        });
    }
}
