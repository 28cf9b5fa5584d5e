//! Certificates from the mesh's authority.
//!
//! `app` starts it where neither files nor a SPIFFE implementation on the node give us a certificate. A key is made, the authority signs it for
//! whom our token says that we are, what it answers is checked as if others were to believe it, and the data plane takes it from then on.

mod renewal;
mod request;

pub use renewal::{Backoff, Ratio, Renewal};
pub use request::{KeyKind, SigningRequest};
