//! ProxyConfig: what the mesh and a pod's annotation say about one proxy.
//!
//! Called at load for the mesh's `defaultConfig` and for each pod with annotation `proxy.istio.io/config`.
//! Later layers win field by field; only `proxyMetadata` merges by key. Fields that are not known are kept, because the agent may know them.

use serde_json::{Map, Value};

use crate::yaml;

/// A ProxyConfig that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyConfigError {
    /// It is not YAML.
    #[error("it is not YAML: {0}")]
    Yaml(yaml::Error),
    /// It is not a map.
    #[error("it must be a map")]
    NotAMap,
    /// A field has the wrong type or value.
    #[error("field {field} must be {expected}")]
    Field {
        /// The field's name in JSON.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// A boolean of which false is told from absent.
    Boolean,
    Number,
    Port,
    Address,
    Duration,
    /// A duration as Go writes it. The field went before there was a stricter form.
    GoDuration,
    InterceptionMode,
    AuthenticationPolicy,
    Texts,
    TextMap,
    Object,
}

/// The fields of `istio.mesh.v1alpha1.ProxyConfig`.
const FIELDS: &[(&str, Kind)] = &[
    ("availabilityZone", Kind::Text),
    ("binaryPath", Kind::Text),
    ("caCertificatesPem", Kind::Texts),
    ("concurrency", Kind::Number),
    ("configPath", Kind::Text),
    ("connectionSettings", Kind::Object),
    ("controlPlaneAuthPolicy", Kind::AuthenticationPolicy),
    ("customConfigFile", Kind::Text),
    ("discoveryAddress", Kind::Address),
    ("discoveryRefreshDelay", Kind::Duration),
    ("drainDuration", Kind::Duration),
    ("envoyAccessLogService", Kind::Object),
    ("envoyMetricsService", Kind::Object),
    ("envoyMetricsServiceAddress", Kind::Address),
    ("extraStatTags", Kind::Texts),
    ("fileFlushInterval", Kind::Duration),
    ("fileFlushMinSizeKb", Kind::Number),
    ("gatewayTopology", Kind::Object),
    ("holdApplicationUntilProxyStarts", Kind::Boolean),
    ("image", Kind::Object),
    ("interceptionMode", Kind::InterceptionMode),
    ("meshId", Kind::Text),
    ("parentShutdownDuration", Kind::GoDuration),
    ("privateKeyProvider", Kind::Object),
    ("proxyAdminPort", Kind::Port),
    ("proxyBootstrapTemplatePath", Kind::Text),
    ("proxyHeaders", Kind::Object),
    ("proxyMetadata", Kind::TextMap),
    ("proxyStatsMatcher", Kind::Object),
    ("readinessProbe", Kind::Object),
    ("runtimeValues", Kind::TextMap),
    ("serviceCluster", Kind::Text),
    ("statNameLength", Kind::Number),
    ("statsCompression", Kind::Boolean),
    ("statsdUdpAddress", Kind::Address),
    ("statusPort", Kind::Port),
    ("terminationDrainDuration", Kind::Duration),
    ("tracing", Kind::Object),
    ("zipkinAddress", Kind::Text),
];

/// Reads a ProxyConfig; an empty text is an empty one.
pub(crate) fn parse(text: &str) -> Result<Map<String, Value>, ProxyConfigError> {
    match yaml::parse("proxy.istio.io/config", text).map_err(ProxyConfigError::Yaml)? {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => normalize(map),
        _ => Err(ProxyConfigError::NotAMap),
    }
}

/// Checks the known fields, in JSON's spelling or the protocol's (`proxy_metadata`), and brings them into the former.
pub(crate) fn normalize(map: Map<String, Value>) -> Result<Map<String, Value>, ProxyConfigError> {
    map.into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            let key = camel_case(key);
            let kind = FIELDS
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, kind)| *kind);
            match kind {
                Some(kind) if !kind.fits(&value) => Err(ProxyConfigError::Field {
                    field: key,
                    expected: kind.expected(),
                }),
                _ => Ok((key, value)),
            }
        })
        .collect()
}

/// Lays `over` over `base`: field by field, `proxyMetadata` key by key. A field that is set to its type's zero value is as good as absent.
pub(crate) fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        if key == "proxyMetadata"
            && let (Some(Value::Object(base)), Value::Object(over)) = (base.get_mut(&key), &value)
        {
            base.extend(over.clone());
            continue;
        }
        if is_zero(&key, &value) {
            base.remove(&key);
        } else {
            base.insert(key, value);
        }
    }
}

