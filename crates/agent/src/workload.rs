//! Who this workload is, in the words of telemetry.
//!
//! Built once at start from the environment and the pod's labels; the data plane puts it into metric labels and log lines.
//! Every field has a value: what nobody told is `unknown`, as in Istio, so label sets never vary.

use contract::labels;

use crate::pod_info::Pairs;

/// The workload's names. All fields are label values, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workload {
    /// Name of the owning workload, `web`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// The pod's first address.
    pub address: String,
    /// Its service account, the last part of its identity.
    pub service_account: String,
    /// The cluster it runs in.
    pub cluster: String,
    /// The mesh's trust domain, the first part of its identity.
    pub trust_domain: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Istio's canonical service name.
    pub canonical_name: String,
    /// Istio's canonical revision; `latest` where no label says it.
    pub canonical_revision: String,
}

/// What the environment tells about the workload; an empty text counts as absent, as templates render unset values so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `POD_NAME`, also the last resort for the workload's name.
    pub pod_name: Option<String>,
    /// `INSTANCE_IP`.
    pub address: Option<String>,
    /// `ISTIO_META_WORKLOAD_NAME`.
    pub workload_name: Option<String>,
    /// `POD_NAMESPACE`.
    pub namespace: Option<String>,
    /// `SERVICE_ACCOUNT`.
    pub service_account: Option<String>,
    /// `ISTIO_META_CLUSTER_ID`.
    pub cluster: Option<String>,
    /// `TRUST_DOMAIN`.
    pub trust_domain: Option<String>,
}

/// What a label says that nobody told.
pub(crate) const UNKNOWN: &str = "unknown";
/// Istio's name for a workload without a revision.
const LATEST: &str = "latest";
/// Istio's default trust domain (`pkg/config/constants`).
const TRUST_DOMAIN: &str = "cluster.local";

// === impl Workload ===

impl Workload {
    /// Puts the names together. The canonical name is the first of the labels `service.istio.io/canonical-name`,
    /// `app.kubernetes.io/name` and `app`, else the workload's name; the revision likewise
    /// (Istio's `pkg/model`, canonical service).
    #[must_use]
    pub fn new(told: Told, labels: &Pairs) -> Self {
        let label = |keys: &[&str]| {
            keys.iter()
                .filter_map(|key| labels.get(*key))
                .find(|value| !value.is_empty())
                .cloned()
        };
        let name = label(&[labels::WORKLOAD_NAME])
            .or_else(|| present(told.workload_name))
            .or_else(|| present(told.pod_name.clone()))
            .unwrap_or_else(|| UNKNOWN.to_owned());
        let or_unknown = |value: Option<String>| value.unwrap_or_else(|| UNKNOWN.to_owned());
        Self {
            namespace: or_unknown(present(told.namespace)),
            pod: or_unknown(present(told.pod_name)),
            address: or_unknown(present(told.address)),
            service_account: or_unknown(present(told.service_account)),
            cluster: or_unknown(present(told.cluster)),
            trust_domain: present(told.trust_domain).unwrap_or_else(|| TRUST_DOMAIN.to_owned()),
            app: or_unknown(label(&[labels::APP])),
            version: or_unknown(label(&[labels::VERSION])),
            canonical_name: label(&[labels::CANONICAL_NAME, labels::APP_NAME, labels::APP])
                .unwrap_or_else(|| name.clone()),
            canonical_revision: label(&[
                labels::CANONICAL_REVISION,
                labels::APP_VERSION,
                labels::VERSION,
            ])
            .unwrap_or_else(|| LATEST.to_owned()),
            name,
        }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self::new(Told::default(), &Pairs::new())
    }
}

fn present(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_info::parse;

    #[test]
    fn labels_give_the_canonical_names() {
        let table = [
            ("", "web", "latest"),
            ("app=\"front\"", "front", "latest"),
            ("app=\"front\"\nversion=\"v2\"", "front", "v2"),
            (
                "app=\"front\"\napp.kubernetes.io/name=\"shop\"\napp.kubernetes.io/version=\"3\"\nversion=\"v2\"",
                "shop",
                "3",
            ),
            (
                "service.istio.io/canonical-name=\"c\"\nservice.istio.io/canonical-revision=\"r\"\napp=\"front\"",
                "c",
                "r",
            ),
            ("service.istio.io/workload-name=\"own\"", "own", "latest"),
            ("app=\"\"", "web", "latest"),
        ];
        for (labels, name, revision) in table {
            let told = Told {
                workload_name: Some("web".to_owned()),
                pod_name: Some("web-0".to_owned()),
                ..Told::default()
            };
            let workload = Workload::new(told, &parse(labels));
            assert_eq!(
                (
                    workload.canonical_name.as_str(),
                    workload.canonical_revision.as_str()
                ),
                (name, revision),
                "{labels}"
            );
        }
    }

    #[test]
    fn what_nobody_told_is_unknown() {
        let workload = Workload::default();
        assert_eq!(workload.name, "unknown");
        assert_eq!(workload.namespace, "unknown");
        assert_eq!(workload.app, "unknown");
        assert_eq!(workload.trust_domain, "cluster.local");
    }

    #[test]
    fn the_pod_lends_its_name_where_no_owner_is_known() {
        let told = Told {
            pod_name: Some("web-0".to_owned()),
            workload_name: Some(String::new()),
            ..Told::default()
        };
        assert_eq!(Workload::new(told, &Pairs::new()).name, "web-0");
    }
}
