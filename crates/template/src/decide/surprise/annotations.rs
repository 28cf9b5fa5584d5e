//! Surprises in annotations: names that nothing reads, old forms, and values that do not do what they seem to.
//!
//! The table of known names is Istio's (`annotation/annotations.gen.go` of its API) with what its templates read beside it.

use contract::{
    annotations::{PROXY_IMAGE, STATUS},
    labels,
    pod::PROXY_CONTAINER,
};
use serde_json::Value;

use super::{Code, MAX_LISTED, Surprise, listed};
use crate::pod;

/// Names below these belong to the mesh.
const PREFIXES: [&str; 7] = [
    "sidecar.istio.io/",
    "traffic.sidecar.istio.io/",
    "status.sidecar.istio.io/",
    "readiness.status.sidecar.istio.io/",
    "proxy.istio.io/",
    "inject.istio.io/",
    "prometheus.istio.io/",
];

/// Every name below [`PREFIXES`] that something reads or writes.
const KNOWN: [&str; 45] = [
    "inject.istio.io/templates",
    "prometheus.istio.io/merge-metrics",
    "prometheus.istio.io/scrape-targets",
    "prometheus.istio.io/secure-port",
    "proxy.istio.io/config",
    "proxy.istio.io/overrides",
    "readiness.status.sidecar.istio.io/failureThreshold",
    "readiness.status.sidecar.istio.io/initialDelaySeconds",
    "readiness.status.sidecar.istio.io/periodSeconds",
    "sidecar.istio.io/agentLogLevel",
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/capNetBindService",
    "sidecar.istio.io/componentLogLevel",
    "sidecar.istio.io/discoveryAddress",
    "sidecar.istio.io/extraStatTags",
    "sidecar.istio.io/inject",
    "sidecar.istio.io/interceptionMode",
    "sidecar.istio.io/logLevel",
    "sidecar.istio.io/nativeSidecar",
    "sidecar.istio.io/proxyCPU",
    "sidecar.istio.io/proxyCPULimit",
    "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/proxyImageType",
    "sidecar.istio.io/proxyMemory",
    "sidecar.istio.io/proxyMemoryLimit",
    "sidecar.istio.io/rewriteAppHTTPProbers",
    "sidecar.istio.io/statsCompression",
    "sidecar.istio.io/statsEvictionInterval",
    "sidecar.istio.io/statsFlushInterval",
    "sidecar.istio.io/statsHistogramBuckets",
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionRegexps",
    "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/status",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/userVolumeMount",
    "status.sidecar.istio.io/port",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/excludeInterfaces",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundPorts",
    "traffic.sidecar.istio.io/kubevirtInterfaces",
];

/// Names that are labels on pods too, or nothing but labels.
const LABELS: [&str; 1] = [labels::INJECT];

/// Old names, and what to do instead.
const DEPRECATED: [(&str, &str); 5] = [
    (labels::INJECT, "use the label of that name"),
    (
        "traffic.sidecar.istio.io/kubevirtInterfaces",
        "use istio.io/reroute-virtual-interfaces",
    ),
    (
        "readiness.status.sidecar.istio.io/applicationPorts",
        "nothing reads it any more",
    ),
    (
        "sidecar.istio.io/controlPlaneAuthPolicy",
        "nothing reads it any more",
    ),
    (
        "sidecar.istio.io/enableCoreDump",
        "nothing reads it any more",
    ),
];

/// Two wrong letters in a short name are another name; a longer one may have more.
const LETTERS_PER_ERROR: usize = 4;
/// Names that are longer than any that is known by this much are not compared.
const MAX_EXCESS: usize = 16;

pub(super) fn surprises(pod: &Value, injected: &Value) -> impl Iterator<Item = Surprise> {
    [
        as_label(pod),
        unknown(pod),
        deprecated(pod),
        image_ignored(pod, injected),
        partial_resources(pod),
    ]
    .into_iter()
    .flatten()
}

fn as_label(pod: &Value) -> Option<Surprise> {
    let found: Vec<_> = keys(pod, "labels")
        .filter(|key| is_ours(key) && !LABELS.contains(key))
        .collect();
    (!found.is_empty())
        .then(|| Code::AnnotationAsLabel.of(format!("nothing reads the label {}", listed(&found))))
}

