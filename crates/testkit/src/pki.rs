//! Authorities and workload certificates, made when a test needs them.
//!
//! A [`Root`] issues what the mesh's own authority would, and what it would never: each test changes the one thing that it is about.
//! Nothing is kept in the tree, and keys live as long as the folder that they are written to.

use std::{fs, io, path::Path};

use contract::paths::{CERT_CHAIN_FILE, KEY_FILE, ROOT_CERT_FILE};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

pub use rcgen;

/// An authority.
pub struct Root {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The certificate, then those of intermediate authorities.
    pub chain: String,
    /// The private key.
    pub key: String,
    /// The root that it leads to, and any others to trust.
    pub roots: String,
}

// === impl Root ===

impl Root {
    /// A self-signed authority, good for an hour.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a P-256 key is always possible");
        let params = authority(name);
        let certificate = params.self_signed(&key).expect("the parameters are fixed");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The root certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// An authority below this one, and its certificate.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> (Self, String) {
        let key = KeyPair::generate().expect("a P-256 key is always possible");
        let params = authority(name);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters are fixed");
        let below = Self {
            pem: self.pem.clone(),
            issuer: Issuer::new(params, key),
        };
        (below, certificate.pem())
    }

    /// A list that revokes the certificates with these serial numbers, made after `change`.
    ///
    /// # Panics
    /// When `change` asks for what cannot be written.
    #[must_use]
    pub fn revoke(
        &self,
        serials: &[u64],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> String {
        let now = OffsetDateTime::now_utc();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now - Duration::MINUTE,
            reason_code: None,
            invalidity_date: None,
        });
        let mut params = CertificateRevocationListParams {
            this_update: now - Duration::MINUTE,
            next_update: now + Duration::HOUR,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        let list = params.signed_by(&self.issuer);
        let list = list.expect("the test asks for what can be written");
        list.pem().expect("DER is always possible as PEM")
    }

    /// A workload's certificate for `spiffe_id`.
    #[must_use]
    pub fn workload(&self, spiffe_id: &str) -> Leaf {
        self.issue(&[spiffe_id], |_| {})
    }

    /// A certificate with these URI names, made after `change`.
    #[must_use]
    pub fn issue(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().expect("a P-256 key is always possible");
        self.issue_for(&key, uris, change)
    }

    /// The same for a key of the caller's.
    #[must_use]
    pub fn issue_for(
        &self,
        key: &KeyPair,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let certificate = self.sign(key, uris, change);
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            roots: self.pem.clone(),
        }
    }

    /// A certificate with these URI names, made after `change`, for the key of a signing request (PKCS #10, PEM).
    ///
    /// # Errors
    /// When the request cannot be read, or is not signed by its own key.
    pub fn answer(
        &self,
        csr: &str,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<String, rcgen::Error> {
        let request = CertificateSigningRequestParams::from_pem(csr)?;
        Ok(self.sign(&request.public_key, uris, change).pem())
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        uris: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
        params.not_after = OffsetDateTime::now_utc() + Duration::HOUR;
        params.subject_alt_names = uris.iter().map(|uri| uri_name(uri)).collect();
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.serial_number = Some(SerialNumber::from(fresh_serial()));
        change(&mut params);
        params
            .signed_by(key, &self.issuer)
            .expect("the test asks for what can be written")
    }
}

// === impl Leaf ===

impl Leaf {
    /// The three files of the agent's `--certs-dir`, by name.
    #[must_use]
    pub fn files(&self) -> [(&'static str, &str); 3] {
        [
            (CERT_CHAIN_FILE, &self.chain),
            (KEY_FILE, &self.key),
            (ROOT_CERT_FILE, &self.roots),
        ]
    }

    /// Writes these files, each of them replaced as a whole.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        for (name, text) in self.files() {
            let beside = folder.join(format!(".{name}.new"));
            fs::write(&beside, text)?;
            fs::rename(beside, folder.join(name))?;
        }
        Ok(())
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, name);
    params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
    params.not_after = OffsetDateTime::now_utc() + Duration::HOUR;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn uri_name(uri: &str) -> SanType {
    SanType::URI(uri.try_into().expect("a URI of a test is ASCII"))
}

/// Tells certificates of one moment apart.
fn fresh_serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}
