//! What the authority is asked to sign: a new key, and a request that names us.
//!
//! Each certificate has a key of its own, which never leaves the pod. The authority takes the identity from the caller's token; the name in the
//! request is for authorities that compare the two.

use identity::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use zeroize::Zeroizing;

/// Of what kind keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits.
    Rsa4096,
}

/// A signing request and its key.
pub struct SigningRequest {
    /// PKCS #10, PEM.
    pub csr: String,
    /// PKCS #8, PEM.
    pub key: Zeroizing<String>,
}

// === impl KeyKind ===

impl KeyKind {
    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
        }
    }
}

// === impl SigningRequest ===

impl SigningRequest {
    /// A request for `id` with a new key. RSA keys take up to seconds.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(kind: KeyKind, id: &SpiffeId) -> Result<Self, rcgen::Error> {
        let key = kind.generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        Ok(Self {
            csr: params.serialize_request(&key)?.pem()?,
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

#[cfg(test)]
mod tests {
    use testkit::pki::Root;

    use super::*;

    #[test]
    fn requests_of_every_kind_are_signed_by_their_key_and_name_us() {
        let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
        let root = Root::new("mesh");
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048] {
            let request = SigningRequest::new(kind, &id).unwrap();
            let chain = root.answer(&request.csr, &[id.as_str()], |_| {}).unwrap();
            identity::ServerPair::from_pem(chain.as_bytes(), request.key.as_bytes()).unwrap();
            let other = SigningRequest::new(kind, &id).unwrap();
            assert_ne!(*request.key, *other.key, "{kind:?}");
        }
    }
}
