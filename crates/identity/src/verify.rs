//! Whether a chain proves a name.
//!
//! Used on what the authority issues before it is handed out, on what a Secret holds before it is served, and by whoever connects.
//! The building of the path is webpki's; what it leaves open, the dates of the root, is settled here.

use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use crate::bundle::TrustBundle;

/// Why a chain does not prove a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is nothing to verify.
    #[error("the chain holds no certificate")]
    Empty,
    /// The clock is before 1970.
    #[error("the clock is before 1970, set it right")]
    Clock,
    /// No root's dates hold now.
    #[error("no trusted root is valid at this time")]
    NoRoot,
    /// The chain does not lead to a root, or is not valid now, or is no server's.
    #[error("the chain does not verify against the trusted roots")]
    Chain(#[source] webpki::Error),
    /// The certificate is another server's.
    #[error("the certificate is not for {name}")]
    Name {
        /// The name that was asked for.
        name: String,
        /// What it is for.
        source: webpki::Error,
    },
}

/// Verifies that `chain`, the server's own certificate first, leads to one of `roots` at `now`, is a server's, and is for `name`.
///
/// # Errors
/// Says which of these does not hold.
pub fn server(
    chain: &[CertificateDer<'_>],
    roots: &TrustBundle,
    name: &DnsName<'_>,
    now: OffsetDateTime,
) -> Result<(), VerifyError> {
    let (own, others) = chain.split_first().ok_or(VerifyError::Empty)?;
    let seconds = u64::try_from(now.unix_timestamp()).map_err(|_| VerifyError::Clock)?;
    let anchors = roots.anchors_at(now);
    if anchors.is_empty() {
        return Err(VerifyError::NoRoot);
    }
    let certificate = EndEntityCert::try_from(own).map_err(VerifyError::Chain)?;
    certificate
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            others,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(VerifyError::Chain)?;
    certificate
        .verify_is_valid_for_subject_name(&ServerName::DnsName(name.borrow()))
        .map_err(|source| VerifyError::Name {
            name: name.as_ref().to_owned(),
            source,
        })
}
