//! Whether lists may be handed to everybody.
//!
//! The injector asks [`check`] before it publishes what the user has written. A list that is not its authority's would have every chain of that authority
//! refused, so each is held against the certificates that could have signed it, and the whole against a certificate that nobody gets. Everything
//! that passes leaves a mesh in which those believe each other who are not on it.

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};
use time::OffsetDateTime;
use webpki::ALL_VERIFICATION_ALGS;
use x509_parser::{
    nom, prelude::FromDer as _, revocation_list::CertificateRevocationList as List, x509::X509Name,
};

use super::{CrlError, Revocations};
use crate::{
    authority::{Authority, IssueError},
    bundle::TrustBundle,
    certificate,
    spiffe::SpiffeId,
    validity::{BACKDATE, Stamp},
};

/// Lists that may be handed out.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What they are.
    pub revoked: Revocations,
    /// When the first of them is outdated: whoever keeps them should have written a newer one by then.
    pub end: OffsetDateTime,
}

/// Why lists must not be handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitError {
    /// They are none.
    #[error(transparent)]
    Unreadable(#[from] CrlError),
    /// Nobody who counts has signed one of them.
    #[error(
        "list {number}, issued by {issuer:?}, is signed neither by the authority nor by a certificate between it and a root, nor by a root that the mesh trusts"
    )]
    Stranger {
        /// Which, from 1.
        number: usize,
        /// Who it says has signed it.
        issuer: String,
    },
    /// One of them is from the future.
    #[error("list {number} begins at {}, set the clock right", Stamp(*.begin))]
    NotYet {
        /// Which, from 1.
        number: usize,
        /// When it begins.
        begin: OffsetDateTime,
    },
    /// One of them is old, and its successor may hold more.
    #[error("list {number} is outdated since {}, sign a new one", Stamp(*.end))]
    Outdated {
        /// Which, from 1.
        number: usize,
        /// When its successor was due.
        end: OffsetDateTime,
    },
    /// With them nobody would be believed.
    #[error(
        "with these lists, peers would refuse every certificate that the authority signs; its certificate has to be allowed to sign lists (key usage cRLSign), and must not be on one"
    )]
    Proof(#[source] Box<IssueError>),
}

/// How much of a name is shown.
const MAX_SHOWN: usize = 200;

/// Reads lists as [`Revocations::from_pem`] does, and holds them against `authorities`, all of which sign now or soon, against `roots`, and against the
/// time. `trial` is the identity of certificates that are made to try them, and that nobody gets.
///
/// # Errors
/// Says which list is why of no use.
pub fn check(
    pem: &[u8],
    authorities: &[&Authority],
    roots: &TrustBundle,
    trial: &SpiffeId,
    now: OffsetDateTime,
) -> Result<Checked, UnfitError> {
    let revoked = Revocations::from_pem(pem)?;
    let signers = signers(authorities, roots);
    let mut end = None;
    let ders = CertificateRevocationListDer::pem_slice_iter(pem).flatten();
    for (number, der) in (1..).zip(ders) {
        let until = sound(&der, number, &signers, now)?;
        end = Some(end.map_or(until, |end: OffsetDateTime| end.min(until)));
    }
    for authority in authorities {
        authority
            .prove_unless_revoked(trial, &revoked, now)
            .map_err(|error| UnfitError::Proof(Box::new(error)))?;
    }
    Ok(Checked {
        revoked,
        end: end.unwrap_or(now),
    })
}

/// Everybody who may sign a list.
fn signers<'a>(
    authorities: &[&'a Authority],
    roots: &'a TrustBundle,
) -> Vec<&'a CertificateDer<'static>> {
    let of_authorities = authorities.iter().flat_map(|authority| {
        let roots = authority.roots().certificates().map(|(der, _)| der);
        std::iter::once(authority.certificate())
            .chain(authority.chain())
            .chain(roots)
    });
    let trusted = roots.certificates().map(|(der, _)| der);
    of_authorities.chain(trusted).collect()
}

/// Until when the list counts, if it does.
fn sound(
    der: &[u8],
    number: usize,
    signers: &[&CertificateDer<'_>],
    now: OffsetDateTime,
) -> Result<OffsetDateTime, UnfitError> {
    let (_, list) = List::from_der(der).map_err(|error: nom::Err<_>| {
        drop(error);
        CrlError::List {
            number,
            source: webpki::Error::BadDer,
        }
    })?;
    if !signers.iter().any(|signer| is_signed_by(&list, signer)) {
        return Err(UnfitError::Stranger {
            number,
            issuer: shown(list.issuer()),
        });
    }
    let begin = list.last_update().to_datetime();
    if begin > now.saturating_add(BACKDATE) {
        return Err(UnfitError::NotYet { number, begin });
    }
    // One without an end has been refused by now.
    let end = list.next_update().map_or(begin, |end| end.to_datetime());
    if end <= now {
        return Err(UnfitError::Outdated { number, end });
    }
    Ok(end)
}

/// Whether the list bears the name of `signer` and the signature of its key.
fn is_signed_by(list: &List<'_>, signer: &[u8]) -> bool {
    let Ok(signer) = certificate::parse(signer) else {
        return false;
    };
    if signer.subject().as_raw() != list.issuer().as_raw() {
        return false;
    }
    let key = &signer.public_key().subject_public_key.data;
    let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    let oid = list.signature_algorithm.algorithm.as_bytes();
    // A key of another kind than the algorithm's verifies nothing.
    let algorithms = ALL_VERIFICATION_ALGS.iter().filter(|algorithm| {
        let id = algorithm.signature_alg_id();
        let named = id.split_at_checked(2).map(|(_, rest)| rest);
        named.is_some_and(|rest| rest.starts_with(oid))
    });
    algorithms
        .map(|algorithm| algorithm.verify_signature(key, message, signature))
        .any(|verified| verified.is_ok())
}

fn shown(name: &X509Name<'_>) -> String {
    name.to_string().chars().take(MAX_SHOWN).collect()
}
