//! What an authority signs: itself, its successors, and servers' certificates; `workload` has those of sidecars.
//!
//! Everything made here is read back through the checks for what comes from outside, and a server's certificate is verified
//! against its root, before it is handed out.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::{crypto::aws_lc_rs, pki_types::DnsName};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Authority, IssueError, ROOT_LIFETIME, SERVER_LIFETIME, Standing};
use crate::{certificate, server::ServerPair, validity::Validity};

/// The last second that X.509 can write (RFC 5280, section 4.1.2.5), less a root's life.
const LAST_NOW: i64 = 253_402_300_799 - ROOT_LIFETIME.whole_seconds();
/// 128 random bits, well above the 64 that keep serial numbers apart and below the 20 octets that RFC 5280 allows (4.1.2.2).
const SERIAL_BYTES: usize = 16;

impl Authority {
    /// Makes an authority: a P-256 key and a root certificate for it, `O=TRUST_DOMAIN` as Istio names its own.
    ///
    /// # Errors
    /// When the trust domain is no name, or `now` is no time to make certificates at.
    pub fn generate(trust_domain: &str, now: OffsetDateTime) -> Result<Self, IssueError> {
        let n_characters = trust_domain.chars().count();
        if !(1..=255).contains(&n_characters) {
            return Err(IssueError::TrustDomain { n_characters });
        }
        let key = Zeroizing::new(KeyPair::generate().map_err(IssueError::Make)?);
        let key_pem = Zeroizing::new(key.serialize_pem());
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, trust_domain);
        let now = sane(now)?;
        let validity = Validity::starting(now, ROOT_LIFETIME);
        let params = root(subject, KeyIdMethod::Sha256, validity)?;
        Self::self_sign(&params, Arc::new(key), &key_pem)
    }

    /// Makes a new root certificate for the same key and name that ends later; only a root can do that for itself.
    ///
    /// What either has issued verifies against both. It starts when this one did, so that a renewal by a clock that runs ahead
    /// makes no root whose time has yet to come.
    ///
    /// # Errors
    /// When `now` is no time to make certificates at, or somebody else signed this authority's certificate.
    pub fn renew(&self, now: OffsetDateTime) -> Result<Self, IssueError> {
        if !self.chain.is_empty() {
            return Err(IssueError::NotRoot);
        }
        let fresh = Validity::starting(sane(now)?, ROOT_LIFETIME);
        let validity = Validity {
            not_before: self.validity.not_before.min(fresh.not_before),
            not_after: self.validity.not_after.max(fresh.not_after),
        };
        let params = root(self.subject.clone(), self.key_id_method(), validity)?;
        Self::self_sign(&params, Arc::clone(&self.key), self.key_pem())
    }

    /// Issues a certificate for a TLS server with these names and a new P-256 key: 90 days, but never beyond the root's end.
    ///
    /// # Errors
    /// When there is no name, or the root is not valid at `now`.
    pub fn issue_server(
        &self,
        names: &[DnsName<'_>],
        now: OffsetDateTime,
    ) -> Result<ServerPair, IssueError> {
        if names.is_empty() {
            return Err(IssueError::NoNames);
        }
        let now = sane(now)?;
        self.validity.check(now).map_err(IssueError::Untimely)?;
        let key = Zeroizing::new(KeyPair::generate().map_err(IssueError::Make)?);
        let key_pem = Zeroizing::new(key.serialize_pem());

        let validity = Validity::starting(now, SERVER_LIFETIME).within(self.validity);
        let mut params = blank(DistinguishedName::new(), validity)?;
        params.subject_alt_names = names
            .iter()
            .map(|name| Ok(SanType::DnsName(name.as_ref().try_into()?)))
            .collect::<Result<_, _>>()
            .map_err(IssueError::Make)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let made = params
            .signed_by(&*key, &self.issuer())
            .map_err(IssueError::Make)?;

        let mut chain = made.pem();
        chain.extend(self.chain().iter().map(certificate::to_pem));
        let pair =
            ServerPair::from_pem(chain.as_bytes(), key_pem.as_bytes()).map_err(IssueError::Pair)?;
        for name in names {
            pair.verify(&self.roots, name, now)
                .map_err(IssueError::Verify)?;
        }
        Ok(pair)
    }

    fn self_sign(
        params: &CertificateParams,
        key: Arc<Zeroizing<KeyPair>>,
        key_pem: &str,
    ) -> Result<Self, IssueError> {
        let made = params.self_signed(&**key).map_err(IssueError::Make)?;
        Self::assemble(made.into(), key, key_pem, Standing::Root).map_err(IssueError::Root)
    }

    pub(super) fn issuer(&self) -> Issuer<'static, &KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.subject.clone();
        params.key_identifier_method = self.key_id_method();
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Issuer::new(params, &**self.key)
    }

    fn key_id_method(&self) -> KeyIdMethod {
        self.key_id
            .clone()
            .map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
    }
}

fn root(
    subject: DistinguishedName,
    key_id: KeyIdMethod,
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = blank(subject, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = key_id;
    Ok(params)
}

pub(super) fn blank(
    subject: DistinguishedName,
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; SERIAL_BYTES];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| IssueError::Random)?;
    // Positive, and of one length: the first bit is the sign, the second keeps leading zeros away.
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A clock that cannot be right is refused before it gets into a certificate.
pub(super) fn sane(now: OffsetDateTime) -> Result<OffsetDateTime, IssueError> {
    if (0..=LAST_NOW).contains(&now.unix_timestamp()) {
        Ok(now)
    } else {
        Err(IssueError::Clock { now })
    }
}
