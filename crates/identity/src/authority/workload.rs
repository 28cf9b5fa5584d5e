//! Workloads' certificates: what a leaf may contain and how long it lives.
//!
//! [`Authority::issue_workload`] is called for every sidecar, by the injector's certificate service. A leaf proves one SPIFFE ID and nothing else; it
//! never outlives the authority, and is verified like any peer's before it is handed out.

use std::sync::Arc;

use rcgen::{DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{
    Authority, IssueError,
    issue::{blank, sane},
};
use crate::{
    certificate,
    crl::Revocations,
    csr::SigningRequest,
    spiffe::SpiffeId,
    validity::{BACKDATE, Validity},
    verify::{self, End, Expected},
};

/// How long a leaf lives if nothing else is said, and at most: a day, as in Istio.
pub const LEAF_LIFETIME: Duration = Duration::DAY;
/// The shortest life of a leaf: less would be over before it is used.
pub const MIN_LEAF_LIFETIME: Duration = Duration::MINUTE;

/// How long leaves live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// If nothing is asked for.
    pub default: Duration,
    /// At most, whatever is asked for.
    pub max: Duration,
}

/// A workload's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// From when until when it counts.
    pub validity: Validity,
}

// === impl Lifetimes ===

impl Lifetimes {
    /// The life of a leaf for which `asked` was asked; nothing, or no time at all, leaves it to the authority.
    #[must_use]
    pub fn grant(&self, asked: Option<Duration>) -> Duration {
        let asked = asked.filter(|asked| asked.is_positive());
        asked
            .unwrap_or(self.default)
            .max(MIN_LEAF_LIFETIME)
            .min(self.max)
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            default: LEAF_LIFETIME,
            max: LEAF_LIFETIME,
        }
    }
}

// === impl Leaf ===

impl Leaf {
    /// The certificate in PEM, with line feeds.
    #[must_use]
    pub fn pem(&self) -> String {
        certificate::to_pem(&self.certificate)
    }
}

// === impl Authority ===

impl Authority {
    /// Certifies that the key of `request` is that of `id`, from now for `lifetime`, but never beyond the authority's own end.
    ///
    /// The start lies a little back, for peers whose clocks are behind; of a short life it is a quarter.
    ///
    /// # Errors
    /// When the authority is not valid at `now`, or what was made does not verify.
    pub fn issue_workload(
        &self,
        request: &SigningRequest,
        id: &SpiffeId,
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Result<Leaf, IssueError> {
        let now = sane(now)?;
        let now = now.replace_nanosecond(0).unwrap_or(now);
        self.validity.check(now).map_err(IssueError::Untimely)?;
        let backdate = BACKDATE.min(lifetime / 4);
        let validity = Validity {
            not_before: now.saturating_sub(backdate).max(self.validity.not_before),
            not_after: now.saturating_add(lifetime),
        }
        .within(self.validity);

        let mut params = blank(DistinguishedName::new(), validity)?;
        let uri = id.as_str().try_into().map_err(IssueError::Make)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if request.is_rsa() {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let made = params
            .signed_by(request, &self.issuer())
            .map_err(IssueError::Make)?;
        let certificate = CertificateDer::from(made);
        self.check_leaf(&certificate, id, &Revocations::default(), now)?;
        Ok(Leaf {
            certificate,
            validity,
        })
    }

    /// Makes a P-256 key and certifies it as [`issue_workload`](Self::issue_workload) does, for a workload that cannot ask; the key is PKCS #8 in PEM.
    ///
    /// # Errors
    /// As those of [`issue_workload`](Self::issue_workload).
    pub fn issue_pair(
        &self,
        id: &SpiffeId,
        lifetime: Duration,
        now: OffsetDateTime,
    ) -> Result<(Leaf, Zeroizing<String>), IssueError> {
        let key = Zeroizing::new(KeyPair::generate().map_err(IssueError::Make)?);
        let leaf = self.issue_workload(&SigningRequest::of(&key), id, lifetime, now)?;
        Ok((leaf, Zeroizing::new(key.serialize_pem())))
    }

    /// As [`prove`](Self::prove), before somebody who refuses what is among `revoked`.
    ///
    /// # Errors
    /// When it would be refused, because of the lists or for any reason of [`prove`](Self::prove).
    pub fn prove_unless_revoked(
        &self,
        id: &SpiffeId,
        revoked: &Revocations,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        let (leaf, _) = self.issue_pair(id, MIN_LEAF_LIFETIME, now)?;
        self.check_leaf(&leaf.certificate, id, revoked, now)
    }

    /// What does not convince us convinces nobody.
    fn check_leaf(
        &self,
        leaf: &CertificateDer<'static>,
        id: &SpiffeId,
        revoked: &Revocations,
        now: OffsetDateTime,
    ) -> Result<(), IssueError> {
        let mut chain = vec![leaf.clone()];
        chain.extend_from_slice(self.chain());
        let expected = [Arc::clone(id.text())];
        let expected = Expected::OneOf(&expected);
        verify::peer_unless_revoked(&chain, &self.roots, revoked, End::Client, expected, now)
            .map(drop)
            .map_err(|error| IssueError::Leaf(Box::new(error)))
    }
}
