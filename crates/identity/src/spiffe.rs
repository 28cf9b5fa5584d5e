//! SPIFFE IDs: who a workload is.
//!
//! [`of`] takes the identity out of a certificate, and [`verify::peer`](crate::verify::peer) says whether to believe it. Whatever exists as
//! a [`SpiffeId`] has the form that the SPIFFE standard demands, so two of them are the same identity exactly if their texts are equal.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
    sync::Arc,
};

use x509_parser::{extensions::GeneralName, prelude::X509Error};

use crate::certificate::{self, CertificateError};

/// Longest ID (SPIFFE-ID, section 2.3).
const MAX_ID: usize = 2048;
/// Longest trust domain (SPIFFE-ID, section 2.3).
const MAX_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";
/// `uniformResourceIdentifier` among the kinds of names (RFC 5280, section 4.2.1.6).
const URI_TAG: u32 = 6;

/// A workload's identity, `spiffe://cluster.local/ns/default/sa/web`; clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Where the path begins, with its slash.
    path: usize,
}

/// A trust domain, `cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// Why a text is no SPIFFE ID of a workload, or no trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeError {
    /// More than the standard allows.
    #[error("longer than {MAX_ID} bytes")]
    TooLong,
    /// Some other URI, or none.
    #[error("does not begin with {SCHEME}")]
    Scheme,
    /// The trust domain is missing, too long, or has a character that is not allowed.
    #[error(
        "the trust domain is not 1 to {MAX_TRUST_DOMAIN} characters of a to z, 0 to 9, dot, hyphen and underscore"
    )]
    TrustDomain,
    /// A whole trust domain and not a workload of it.
    #[error("has no path, so it names no workload")]
    NoPath,
    /// The path is not in its one form.
    #[error(
        "a segment of the path is empty, a dot segment, or has a character besides letters, digits, dot, hyphen and underscore"
    )]
    Path,
}

/// Why a certificate gives nobody's identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// It cannot be read.
    #[error("the certificate cannot be used")]
    Certificate(#[source] CertificateError),
    /// It has not exactly one URI name.
    #[error(
        "the certificate has {n_uris} URI names where a workload's has exactly one (X509-SVID, section 2)"
    )]
    Uris {
        /// How many there are.
        n_uris: usize,
    },
    /// Its URI name is no identity.
    #[error("the certificate's URI name {uri:?} is no SPIFFE ID of a workload")]
    Spiffe {
        /// The name, its beginning if it is long.
        uri: String,
        /// Why not.
        source: SpiffeError,
    },
}

/// The identity that a workload's certificate claims; nothing is verified.
///
/// # Errors
/// When the certificate cannot be read, or has not exactly one URI name, or that is no SPIFFE ID.
pub fn of(certificate: &[u8]) -> Result<SpiffeId, IdError> {
    let parsed = certificate::parse(certificate).map_err(IdError::Certificate)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error: X509Error| IdError::Certificate(CertificateError::Malformed(error)))?;
    let mut uris = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            // One that is no ASCII text is a name all the same, and no identity.
            GeneralName::Invalid(tag, _) if tag.0 == URI_TAG => Some(""),
            _ => None,
        });
    let (first, n_others) = (uris.next(), uris.count());
    let (Some(uri), 0) = (first, n_others) else {
        let n_uris = usize::from(first.is_some()) + n_others;
        return Err(IdError::Uris { n_uris });
    };
    uri.parse().map_err(|source| IdError::Spiffe {
        uri: uri.chars().take(MAX_TRUST_DOMAIN).collect(),
        source,
    })
}

// === impl SpiffeId ===

