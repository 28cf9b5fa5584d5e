//! Objects of a small cluster, as its API server has them.

use serde_json::{Value, json};
use testkit::api_server::ApiServer;

/// The namespace of the tests' pods.
pub(crate) const SHOP: &str = "shop";
/// The control plane's namespace.
pub(crate) const SYSTEM: &str = "istio-system";
/// The service of [`installed`], by its name in discovery, and its address.
pub(crate) const WEB: &str = "web.shop.svc.cluster.local";

/// A cluster with a node, a service `web` with the pods `web-0` and `web-1`, and a service `other` with the pod `other-0`.
pub(crate) fn installed() -> ApiServer {
    let api = ApiServer::start().unwrap();
    for name in [SYSTEM, SHOP] {
        let labels = json!({"kubernetes.io/metadata.name": name});
        api.put(
            "namespaces",
            json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
                "status": {"phase": "Active"},
            }),
        );
    }
    let zone = json!({"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "r1"});
    api.put(
        "nodes",
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node", "labels": zone}}),
    );
    api.put(
        "configmaps",
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": SYSTEM},
            "data": {"mesh": "trustDomain: cluster.local\n"},
        }),
    );
    // Istio looks for this before it asks for PeerAuthentications.
    api.put(
        "customresourcedefinitions",
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "peerauthentications.security.istio.io"},
        }),
    );
    for (name, address) in [("web", "10.96.0.1"), ("other", "10.96.0.2")] {
        api.put("services", service(name, address));
    }
    for (name, app, address) in [
        ("web-0", "web", "10.0.0.1"),
        ("web-1", "web", "10.0.0.2"),
        ("other-0", "other", "10.0.0.3"),
    ] {
        api.put("pods", pod(name, app, address));
    }
    api
}

pub(crate) fn service(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "selector": {"app": name},
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        },
    })
}

/// A pod that is ready and has a sidecar.
pub(crate) fn pod(name: &str, app: &str, address: &str) -> Value {
    let labels = json!({"app": app, "security.istio.io/tlsMode": "istio"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": SHOP, "labels": labels},
        "spec": {
            "serviceAccountName": app, "nodeName": "node",
            "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A PeerAuthentication for all pods of the mesh.
pub(crate) fn peer_authentication(mode: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": SYSTEM},
        "spec": {"mtls": {"mode": mode}},
    })
}
