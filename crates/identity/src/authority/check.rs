//! What an authority's certificate must be before anything is signed with it.
//!
//! [`authority`] runs on what was read and on what was just made alike, so nothing that this crate makes is refused by it later.

use rcgen::{DistinguishedName, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension};

use super::AuthorityError;
use crate::certificate::{self, CertificateError};

/// What signing needs of an authority that has passed.
pub(super) struct Checked {
    pub(super) subject: DistinguishedName,
    pub(super) key_id: Option<Vec<u8>>,
}

pub(super) fn authority(
    der: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    key: &KeyPair,
    is_root: bool,
) -> Result<Checked, AuthorityError> {
    let malformed = |error| AuthorityError::Certificate(CertificateError::Malformed(error));
    let constraints = parsed.basic_constraints().map_err(malformed)?;
    if !constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(AuthorityError::NotAuthority);
    }
    // A certificate without the extension may do everything.
    let usage = parsed.key_usage().map_err(malformed)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(AuthorityError::MayNotSign);
    }
    if is_root {
        if parsed.subject().as_raw() != parsed.issuer().as_raw() {
            return Err(AuthorityError::NotSelfSigned);
        }
        signature(der, parsed)?;
    }
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::Mismatch);
    }
    let subject = certificate::writable_name(parsed.subject()).ok_or(AuthorityError::Subject)?;
    let key_id =
        parsed
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            });
    Ok(Checked { subject, key_id })
}

fn signature(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> Result<(), AuthorityError> {
    let certificate = EndEntityCert::try_from(der).map_err(AuthorityError::Signature)?;
    let oid = parsed.signature_algorithm.algorithm.as_bytes();
    let mut last = webpki::Error::InvalidSignatureForPublicKey;
    let named = ALL_VERIFICATION_ALGS.iter().filter(|algorithm| {
        // The identifier is the OID with its tag and length, and parameters behind it.
        algorithm
            .signature_alg_id()
            .as_ref()
            .get(2..)
            .is_some_and(|id| id.starts_with(oid))
    });
    for algorithm in named {
        match certificate.verify_signature(
            *algorithm,
            parsed.tbs_certificate.as_ref(),
            &parsed.signature_value.data,
        ) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(AuthorityError::Signature(last))
}
