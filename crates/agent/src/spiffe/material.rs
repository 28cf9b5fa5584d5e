//! A message of the Workload API as texts that everything else takes.
//!
//! Pure. The API gives DER, several certificates one after the other; only their outer lengths are read here, what is in them is judged by the
//! [`Holder`](crate::tls::holder::Holder). Of several identities the first is meant, as the standard says. Bundles of other trust domains are left
//! aside: in one pot with ours they would vouch for our names, too.

use pem::{EncodeConfig, LineEnding, Pem};
use wire::spiffe::X509svidResponse;
use zeroize::Zeroizing;

use crate::tls::holder::Material;

/// Why a message holds no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// It has no identity for us.
    #[error("the message holds no identity")]
    Nobody,
    /// The bytes are not certificates one after the other.
    #[error("the {what} is not made of DER certificates")]
    Der {
        /// Which part.
        what: &'static str,
    },
}

/// Of a sequence in DER (X.690, 8.9 and 8.1.3).
const SEQUENCE: u8 = 0x30;
/// Set in the first byte of a length that does not fit into seven bits.
const LONG: u8 = 0x80;

/// The first identity of `message`.
///
/// # Errors
/// When there is none, or its parts are no DER.
pub fn material(message: &X509svidResponse) -> Result<Material, MaterialError> {
    let svid = message.svids.first().ok_or(MaterialError::Nobody)?;
    let certificates = |what, bytes| {
        let parts = split(bytes).filter(|parts| !parts.is_empty());
        let parts = parts.ok_or(MaterialError::Der { what })?;
        let text = parts.iter().map(|der| text("CERTIFICATE", der));
        Ok(text.collect::<String>())
    };
    Ok(Material {
        chain: certificates("certificate", &svid.x509_svid)?,
        key: Zeroizing::new(text("PRIVATE KEY", &svid.x509_svid_key)),
        roots: certificates("bundle", &svid.bundle)?,
    })
}

/// The sequences that `bytes` are made of; nothing if something else is among them.
fn split(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at_checked(length(bytes)?)?;
        parts.push(part);
        bytes = rest;
    }
    Some(parts)
}

/// The length of the sequence that `bytes` begin with, its head included.
fn length(bytes: &[u8]) -> Option<usize> {
    let [SEQUENCE, first, rest @ ..] = bytes else {
        return None;
    };
    if first & LONG == 0 {
        return Some(2 + usize::from(*first));
    }
    let n_bytes = usize::from(first & !LONG);
    let digits = rest.get(..n_bytes).filter(|_| (1..=4).contains(&n_bytes))?;
    let content = digits
        .iter()
        .fold(0_usize, |length, digit| (length << 8) | usize::from(*digit));
    content.checked_add(2 + n_bytes)
}

fn text(tag: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(tag, der), config)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::spiffe::X509svid;

    use super::*;

    #[test]
    fn sequences_are_split_by_their_lengths() {
        let mut long = vec![0x30, 0x82, 0x01, 0x00];
        long.extend([7; 256]);
        let mut both = vec![0x30, 2, 1, 2];
        both.extend(&long);
        let parts = split(&both).unwrap();
        assert_eq!(parts, [&[0x30, 2, 1, 2][..], &long[..]]);
        assert_eq!(split(&[]).unwrap(), [] as [&[u8]; 0]);
    }

    #[test]
    fn what_is_no_sequence_is_refused() {
        for bytes in [
            &[0x30][..],
            &[0x31, 0],
            &[0x30, 1],
            &[0x30, 0x80],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0, 9],
        ] {
            assert_eq!(split(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_without_identity_or_certificate_is_refused() {
        let mut message = X509svidResponse::default();
        assert_eq!(material(&message).err(), Some(MaterialError::Nobody));
        message.svids.push(X509svid::default());
        let what = "certificate";
        assert_eq!(material(&message).err(), Some(MaterialError::Der { what }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_whole_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(parts) = split(&bytes) {
                prop_assert_eq!(parts.concat(), bytes);
            }
        }
    }
}