fn unknown(pod: &Value) -> Option<Surprise> {
    let is_old = |key: &&str| DEPRECATED.iter().any(|(old, _)| old == key);
    let found: Vec<_> = keys(pod, "annotations")
        .filter(|key| is_ours(key) && !KNOWN.contains(key) && !is_old(key))
        .enumerate()
        // Comparing is work, so it is done for those that are shown and no others.
        .map(
            |(idx, key)| match (idx < MAX_LISTED).then(|| nearest(key)).flatten() {
                Some(known) => format!("{key} (did you mean {known}?)"),
                None => key.to_owned(),
            },
        )
        .collect();
    (!found.is_empty()).then(|| {
        Code::UnknownAnnotation.of(format!("nothing reads the annotation {}", listed(&found)))
    })
}

fn deprecated(pod: &Value) -> Option<Surprise> {
    let present = pod::metadata_map(pod, "annotations")?;
    let found: Vec<_> = DEPRECATED
        .iter()
        .filter(|(key, _)| present.contains_key(*key))
        .map(|(key, instead)| format!("{key} ({instead})"))
        .collect();
    (!found.is_empty()).then(|| {
        Code::DeprecatedAnnotation.of(format!("the annotation is outdated: {}", listed(&found)))
    })
}

/// Istio's template takes whole images only, others may take anything; the result tells.
fn image_ignored(pod: &Value, injected: &Value) -> Option<Surprise> {
    let wanted = pod::annotation(pod, PROXY_IMAGE).filter(|image| !image.is_empty())?;
    // The author's own sidecar keeps the image that it was given there.
    if pod::annotation(pod, STATUS).is_none() && pod::find(pod, PROXY_CONTAINER).is_some() {
        return None;
    }
    let image = pod::text(pod::find(injected, PROXY_CONTAINER)?, &["image"]);
    (image != wanted).then(|| {
        Code::ImageIgnored.of(format!(
            "annotation {PROXY_IMAGE} is {wanted:?}, but the image is {image:?}"
        ))
    })
}

/// If one of the four is annotated, the configured resources are dropped altogether, as in Istio.
fn partial_resources(pod: &Value) -> Option<Surprise> {
    let has = |name: &str| pod::annotation(pod, &format!("sidecar.istio.io/proxy{name}")).is_some();
    let any = ["CPU", "Memory", "CPULimit", "MemoryLimit"]
        .into_iter()
        .any(has);
    let lacking: Vec<_> = ["CPU", "Memory"]
        .into_iter()
        .filter(|name| !has(name))
        .collect();
    (any && !lacking.is_empty()).then(|| {
        Code::PartialResources.of(format!(
            "an annotation gives the sidecar's resources, so the configured ones are dropped and it requests no {}",
            lacking.join(" and no ")
        ))
    })
}

fn keys<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    let map = pod::metadata_map(pod, field).into_iter().flatten();
    map.map(|(key, _)| key.as_str())
}

fn is_ours(key: &str) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// The known name that `key` was probably meant to be; prefixes are as easily confused as names.
fn nearest(key: &str) -> Option<&'static str> {
    let longest = KNOWN.iter().map(|known| known.len()).max()?;
    if key.len() > longest + MAX_EXCESS {
        return None;
    }
    let name = |key: &str| key.split_once('/').map(|(_, name)| name.to_lowercase());
    let same_name = KNOWN.into_iter().find(|known| name(known) == name(key));
    same_name.or_else(|| {
        let (distance, known) = KNOWN
            .into_iter()
            .map(|known| (distance(key, known), known))
            .min()?;
        let letters = key.split_once('/').map_or(0, |(_, name)| name.len());
        (distance <= (letters / LETTERS_PER_ERROR).max(1)).then_some(known)
    })
}

/// How many letters must be inserted, removed or replaced to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line_idx, letter) in one.chars().enumerate() {
        let mut diagonal = line_idx;
        let mut left = line_idx + 1;
        let mut next = vec![left];
        for (wanted, above) in other.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(*wanted != letter);
            left = replaced.min(left + 1).min(above + 1);
            next.push(left);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
