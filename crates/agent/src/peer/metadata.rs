//! What sidecars tell each other about their workloads: the fields `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id`.
//!
//! The value is a base64 protobuf structure with Istio's names (`extensions/common/metadata_object.cc` of istio/proxy). [`own_fields`]
//! writes it once at start, [`decode`] reads a peer's; what a peer calls itself becomes clean and short label values, whatever it is.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use contract::{headers, labels};

use super::{
    names::{PartyNames, UNKNOWN},
    structure::{self, Malformed, Value},
};
use crate::workload::Workload;

/// Why a peer's metadata cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The field is longer than any sidecar writes it.
    #[error("peer metadata of {len} bytes is too long, at most {MAX_FIELD} are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// The field is no base64.
    #[error("peer metadata is not base64")]
    Base64,
    /// The bytes are no structure, or cut.
    #[error("peer metadata is not a protobuf structure")]
    Structure,
}

/// Longest field that is read. Istio's own have a few hundred bytes, those with many additional labels a few thousand.
pub const MAX_FIELD: usize = 8 * 1024;
/// Longest value of a label in bytes, the length that Istio gives names in metrics by default (`statNameLength`).
pub const MAX_LABEL: usize = 189;
/// Longest identity in bytes: its namespace may have 63 and its service account 253 characters.
pub const MAX_PRINCIPAL: usize = 512;

/// Istio pads; Envoy also takes what is not padded.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Names of the peer that has sent `field`, the bytes of `x-envoy-peer-metadata`. Its identity is not among them: that is known from
/// its certificate alone.
///
/// # Errors
/// The field is too long or not in the format; all its names are unknown then.
pub fn decode(field: &[u8]) -> Result<PartyNames, MetadataError> {
    if field.len() > MAX_FIELD {
        return Err(MetadataError::TooLong { len: field.len() });
    }
    let bytes = BASE64.decode(field).map_err(|_| MetadataError::Base64)?;
    let mut names = PartyNames::default();
    read(&bytes, &mut names).map_err(|Malformed| MetadataError::Structure)?;
    Ok(names)
}

fn read(structure: &[u8], names: &mut PartyNames) -> Result<(), Malformed> {
    structure::for_each(structure, |member, value| {
        match (member, value) {
            (b"NAMESPACE", Value::Text(text)) => set(&mut names.namespace, text),
            (b"WORKLOAD_NAME", Value::Text(text)) => set(&mut names.workload, text),
            (b"CLUSTER_ID", Value::Text(text)) => set(&mut names.cluster, text),
            (b"LABELS", Value::Structure(labels)) => read_labels(labels, names)?,
            _ => {}
        }
        Ok(())
    })
}

fn read_labels(structure: &[u8], names: &mut PartyNames) -> Result<(), Malformed> {
    structure::for_each(structure, |label, value| {
        let Value::Text(text) = value else {
            return Ok(());
        };
        for (known, name) in [
            (labels::APP, &mut names.app),
            (labels::VERSION, &mut names.version),
            (labels::CANONICAL_NAME, &mut names.canonical_service),
            (labels::CANONICAL_REVISION, &mut names.canonical_revision),
        ] {
            if label == known.as_bytes() {
                set(name, text);
            }
        }
        Ok(())
    })
}

fn set(name: &mut String, told: &[u8]) {
    let value = label_value(told, MAX_LABEL);
    if !value.is_empty() {
        *name = value;
    }
}

/// What of `told` may be a label: without control characters, at most `max` bytes, cut between characters.
pub(super) fn label_value(told: &[u8], max: usize) -> String {
    let mut value: String = String::from_utf8_lossy(told)
        .chars()
        .filter(|char| !char.is_control())
        .collect();
    value.truncate(value.floor_char_boundary(max));
    value
}

/// The value of `x-envoy-peer-metadata` of a workload. Only what is known is in it, in the order of names, as Istio writes it.
#[must_use]
pub fn encode(workload: &Workload) -> String {
    let structure = |members: &[(&str, &String)]| {
        let mut bytes = Vec::new();
        for (name, value) in members.iter().filter(|(_, value)| *value != UNKNOWN) {
            structure::put_text(&mut bytes, name, value);
        }
        bytes
    };
    let labels = structure(&[
        (labels::APP, &workload.app),
        (labels::CANONICAL_NAME, &workload.canonical_name),
        (labels::CANONICAL_REVISION, &workload.canonical_revision),
        (labels::VERSION, &workload.version),
    ]);
    let mut bytes = structure(&[("CLUSTER_ID", &workload.cluster)]);
    structure::put_structure(&mut bytes, "LABELS", &labels);
    bytes.extend(structure(&[
        ("NAME", &workload.pod),
        ("NAMESPACE", &workload.namespace),
        ("WORKLOAD_NAME", &workload.name),
    ]));
    BASE64.encode(bytes)
}

/// The value of `x-envoy-peer-metadata-id`, `sidecar~10.0.0.7~web-0.shop~shop.svc.cluster.local`. Peers remember by it what they have
/// read, so there is none where it would not tell this pod from others.
#[must_use]
pub fn node_id(workload: &Workload) -> Option<String> {
    let Workload {
        pod,
        namespace,
        address,
        ..
    } = workload;
    let is_known = [pod, namespace, address]
        .iter()
        .all(|name| *name != UNKNOWN);
    is_known.then(|| format!("sidecar~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"))
}

/// The lines that tell a peer who this workload is, each with its CR LF. Values that could end a line are left out.
#[must_use]
pub fn own_fields(workload: &Workload) -> Vec<u8> {
    let id = node_id(workload).filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
    let mut lines = Vec::new();
    for (name, value) in [
        (headers::PEER_METADATA_ID, id),
        (headers::PEER_METADATA, Some(encode(workload))),
    ] {
        if let Some(value) = value {
            lines.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    lines
}

#[cfg(test)]
mod tests;
