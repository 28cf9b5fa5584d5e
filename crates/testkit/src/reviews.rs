//! The reviews that the injection benches send.
//!
//! Used by `cargo bench -p template`, in process, and by `cargo xtask bench inject`, over TLS, so that their figures compare.
//! A pod as the API server sends it, defaults filled in, and the same pod with very many variables; they are like what clusters hold: probes, a
//! projected token, an owner, annotations for metrics.

use serde_json::{Value, json};

/// The AdmissionReview (`admission.k8s.io/v1`) of [`pod`].
#[must_use]
pub fn review(n_variables: usize) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "7f0b2891-916f-4ed6-b7cd-27bff1815a8c",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod(n_variables),
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

/// A pod of namespace `shop` whose one container has `n_variables` environment variables.
#[must_use]
pub fn pod(n_variables: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "web-6b7f8d9c5d-",
            "namespace": "shop",
            "creationTimestamp": null,
            "labels": {"app": "web", "version": "v1", "pod-template-hash": "6b7f8d9c5d"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "web-6b7f8d9c5d",
                "uid": "b1e7c2a4-0c7d-4be0-9a3c-3f6c7b0a2d11",
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "containers": [container(n_variables)],
            "volumes": [token_volume()],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "web",
            "serviceAccount": "web",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [toleration("not-ready"), toleration("unreachable")],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    })
}

fn container(n_variables: usize) -> Value {
    let variables: Vec<Value> = (0..n_variables)
        .map(|number| json!({"name": format!("VARIABLE_{number}"), "value": format!("value {number}")}))
        .collect();
    json!({
        "name": "web",
        "image": "registry.example/shop/web:1.4.2",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": variables,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "livenessProbe": probe("/healthz", &json!(8080)),
        "readinessProbe": probe("/ready", &json!("http")),
        "volumeMounts": [{
            "name": "kube-api-access-x2x8p",
            "readOnly": true,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        }],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    })
}

fn probe(path: &str, port: &Value) -> Value {
    json!({
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    })
}

fn token_volume() -> Value {
    json!({
        "name": "kube-api-access-x2x8p",
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ],
        },
    })
}

fn toleration(trouble: &str) -> Value {
    json!({
        "key": format!("node.kubernetes.io/{trouble}"),
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    })
}