impl SpiffeId {
    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole text, shared.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path).unwrap_or_default()
    }

    /// The path, with its first slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }

    /// Namespace and service account, where the path has Istio's form `/ns/NAMESPACE/sa/ACCOUNT`.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        let whole = !namespace.contains('/') && !account.contains('/');
        whole.then_some((namespace, account))
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > MAX_ID {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeError::Scheme)?;
        let (trust_domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        TrustDomain::check(trust_domain)?;
        if path.is_empty() {
            return Err(SpiffeError::NoPath);
        }
        if !path.split('/').all(is_segment) {
            return Err(SpiffeError::Path);
        }
        Ok(Self {
            text: text.into(),
            path: SCHEME.len() + trust_domain.len(),
        })
    }
}

impl Display for SpiffeId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl TrustDomain ===

impl TrustDomain {
    /// The domain's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), SpiffeError> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let fits = (1..=MAX_TRUST_DOMAIN).contains(&text.len());
        if fits && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err(SpiffeError::TrustDomain)
        }
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl Display for TrustDomain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The standard allows no percent encoding and no dot segments, so that no two texts mean the same identity (section 2.2).
fn is_segment(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_identity_has_one_form_only() {
        let long_path = format!("spiffe://a/{}", "b".repeat(MAX_ID));
        let long_domain = format!("spiffe://{}/b", "a".repeat(256));
        let table = [
            ("spiffe://cluster.local/ns/default/sa/web", Ok(())),
            ("spiffe://td-1_x/a", Ok(())),
            ("spiffe://td/A.b-c_D/.../e", Ok(())),
            ("", Err(SpiffeError::Scheme)),
            ("https://cluster.local/a", Err(SpiffeError::Scheme)),
            ("SPIFFE://cluster.local/a", Err(SpiffeError::Scheme)),
            ("spiffe:///a", Err(SpiffeError::TrustDomain)),
            ("spiffe://Cluster.local/a", Err(SpiffeError::TrustDomain)),
            ("spiffe://user@td/a", Err(SpiffeError::TrustDomain)),
            ("spiffe://td:443/a", Err(SpiffeError::TrustDomain)),
            (&long_domain, Err(SpiffeError::TrustDomain)),
            (&long_path, Err(SpiffeError::TooLong)),
            ("spiffe://td", Err(SpiffeError::NoPath)),
            ("spiffe://td/", Err(SpiffeError::NoPath)),
            ("spiffe://td/a/", Err(SpiffeError::Path)),
            ("spiffe://td//a", Err(SpiffeError::Path)),
            ("spiffe://td/a/../b", Err(SpiffeError::Path)),
            ("spiffe://td/a/./b", Err(SpiffeError::Path)),
            ("spiffe://td/a%2fb", Err(SpiffeError::Path)),
            ("spiffe://td/a?b", Err(SpiffeError::Path)),
            ("spiffe://td/a#b", Err(SpiffeError::Path)),
            ("spiffe://td/a\0b", Err(SpiffeError::Path)),
            ("spiffe://td\0.evil/a", Err(SpiffeError::TrustDomain)),
            ("spiffe://td/ä", Err(SpiffeError::Path)),
        ];
        for (text, expected) in table {
            assert_eq!(
                text.parse::<SpiffeId>().map(|_| ()),
                expected,
                "{text:.60?}"
            );
        }
    }

    #[test]
    fn the_parts_are_told_apart() {
        let id: SpiffeId = "spiffe://cluster.local/ns/default/sa/web".parse().unwrap();
        assert_eq!(id.trust_domain(), "cluster.local");
        assert_eq!(id.path(), "/ns/default/sa/web");
        assert_eq!(id.service_account(), Some(("default", "web")));
        for other in [
            "spiffe://a/web",
            "spiffe://a/ns/b/c/sa/d",
            "spiffe://a/ns/b/sa/c/d",
        ] {
            let id: SpiffeId = other.parse().unwrap();
            assert_eq!(id.service_account(), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_unchanged(text in "(spiffe://)?[a-z./_%@:A-Z\0-]{0,40}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), &*text);
                prop_assert_eq!(format!("{SCHEME}{}{}", id.trust_domain(), id.path()), text);
                prop_assert!(id.trust_domain().parse::<TrustDomain>().is_ok());
            }
        }
    }
}
