//! Istio's label set, in Istio's order.
//!
//! The collector turns every key into labels when somebody scrapes; the request path knows no label.
//! One side is this workload, the other is `unknown`: what a peer claims about itself is no label.

use super::series::{Code, Key, Reporter};
use crate::workload::Workload;

/// Labels of one series, as the encoder takes them.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What stands where nothing is known.
const UNKNOWN: &str = "unknown";
/// The revision of a workload that states none.
const LATEST: &str = "latest";

/// One end of a connection.
struct Side<'a> {
    workload: &'a str,
    namespace: &'a str,
    app: &'a str,
    version: &'a str,
    cluster: &'a str,
    canonical_service: &'a str,
    canonical_revision: &'a str,
}

// === impl Side ===

impl<'a> Side<'a> {
    const UNKNOWN: Self = Self {
        workload: UNKNOWN,
        namespace: UNKNOWN,
        app: UNKNOWN,
        version: UNKNOWN,
        cluster: UNKNOWN,
        canonical_service: UNKNOWN,
        canonical_revision: LATEST,
    };

    fn own(workload: &'a Workload) -> Self {
        Self {
            workload: &workload.name,
            namespace: &workload.namespace,
            app: &workload.app,
            version: &workload.version,
            cluster: &workload.cluster,
            canonical_service: &workload.canonical_name,
            canonical_revision: &workload.canonical_revision,
        }
    }
}

/// The labels of `key` as seen by `workload`; the HTTP family has two more than TCP.
pub(super) fn labels(key: &Key, workload: &Workload) -> Labels {
    let own = Side::own(workload);
    let (reporter, source, destination, security) = match key.reporter {
        // The source cannot know whether the destination would have taken it otherwise.
        Reporter::Source => ("source", own, Side::UNKNOWN, UNKNOWN),
        Reporter::Destination => ("destination", Side::UNKNOWN, own, "none"),
    };
    let mut labels: Labels = [
        ("reporter", reporter),
        ("source_workload", source.workload),
        ("source_canonical_service", source.canonical_service),
        ("source_canonical_revision", source.canonical_revision),
        ("source_workload_namespace", source.namespace),
        ("source_principal", UNKNOWN),
        ("source_app", source.app),
        ("source_version", source.version),
        ("source_cluster", source.cluster),
        ("destination_workload", destination.workload),
        ("destination_workload_namespace", destination.namespace),
        ("destination_principal", UNKNOWN),
        ("destination_app", destination.app),
        ("destination_version", destination.version),
        ("destination_service", UNKNOWN),
        (
            "destination_canonical_service",
            destination.canonical_service,
        ),
        (
            "destination_canonical_revision",
            destination.canonical_revision,
        ),
        ("destination_service_name", key.service.as_str()),
        ("destination_service_namespace", destination.namespace),
        ("destination_cluster", destination.cluster),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    match key.code {
        Code::Tcp => labels.push(("request_protocol", "tcp".to_owned())),
        Code::Http(status) => {
            labels.push(("request_protocol", "http".to_owned()));
            labels.push(("response_code", status.to_string()));
            labels.push(("grpc_response_status", String::new()));
        }
        Code::HttpOverflow => {
            labels.push(("request_protocol", "http".to_owned()));
            labels.push(("response_code", "overflow".to_owned()));
            labels.push(("grpc_response_status", String::new()));
        }
    }
    labels.push(("response_flags", key.flag.as_str().to_owned()));
    labels.push(("connection_security_policy", security.to_owned()));
    labels
}
