//! Reading one certificate, strictly.
//!
//! Authority, bundle and pair read PEM and DER through here, so all refuse the same things. What is parsed was measured first.

use rcgen::{
    DistinguishedName, DnType, DnValue,
    string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString},
};
use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};
use x509_parser::{
    asn1_rs::{Any, Tag},
    certificate::X509Certificate,
    error::X509Error,
    nom,
    prelude::FromDer,
    x509::X509Name,
};

/// The most PEM text that is read at once, in bytes; a Kubernetes object holds twice as much, a sane chain a hundredth.
pub const MAX_PEM_BYTES: usize = 512 << 10;

/// Why bytes are no certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// More than anybody could mean.
    #[error("larger than {} KiB", MAX_PEM_BYTES >> 10)]
    TooLarge,
    /// A PEM section that is broken.
    #[error("cannot be read as PEM")]
    Pem(#[source] pem::Error),
    /// No section of the right kind.
    #[error("holds no PEM section CERTIFICATE")]
    None,
    /// Not the DER form of an X.509 certificate.
    #[error("is no X.509 certificate")]
    Malformed(#[source] X509Error),
    /// Something follows the certificate inside its PEM section.
    #[error("holds a certificate with {n_bytes} bytes behind its end")]
    Trailing {
        /// How many.
        n_bytes: usize,
    },
}

/// All certificates of a PEM text, at least one, in their order.
pub(crate) fn read_all(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let read = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(CertificateError::Pem)?;
    if read.is_empty() {
        return Err(CertificateError::None);
    }
    Ok(read)
}

/// The fields of a certificate.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| {
        CertificateError::Malformed(match error {
            nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
            nom::Err::Error(error) | nom::Err::Failure(error) => error,
        })
    })?;
    if !rest.is_empty() {
        return Err(CertificateError::Trailing {
            n_bytes: rest.len(),
        });
    }
    Ok(parsed)
}

/// The certificate as PEM, with line feeds.
pub(crate) fn to_pem(der: &CertificateDer<'_>) -> String {
    ::pem::encode_config(
        &::pem::Pem::new("CERTIFICATE", der.as_ref()),
        ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF),
    )
}

/// A name as it can be written again with the same bytes, string types included, because chains are built by comparing the bytes;
/// nothing if it has parts that cannot be.
pub(crate) fn writable_name(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let mut written = DistinguishedName::new();
    for part in name.iter_rdn() {
        let mut attributes = part.iter();
        let attribute = attributes.next()?;
        if attributes.next().is_some() {
            return None;
        }
        let kind = DnType::from_oid(&attribute.attr_type().iter()?.collect::<Vec<_>>());
        if written.get(&kind).is_some() {
            return None;
        }
        written.push(kind, text(attribute.attr_value())?);
    }
    Some(written)
}

fn text(value: &Any<'_>) -> Option<DnValue> {
    let ascii = || std::str::from_utf8(value.data).ok();
    Some(match value.header.tag() {
        Tag::Utf8String => DnValue::Utf8String(ascii()?.to_owned()),
        Tag::PrintableString => DnValue::PrintableString(PrintableString::try_from(ascii()?).ok()?),
        Tag::Ia5String => DnValue::Ia5String(Ia5String::try_from(ascii()?).ok()?),
        Tag::T61String => DnValue::TeletexString(TeletexString::try_from(ascii()?).ok()?),
        Tag::BmpString => DnValue::BmpString(BmpString::from_utf16be(value.data.to_vec()).ok()?),
        Tag::UniversalString => {
            DnValue::UniversalString(UniversalString::from_utf32be(value.data.to_vec()).ok()?)
        }
        _ => return None,
    })
}
