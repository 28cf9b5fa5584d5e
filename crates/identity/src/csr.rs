//! What a workload asks an authority to certify: a public key, and that it has the private one.
//!
//! [`Authority::issue_workload`](crate::Authority::issue_workload) reads a [`SigningRequest`] and takes nothing of it but the key. Names, dates and
//! extensions that it asks for are not looked at: who the caller is and how long that holds is never his to say.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use rustls::pki_types::{
    CertificateSigningRequestDer, SignatureVerificationAlgorithm,
    pem::{self, PemObject},
};
use webpki::aws_lc_rs as algorithms;
use x509_parser::{
    certification_request::X509CertificationRequest, nom, prelude::FromDer, public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// The most bytes of a request, in PEM; one for RSA-4096 has 1700.
pub const MAX_CSR_BYTES: usize = 16 << 10;
/// The longest RSA key that is certified, in bits; the shortest has 2048.
const MAX_RSA_BITS: usize = 4096;

/// `id-ecPublicKey` (RFC 5480).
const EC: &str = "1.2.840.10045.2.1";
/// `rsaEncryption` (RFC 8017).
const RSA: &str = "1.2.840.113549.1.1.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// A request whose signature proves that whoever made it has the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    key: Vec<u8>,
    kind: Kind,
}

/// Why a text is no request that can be granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// More than anybody could mean.
    #[error("the signing request is larger than {} KiB", MAX_CSR_BYTES >> 10)]
    TooLarge,
    /// It is no PEM text.
    #[error("the signing request cannot be read as a PEM section CERTIFICATE REQUEST")]
    Pem(#[source] pem::Error),
    /// It is not PKCS #10.
    #[error("the signing request is not PKCS #10 in DER (RFC 2986)")]
    Malformed,
    /// A key of another kind, or of a size that is too small or costs too much.
    #[error(
        "the signing request's key is neither ECDSA with P-256 or P-384 nor RSA with 2048 to {MAX_RSA_BITS} bits"
    )]
    Key,
    /// It is signed by other means than its key.
    #[error(
        "the signing request is signed by an algorithm that is not used with its key, sign it with SHA-256 or SHA-384"
    )]
    Algorithm,
    /// Whoever sent it does not have the key, or somebody has changed it.
    #[error("the signing request's signature is not its own key's")]
    Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Rsa,
}

// === impl SigningRequest ===

impl SigningRequest {
    /// Reads one PEM section `CERTIFICATE REQUEST`, or `NEW CERTIFICATE REQUEST` as older tools call it.
    ///
    /// # Errors
    /// When it is no request, its key is none that is certified, or its signature is not that key's.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CsrError> {
        if pem.len() > MAX_CSR_BYTES {
            return Err(CsrError::TooLarge);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem).map_err(CsrError::Pem)?;
        Self::from_der(&der)
    }

    /// Reads the DER form.
    ///
    /// # Errors
    /// As those of [`from_pem`](Self::from_pem).
    pub fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_CSR_BYTES {
            return Err(CsrError::TooLarge);
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|error: nom::Err<_>| {
                drop(error);
                CsrError::Malformed
            })?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let info = &request.certification_request_info;
        // Both are whole bytes, and there is one way only to write them.
        let keys = &info.subject_pki.subject_public_key;
        if keys.unused_bits != 0 || request.signature_value.unused_bits != 0 {
            return Err(CsrError::Malformed);
        }
        let kind = kind(&info.subject_pki).ok_or(CsrError::Key)?;
        let key = info.subject_pki.subject_public_key.data.as_ref();
        let algorithm = algorithm(kind, &request.signature_algorithm.algorithm.to_id_string())
            .ok_or(CsrError::Algorithm)?;
        algorithm
            .verify_signature(key, info.raw, &request.signature_value.data)
            .map_err(|_| CsrError::Signature)?;
        Ok(Self {
            key: key.to_vec(),
            kind,
        })
    }

    /// The request of somebody in this very process, who need not prove that he has the key: a P-256 one.
    pub(crate) fn of(key: &rcgen::KeyPair) -> Self {
        Self {
            key: key.der_bytes().to_vec(),
            kind: Kind::P256,
        }
    }

    /// Whether the key is an RSA key, which may encipher keys too.
    pub(crate) fn is_rsa(&self) -> bool {
        self.kind == Kind::Rsa
    }
}

impl PublicKeyData for SigningRequest {
    fn der_bytes(&self) -> &[u8] {
        &self.key
    }

    /// Names the kind of key; what it signs with is its owner's choice.
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            Kind::P256 => &PKCS_ECDSA_P256_SHA256,
            Kind::P384 => &PKCS_ECDSA_P384_SHA384,
            Kind::Rsa => &PKCS_RSA_SHA256,
        }
    }
}

fn kind(key: &SubjectPublicKeyInfo<'_>) -> Option<Kind> {
    let bytes = key.subject_public_key.data.as_ref();
    let is_point = |n_bytes| bytes.len() == n_bytes && bytes.first() == Some(&4);
    match key.algorithm.algorithm.to_id_string().as_str() {
        EC => {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            match curve.to_id_string().as_str() {
                P256 => is_point(1 + 2 * 32).then_some(Kind::P256),
                P384 => is_point(1 + 2 * 48).then_some(Kind::P384),
                _ => None,
            }
        }
        // The lower bound is the verification's.
        RSA => match key.parsed().ok()? {
            PublicKey::RSA(rsa) => (1..=MAX_RSA_BITS)
                .contains(&rsa.key_size())
                .then_some(Kind::Rsa),
            _ => None,
        },
        _ => None,
    }
}

fn algorithm(kind: Kind, signature: &str) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    Some(match (kind, signature) {
        (Kind::P256, "1.2.840.10045.4.3.2") => algorithms::ECDSA_P256_SHA256,
        (Kind::P256, "1.2.840.10045.4.3.3") => algorithms::ECDSA_P256_SHA384,
        (Kind::P384, "1.2.840.10045.4.3.2") => algorithms::ECDSA_P384_SHA256,
        (Kind::P384, "1.2.840.10045.4.3.3") => algorithms::ECDSA_P384_SHA384,
        (Kind::Rsa, "1.2.840.113549.1.1.11") => algorithms::RSA_PKCS1_2048_8192_SHA256,
        (Kind::Rsa, "1.2.840.113549.1.1.12") => algorithms::RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa, "1.2.840.113549.1.1.13") => algorithms::RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    })
}
