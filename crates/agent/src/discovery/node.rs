//! Who asks, in the words of Istio's discovery.
//!
//! Our control plane takes the pod from its token and reads the rest for its log; istiod takes everything from here
//! (`pilot/pkg/model/context.go`, `pilot/pkg/bootstrap`). The node's name is not told: istiod would send all pods of the node to
//! whoever asks on demand.

use std::collections::BTreeMap;

use prost_types::{Struct, Value, value};
use wire::core;

use crate::{mesh::Own, pod_info::Pairs, workload::Workload};

/// The node that the control plane is told.
#[must_use]
pub fn node(workload: &Workload, own: &Own, labels: &Pairs, network: &str) -> core::Node {
    let (namespace, domain) = (&workload.namespace, &own.cluster_domain);
    let addresses: Vec<String> = own.addresses.iter().map(ToString::to_string).collect();
    let first = addresses.first().map_or("", String::as_str);
    let id = format!(
        "sidecar~{first}~{}.{namespace}~{namespace}.svc.{domain}",
        workload.pod
    );
    let mut fields = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(key.to_owned(), text(value));
        }
    };
    add("NAME", &workload.pod);
    add("NAMESPACE", namespace);
    add("SERVICE_ACCOUNT", &workload.service_account);
    add("CLUSTER_ID", &workload.cluster);
    add("WORKLOAD_NAME", &workload.name);
    add("NETWORK", network);
    add("INSTANCE_IPS", &addresses.join(","));
    let labels = labels.iter().map(|(key, value)| (key.clone(), text(value)));
    let labels = Struct {
        fields: labels.collect(),
    };
    let labels = value::Kind::StructValue(labels);
    fields.insert("LABELS".to_owned(), Value { kind: Some(labels) });
    core::Node {
        id,
        cluster: format!("{}.{namespace}", workload.name),
        metadata: Some(Struct { fields }),
        user_agent_name: concat!("minimesh-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Default::default()
    }
}

fn text(text: &str) -> Value {
    Value {
        kind: Some(value::Kind::StringValue(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Told;

    #[test]
    fn istiod_would_understand_who_asks() {
        let told = Told {
            pod_name: Some("web-0".to_owned()),
            namespace: Some("shop".to_owned()),
            service_account: Some("web".to_owned()),
            ..Told::default()
        };
        let labels = Pairs::from([("app".to_owned(), "web".to_owned())]);
        let mut own = Own::new("shop", "web");
        own.addresses = vec!["10.0.0.1".parse().unwrap()];
        let node = node(&Workload::new(told, &labels), &own, &labels, "");
        assert_eq!(
            node.id,
            "sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local"
        );
        let fields = node.metadata.unwrap().fields;
        assert_eq!(fields["SERVICE_ACCOUNT"], text("web"));
        let Some(value::Kind::StructValue(labels)) = &fields["LABELS"].kind else {
            panic!("{fields:?}");
        };
        assert_eq!(labels.fields["app"], text("web"));
        assert!(!fields.contains_key("NODE_NAME"));
    }
}