fn is_zero(key: &str, value: &Value) -> bool {
    let kind = FIELDS
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, kind)| *kind);
    match (kind, value) {
        (Some(Kind::InterceptionMode), value) => value == "REDIRECT",
        (Some(Kind::Text | Kind::Address), Value::String(text)) => text.is_empty(),
        (Some(Kind::Texts), Value::Array(list)) => list.is_empty(),
        (Some(Kind::TextMap), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

fn camel_case(key: String) -> String {
    if !key.contains('_') {
        return key;
    }
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut characters = word.chars();
        name.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(characters.as_str());
    }
    name
}

// === impl Kind ===

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Boolean => "true or false",
            Self::Number => "a whole number that is not negative",
            Self::Port => "a port from 1 to 65535",
            Self::Address => "an address such as istiod.istio-system.svc:15012",
            Self::Duration => "a duration in seconds such as 45s or 0.5s",
            Self::GoDuration => "a duration such as 45s or 1m0s",
            Self::InterceptionMode => "REDIRECT, TPROXY or NONE",
            Self::AuthenticationPolicy => "NONE or MUTUAL_TLS",
            Self::Texts => "a list of strings",
            Self::TextMap => "a map of strings; quote its values",
            Self::Object => "a map",
        }
    }

    fn fits(self, value: &Value) -> bool {
        let text = value.as_str();
        // The JSON of the protocol's messages takes digits in quotes for numbers.
        let number = value.as_u64().or_else(|| text?.parse().ok());
        match self {
            Self::Text => text.is_some(),
            Self::Boolean => value.is_boolean(),
            Self::Number => number.is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Port => number.is_some_and(|number| (1..=65535).contains(&number)),
            Self::Address => text.is_some_and(is_address),
            Self::Duration => text.is_some_and(is_duration),
            Self::GoDuration => text.is_some_and(is_go_duration),
            Self::InterceptionMode => matches!(text, Some("REDIRECT" | "TPROXY" | "NONE")),
            Self::AuthenticationPolicy => matches!(text, Some("NONE" | "MUTUAL_TLS")),
            Self::Texts => value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string)),
            Self::TextMap => value
                .as_object()
                .is_some_and(|map| map.values().all(Value::is_string)),
            Self::Object => value.is_object(),
        }
    }
}

/// `HOST:PORT`; a host of letters, digits, `.`, `-` and `_`, or an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    };
    host_fits
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_duration(text: &str) -> bool {
    text.strip_suffix('s').is_some_and(is_decimal)
}

/// Numbers with units, such as `1m0s`.
fn is_go_duration(text: &str) -> bool {
    let mut parts = text.split_inclusive(|character: char| character.is_ascii_alphabetic());
    // The second letter of `ms` is a part of its own, without a number.
    let mut last_unit = "";
    !text.is_empty()
        && parts.all(|part| {
            let (number, unit) = part.split_at_checked(part.len() - 1).unwrap_or_default();
            let is_milli = number.is_empty() && unit == "s" && last_unit == "m";
            last_unit = unit;
            is_milli || (is_decimal(number) && matches!(unit, "h" | "m" | "s"))
        })
}

fn is_decimal(number: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && fraction.len() <= 9,
        None => digits(number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_checked_and_named() {
        for (text, problem) in [
            (
                "concurrency: two",
                "field concurrency must be a whole number that is not negative",
            ),
            (
                "statusPort: 0",
                "field statusPort must be a port from 1 to 65535",
            ),
            (
                "drainDuration: 5m",
                "field drainDuration must be a duration in seconds such as 45s or 0.5s",
            ),
            (
                "discoveryAddress: istiod",
                "field discoveryAddress must be an address such as istiod.istio-system.svc:15012",
            ),
            (
                "proxyMetadata: {A: true}",
                "field proxyMetadata must be a map of strings; quote its values",
            ),
            (
                "proxy_metadata: []",
                "field proxyMetadata must be a map of strings; quote its values",
            ),
            (
                "interceptionMode: X",
                "field interceptionMode must be REDIRECT, TPROXY or NONE",
            ),
            ("[]", "it must be a map"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), problem);
        }
    }

    #[test]
    fn later_layers_win_and_metadata_merges_by_key() {
        let mut base =
            parse("concurrency: 1\nmeshId: m\nproxyMetadata: {A: '1', B: '1'}").expect("fine");
        merge(&mut base, parse("concurrency: '2'\nmesh_id: ''\nproxyMetadata: {B: '2'}\nnovel: {x: 1}\ninterceptionMode: REDIRECT").expect("fine"));
        assert_eq!(
            Value::Object(base),
            json!({"concurrency": "2", "proxyMetadata": {"A": "1", "B": "2"}, "novel": {"x": 1}})
        );
    }

    #[test]
    fn a_field_of_old_has_durations_as_go_writes_them() {
        for (text, fits) in [
            ("60s", true),
            ("1m0s", true),
            ("1h0m0.5s", true),
            ("500ms", true),
            ("1m500ms", true),
            ("", false),
            ("s", false),
            ("ms", false),
            ("1", false),
            ("1ss", false),
            ("1d", false),
            ("1s\"", false),
            ("1.s", false),
            ("1é", false),
        ] {
            assert_eq!(is_go_duration(text), fits, "{text:?}");
        }
    }

    #[test]
    fn the_fields_are_listed_in_order() {
        assert!(FIELDS.is_sorted_by_key(|(name, _)| name));
    }
}
