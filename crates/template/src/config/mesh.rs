//! MeshConfig: what the whole mesh has in common.
//!
//! Read at load from key `mesh` of ConfigMap `istio`; templates see it as `.MeshConfig`, the pipeline asks for a few fields.
//! What the text does not say has Istio's default (`pkg/config/mesh/mesh.go`), so that a template finds the same values under either control plane.

use contract::ports;
use serde_json::{Map, Value, json};

use super::{ConfigError, Text};
use crate::{proxy_config, yaml};

/// The mesh's configuration with all defaults filled in.
#[derive(Debug)]
pub(crate) struct Mesh {
    /// All of it, as templates see it.
    pub(crate) fields: Value,
    /// The root namespace, if the text names one: Istio's default is right for an installation in its namespace only.
    pub(crate) root_namespace: Option<String>,
    /// The ProxyConfig that every pod starts with: `defaultConfig`, defaults included.
    pub(crate) proxy_config: Value,
}

// === impl Mesh ===

impl Mesh {
    pub(super) fn read(source: Text<'_>) -> Result<Self, ConfigError> {
        let given = match yaml::parse(source.name, source.text)? {
            Value::Null => Map::new(),
            Value::Object(map) => map,
            _ => return Err(source.wrong("the text", "a map")),
        };
        let root_namespace = given.get("rootNamespace").and_then(Value::as_str);
        let root_namespace = root_namespace.filter(|name| !name.is_empty());
        let root_namespace = root_namespace.map(str::to_owned);
        let mut fields = defaults();
        fields.extend(given.into_iter().filter(|(_, value)| !value.is_null()));
        let given = match fields.remove("defaultConfig") {
            None => Map::new(),
            Some(Value::Object(map)) => {
                proxy_config::normalize(map).map_err(|error| ConfigError::ProxyConfig {
                    origin: source.name.to_owned(),
                    source: error,
                })?
            }
            Some(_) => return Err(source.wrong("defaultConfig", "a map")),
        };
        for (key, fits, expected) in [
            ("proxyListenPort", is_port as fn(&Value) -> bool, "a port"),
            ("proxyInboundListenPort", is_port, "a port"),
            ("rootNamespace", Value::is_string, "a string"),
            ("trustDomain", Value::is_string, "a string"),
            ("accessLogFile", Value::is_string, "a string"),
            ("accessLogEncoding", is_encoding, "TEXT or JSON"),
            ("enablePrometheusMerge", Value::is_boolean, "true or false"),
        ] {
            if fields.get(key).is_some_and(|value| !fits(value)) {
                return Err(source.wrong(key, expected));
            }
        }
        let mut proxy_config = default_proxy_config();
        proxy_config::merge(&mut proxy_config, given);
        let proxy_config = Value::Object(proxy_config);
        fields.insert("defaultConfig".to_owned(), proxy_config.clone());
        Ok(Self {
            fields: Value::Object(fields),
            root_namespace,
            proxy_config,
        })
    }

    pub(crate) fn merges_prometheus(&self) -> bool {
        self.fields
            .get("enablePrometheusMerge")
            .and_then(Value::as_bool)
            .unwrap_or(true)
    }

    /// What templates see as `.InboundTrafficPolicyMode`.
    pub(crate) fn inbound_traffic_policy(&self) -> &'static str {
        match self
            .fields
            .get("inboundTrafficPolicy")
            .and_then(|policy| policy.get("mode")?.as_str())
        {
            Some("LOCALHOST") => "localhost",
            _ => "passthrough",
        }
    }
}

fn is_port(value: &Value) -> bool {
    value
        .as_u64()
        .is_some_and(|port| (1..=65535).contains(&port))
}

fn is_encoding(value: &Value) -> bool {
    matches!(value.as_str(), Some("TEXT" | "JSON"))
}

fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "accessLogEncoding": "TEXT",
        "accessLogFile": "",
        "accessLogFormat": "",
        "connectTimeout": "10s",
        "defaultDestinationRuleExportTo": ["*"],
        "defaultProviders": {},
        "defaultServiceExportTo": ["*"],
        "defaultVirtualServiceExportTo": ["*"],
        "dnsRefreshRate": "60s",
        "enableAutoMtls": true,
        "enablePrometheusMerge": true,
        "enableTracing": true,
        "extensionProviders": [
            {"name": "prometheus", "prometheus": {}},
            {"name": "stackdriver", "stackdriver": {}},
            {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}},
        ],
        "inboundTrafficPolicy": {"mode": "PASSTHROUGH"},
        "ingressClass": "istio",
        "ingressControllerMode": "STRICT",
        "ingressService": "istio-ingressgateway",
        "localityLbSetting": {"enabled": true},
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
        "protocolDetectionTimeout": "0s",
        "proxyInboundListenPort": ports::INBOUND,
        "proxyListenPort": ports::OUTBOUND,
        "rootNamespace": contract::control_plane::NAMESPACE,
        "trustDomain": "cluster.local",
    });
    into_map(defaults)
}

/// ProxyConfig where nobody says anything.
fn default_proxy_config() -> Map<String, Value> {
    let defaults = json!({
        "binaryPath": "/usr/local/bin/envoy",
        "configPath": "./etc/istio/proxy",
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "discoveryAddress": format!("istiod.{}.svc:{}", contract::control_plane::NAMESPACE, ports::DISCOVERY),
        "drainDuration": "45s",
        "proxyAdminPort": ports::ADMIN,
        "serviceCluster": "istio-proxy",
        "statNameLength": 189,
        "statusPort": ports::STATUS,
        "terminationDrainDuration": "5s",
    });
    into_map(defaults)
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
