//! The mesh's settings, from the configuration to their resource.
//!
//! The follower looks at the injector's live configuration, which is read again when its files change, and puts what is found here into the
//! catalogue. Settings that cannot be used are left to the sidecars' own flags and said in the log, because one of them must not keep back the others.

use prost::Message as _;
use serde_json::Value;
use tracing::warn;
use wire::minimesh::{AccessLogEncoding, MeshSettings, OutboundPolicy};

use super::{
    model::{Cluster, version},
    store::Resource,
};

/// The name of the only resource of its type.
const NAME: &str = "default";

/// What the configuration says of the cluster as a whole.
#[must_use]
pub fn cluster(config: &template::Config) -> Cluster {
    let text = |path: &[&str], default: String| {
        let value = config.value(path).and_then(Value::as_str);
        value
            .filter(|text| !text.is_empty())
            .map_or(default, str::to_owned)
    };
    let default = Cluster::default();
    let trust_domain = config.mesh().get("trustDomain").and_then(Value::as_str);
    Cluster {
        name: text(&["global", "multiCluster", "clusterName"], default.name),
        domain: text(&["global", "proxy", "clusterDomain"], default.domain),
        trust_domain: trust_domain
            .filter(|text| !text.is_empty())
            .map_or(default.trust_domain, str::to_owned),
    }
}

/// The resource of the mesh's settings.
#[must_use]
pub fn resource(config: &template::Config) -> Resource {
    let value = message(config.mesh()).encode_to_vec();
    Resource {
        name: NAME.into(),
        version: version(&value),
        value: value.into(),
        addresses: Box::default(),
        services: Box::default(),
    }
}

/// MeshConfig as JSON, by Istio's names, as sidecars are told it.
fn message(mesh: &Value) -> MeshSettings {
    let text = |key: &str| mesh.get(key).and_then(Value::as_str);
    let outbound = mesh.get("outboundTrafficPolicy");
    let outbound = outbound.and_then(|policy| policy.get("mode")?.as_str());
    let aliases = mesh.get("trustDomainAliases").and_then(Value::as_array);
    MeshSettings {
        outbound_policy: match outbound {
            Some("REGISTRY_ONLY") => OutboundPolicy::RegistryOnly.into(),
            _ => OutboundPolicy::AllowAny.into(),
        },
        enable_auto_mtls: mesh.get("enableAutoMtls").and_then(Value::as_bool),
        access_log_file: text("accessLogFile").map(str::to_owned),
        access_log_encoding: text("accessLogEncoding").map(|encoding| match encoding {
            "JSON" => AccessLogEncoding::Json.into(),
            _ => AccessLogEncoding::Text.into(),
        }),
        protocol_detection_timeout: duration(mesh, "protocolDetectionTimeout"),
        connect_timeout: duration(mesh, "connectTimeout"),
        trust_domain: text("trustDomain").unwrap_or_default().to_owned(),
        trust_domain_aliases: aliases
            .into_iter()
            .flatten()
            .filter_map(|alias| Some(alias.as_str()?.to_owned()))
            .collect(),
    }
}

/// A duration that is more than nothing: Istio's `0s` means that there is no limit, which sidecars decide for themselves.
fn duration(mesh: &Value, key: &str) -> Option<prost_types::Duration> {
    let text = mesh.get(key)?.as_str()?;
    match runtime::duration::parse(text) {
        Ok(duration) if duration.is_zero() => None,
        Ok(duration) => prost_types::Duration::try_from(duration).ok(),
        Err(error) => {
            warn!(field = key, %error, "mesh configuration has a duration that cannot be used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_those_of_the_mesh_configuration() {
        let mesh = json!({
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
            "enableAutoMtls": false,
            "accessLogFile": "/dev/stdout",
            "accessLogEncoding": "JSON",
            "connectTimeout": "1.5s",
            "protocolDetectionTimeout": "0s",
            "trustDomain": "example.org",
            "trustDomainAliases": ["old.example.org"],
        });
        let expected = MeshSettings {
            outbound_policy: OutboundPolicy::RegistryOnly.into(),
            enable_auto_mtls: Some(false),
            access_log_file: Some("/dev/stdout".to_owned()),
            access_log_encoding: Some(AccessLogEncoding::Json.into()),
            protocol_detection_timeout: None,
            connect_timeout: Some(prost_types::Duration {
                seconds: 1,
                nanos: 500_000_000,
            }),
            trust_domain: "example.org".to_owned(),
            trust_domain_aliases: vec!["old.example.org".to_owned()],
        };
        assert_eq!(message(&mesh), expected);
    }

    #[test]
    fn what_makes_no_sense_is_left_to_the_sidecars() {
        let mesh = json!({
            "outboundTrafficPolicy": "odd",
            "enableAutoMtls": "odd",
            "connectTimeout": "soon",
            "trustDomainAliases": [1, "b"],
        });
        let settings = message(&mesh);
        assert_eq!(settings.connect_timeout, None);
        assert_eq!(settings.enable_auto_mtls, None);
        assert_eq!(settings.trust_domain_aliases, ["b"]);
    }
}
