//! A message of any type, as discovery carries its resources.
//!
//! The same bytes as `google.protobuf.Any`. Its contents are shared rather than copied, so that what is encoded once can be sent to
//! every sidecar.

use prost::{DecodeError, Message, Name, bytes::Bytes};

/// A message and the name of its type.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message, encoded.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Why a message is not what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// It says that it is of another type.
    #[error("a message of type {actual:?} where {expected} is expected")]
    Other {
        /// The type that it names, at most 100 characters of it.
        actual: String,
        /// The type that it should be of.
        expected: String,
    },
    /// Its bytes are no such message.
    #[error("the message is no {expected}")]
    Garbled {
        /// The type that it should be of.
        expected: String,
        /// What is wrong with the bytes.
        source: DecodeError,
    },
}

/// How much of a wrong type's name an error shows: it comes from a peer.
const MAX_SHOWN: usize = 100;

// === impl Any ===

impl Any {
    /// Encodes `message`.
    #[must_use]
    pub fn pack<M: Message + Name>(message: &M) -> Self {
        Self {
            type_url: M::type_url(),
            value: message.encode_to_vec().into(),
        }
    }

    /// Decodes it as a message of type `M`.
    ///
    /// # Errors
    /// When it is of another type, or its bytes are no message of this one.
    pub fn unpack<M: Message + Name + Default>(&self) -> Result<M, TypeError> {
        let expected = M::type_url();
        if self.type_url != expected {
            return Err(TypeError::Other {
                actual: self.type_url.chars().take(MAX_SHOWN).collect(),
                expected,
            });
        }
        M::decode(self.value.clone()).map_err(|source| TypeError::Garbled { expected, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{minimesh, workload};

    #[test]
    fn what_is_packed_unpacks_as_the_same_type_only() {
        let service = workload::Service {
            name: "web".to_owned(),
            ..Default::default()
        };
        let any = Any::pack(&service);
        assert_eq!(any.type_url, "type.googleapis.com/istio.workload.Service");
        assert_eq!(any.unpack::<workload::Service>().ok(), Some(service));
        let error = any.unpack::<workload::Workload>().unwrap_err().to_string();
        assert_eq!(
            error,
            "a message of type \"type.googleapis.com/istio.workload.Service\" where \
             type.googleapis.com/istio.workload.Workload is expected"
        );
    }

    #[test]
    fn garbage_is_no_message() {
        let any = Any {
            type_url: minimesh::MeshSettings::type_url(),
            value: Bytes::from_static(b"\xff\xff"),
        };
        let error = any.unpack::<minimesh::MeshSettings>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the message is no type.googleapis.com/minimesh.discovery.v1.MeshSettings"
        );
    }

    #[test]
    fn the_bytes_are_those_of_googles_any() {
        let settings = minimesh::MeshSettings {
            trust_domain: "mesh".to_owned(),
            ..Default::default()
        };
        let googles = prost_types::Any::from_msg(&settings)
            .unwrap()
            .encode_to_vec();
        assert_eq!(Any::pack(&settings).encode_to_vec(), googles);
    }
}
