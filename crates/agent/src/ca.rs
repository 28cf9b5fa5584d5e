//! Certificates from the mesh's authority.
//!
//! `app` starts it where neither files nor a SPIFFE implementation on the node give us a certificate. A key is made, the authority signs it for
//! whom our token says that we are, what it answers is checked as if others were to believe it, and the data plane takes it from then on.
//!
//! ```text
//! Source ─ due ─► Client ─ CreateCertificate ─► Holder ─ checked ─► Store ─► data plane
//!    ▲                                             └─► Keep: cache, --output-certs
//!    └── Renewal
//! ```

mod client;
mod metrics;
mod renewal;
mod request;
mod source;

pub use client::{AskError, Client, LIMIT};
pub use metrics::Metrics;
pub use renewal::{Ratio, Renewal};
pub use request::{KeyKind, SigningRequest};
pub use source::{Clock, Failure, Keep, Source};
