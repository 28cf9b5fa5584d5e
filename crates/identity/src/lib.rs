//! Keys and certificates of the mesh.
//!
//! The injector holds the [`Authority`] and serves what it issues; whoever connects verifies the chain against the [`TrustBundle`].
//! Everything here is a function of its arguments: there is no clock, no file and no network, and nothing panics on what came from
//! outside. Private keys appear in neither errors nor debug output.
//!
//! ```text
//! Authority ─ issue_server ─► ServerPair ─ chain ──────────┐
//!     │   └── issue_workload(SigningRequest) ─► Leaf ──────┤
//!     │ generate, from_pem, from_chain, renew              ▼
//!     └─ certificate ─► TrustBundle ─────────────► verify::server(chain, roots, name, now)
//!                            └───────────────────► verify::peer(chain, roots, end, expected, now) ─► SpiffeId
//! ```

pub mod authority;
pub mod bundle;
mod certificate;
pub mod crl;
pub mod csr;
pub mod server;
pub mod spiffe;
pub mod validity;
pub mod verify;

pub use authority::{Authority, AuthorityError, IssueError, Leaf, Lifetimes};
pub use bundle::{BundleError, TrustBundle};
pub use certificate::{CertificateError, MAX_PEM_BYTES};
pub use crl::{CrlError, Revocations, UnfitError};
pub use csr::{CsrError, SigningRequest};
pub use rustls::pki_types::DnsName;
pub use server::{PairError, ServerPair};
pub use spiffe::{SpiffeId, TrustDomain};
pub use validity::{Untimely, Validity};
pub use verify::VerifyError;
