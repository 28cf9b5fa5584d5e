//! What the templates of the tests are given.

use serde_json::{Value as Json, json};
use template::gotemplate::Value;

/// A configuration, as a plain map.
pub(crate) fn document() -> Json {
    json!({
        "name": "web",
        "empty": "",
        "n": 3,
        "zero": 0,
        "big": 1000000,
        "port": 15020,
        "pi": 3.25,
        "tiny": 1e-05,
        "yes": true,
        "no": false,
        "nil": null,
        "list": [
            "a",
            "b",
            "c"
        ],
        "nums": [
            3,
            1,
            2
        ],
        "nolist": [],
        "nomap": {},
        "map": {
            "b": 2,
            "a": 1,
            "c": null
        },
        "deep": {
            "x": {
                "y": {
                    "z": "bottom"
                }
            }
        },
        "html": "<a href='x'>&\"</a>",
        "people": [
            {
                "name": "Ann",
                "tags": [
                    "x",
                    "y"
                ]
            },
            {
                "name": "Bob",
                "tags": []
            }
        ],
        "quote": "say \"hi\"\n",
        "uni": "žluťoučký",
        "global": {
            "hub": "docker.io/istio",
            "proxy": {
                "cpu": "100m",
                "limits": {
                    "cpu": 2,
                    "memory": "1Gi"
                }
            }
        },
        "nested": [
            [
                1,
                2
            ],
            [
                3
            ]
        ],
        "nulls": [
            null,
            1,
            {
                "k": null
            }
        ]
    })
}

/// The parts of what an injection template is given.
#[allow(dead_code, reason = "one of the test programs looks at pods")]
pub(crate) fn pod() -> Json {
    json!({
        "TypeMeta": {
            "apiVersion": "apps/v1",
            "kind": "Deployment"
        },
        "DeploymentMeta": {
            "name": "web",
            "namespace": "shop"
        },
        "ObjectMeta": {
            "name": "web-1",
            "labels": {
                "app": "web",
                "version": "v1",
                "app.kubernetes.io/name": "shop-web"
            },
            "annotations": {
                "sidecar.istio.io/proxyCPU": "200m",
                "empty": "",
                "status.sidecar.istio.io/port": "15099",
                "user": "{{ .Values }}"
            }
        },
        "Spec": {
            "serviceAccountName": "robot",
            "hostNetwork": false,
            "dnsPolicy": "ClusterFirst",
            "containers": [
                {
                    "name": "app",
                    "image": "reg:5000/shop/web:1.2@sha256:abc",
                    "ports": [
                        {
                            "name": "http",
                            "containerPort": 8080,
                            "protocol": "TCP"
                        },
                        {
                            "containerPort": 53,
                            "protocol": "UDP"
                        },
                        {
                            "containerPort": 9090
                        }
                    ],
                    "readinessProbe": {
                        "httpGet": {
                            "path": "/x",
                            "port": 8080
                        }
                    },
                    "tty": true
                },
                {
                    "name": "istio-proxy",
                    "ports": [
                        {
                            "containerPort": 15090
                        }
                    ]
                }
            ],
            "securityContext": {
                "fsGroup": 1337
            }
        },
        "ProxyConfig": {
            "interceptionMode": "TPROXY",
            "proxyMetadata": {
                "A": "1",
                "ISTIO_META_X": "y"
            },
            "concurrency": 2,
            "statusPort": 15020,
            "discoveryAddress": "istiod.istio-system.svc:15012",
            "drainDuration": "45s",
            "terminationDrainDuration": "90s",
            "holdApplicationUntilProxyStarts": true,
            "configPath": "./etc/istio/proxy",
            "serviceCluster": "istio-proxy",
            "proxyAdminPort": 15000,
            "controlPlaneAuthPolicy": "MUTUAL_TLS",
            "statNameLength": 189,
            "binaryPath": "/usr/local/bin/envoy"
        },
        "MeshConfig": {
            "trustDomain": "cluster.local",
            "extensionProviders": [
                {
                    "name": "otel",
                    "opentelemetry": {
                        "service": "c.o11y",
                        "port": 4317,
                        "serviceAttributeEnrichment": "OTEL_SEMANTIC_CONVENTIONS"
                    }
                }
            ]
        },
        "Values": {
            "global": {
                "proxy": {
                    "statusPort": 15020,
                    "image": "proxyv2",
                    "privileged": false
                },
                "network": "",
                "bignum": 1234567
            },
            "revision": ""
        }
    })
}

/// The parts put together, with the types that an injection template knows them by.
#[allow(dead_code, reason = "one of the test programs looks at pods")]
pub(crate) fn injection(json: &Json) -> Value<'_> {
    let part = |name: &str| Value::go_struct(&json[name]);
    Value::record(
        "injection data",
        [
            ("TypeMeta", part("TypeMeta")),
            ("DeploymentMeta", part("DeploymentMeta")),
            ("ObjectMeta", part("ObjectMeta")),
            ("Spec", part("Spec")),
            ("ProxyConfig", part("ProxyConfig")),
            ("MeshConfig", part("MeshConfig")),
            ("Values", Value::plain(&json["Values"])),
            ("Revision", Value::from("canary")),
            ("NativeSidecars", Value::Bool(true)),
            ("ProxyUID", Value::Nil),
            ("CompliancePolicy", Value::from("")),
        ],
    )
}
