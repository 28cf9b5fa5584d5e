//! What each annotation may say.
//!
//! Asked by the check of a pod's annotations, one value at a time.
//! A rule refuses what can only be a mistake or an attack: whatever Istio takes and can make something of passes, such as switches with words that
//! count as off, or images without a registry, which templates ignore.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{boolean, shortened};
use crate::{proxy_config, quantity};

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    InterceptionMode,
    Port,
    Ports,
    PortsOrAll,
    Cidrs,
    CidrsOrAll,
    Interfaces,
    Count,
    Boolean,
    /// A word that switches something, or not.
    Switch,
    Quantity,
    Image,
    ImageType,
    LogLevels,
    ConfigMap,
    Volumes,
    ProxyConfig,
}

/// Every annotation that is checked, by key.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("istio.io/reroute-virtual-interfaces", Rule::Interfaces),
    ("prometheus.istio.io/merge-metrics", Rule::Boolean),
    (contract::annotations::PROXY_CONFIG, Rule::ProxyConfig),
    (
        "readiness.status.sidecar.istio.io/applicationPorts",
        Rule::Ports,
    ),
    (
        "readiness.status.sidecar.istio.io/failureThreshold",
        Rule::Count,
    ),
    (
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        Rule::Count,
    ),
    (
        "readiness.status.sidecar.istio.io/periodSeconds",
        Rule::Count,
    ),
    ("sidecar.istio.io/agentLogLevel", Rule::LogLevels),
    ("sidecar.istio.io/bootstrapOverride", Rule::ConfigMap),
    ("sidecar.istio.io/capNetBindService", Rule::Switch),
    ("sidecar.istio.io/componentLogLevel", Rule::LogLevels),
    (
        contract::annotations::INTERCEPTION_MODE,
        Rule::InterceptionMode,
    ),
    ("sidecar.istio.io/logLevel", Rule::LogLevels),
    (contract::annotations::NATIVE_SIDECAR, Rule::Switch),
    ("sidecar.istio.io/proxyCPU", Rule::Quantity),
    ("sidecar.istio.io/proxyCPULimit", Rule::Quantity),
    (contract::annotations::PROXY_IMAGE, Rule::Image),
    ("sidecar.istio.io/proxyImageType", Rule::ImageType),
    ("sidecar.istio.io/proxyMemory", Rule::Quantity),
    ("sidecar.istio.io/proxyMemoryLimit", Rule::Quantity),
    ("sidecar.istio.io/userVolume", Rule::Volumes),
    ("sidecar.istio.io/userVolumeMount", Rule::Volumes),
    (contract::annotations::STATUS_PORT, Rule::Port),
    (contract::annotations::EXCLUDE_INBOUND_PORTS, Rule::Ports),
    (
        "traffic.sidecar.istio.io/excludeInterfaces",
        Rule::Interfaces,
    ),
    (
        contract::annotations::EXCLUDE_OUTBOUND_IP_RANGES,
        Rule::Cidrs,
    ),
    (contract::annotations::EXCLUDE_OUTBOUND_PORTS, Rule::Ports),
    (
        contract::annotations::INCLUDE_INBOUND_PORTS,
        Rule::PortsOrAll,
    ),
    (
        contract::annotations::INCLUDE_OUTBOUND_IP_RANGES,
        Rule::CidrsOrAll,
    ),
    // Istio does not check this one, though it ends up between the arguments of the same privileged container.
    (contract::annotations::INCLUDE_OUTBOUND_PORTS, Rule::Ports),
    (
        "traffic.sidecar.istio.io/kubevirtInterfaces",
        Rule::Interfaces,
    ),
];

/// The longest name of a network interface in Linux: `IFNAMSIZ` less the closing zero.
const MAX_INTERFACE_NAME: usize = 15;

/// The longest tag of an image (OCI distribution specification); a variant becomes part of one.
const MAX_TAG: usize = 128;

/// The longest name of a ConfigMap: that of a DNS subdomain.
const MAX_SUBDOMAIN: usize = 253;

/// The longest name of a volume: that of a DNS label.
const MAX_LABEL: usize = 63;

// === impl Rule ===

impl Rule {
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::InterceptionMode => "REDIRECT, TPROXY or NONE",
            Self::Port => "a port from 0 to 65535",
            Self::Ports => "a comma list of ports",
            Self::PortsOrAll => "a comma list of ports, or *",
            Self::Cidrs => "a comma list of CIDRs such as 10.0.0.0/8",
            Self::CidrsOrAll => "a comma list of CIDRs such as 10.0.0.0/8, or *",
            Self::Interfaces => {
                "a comma list of network interfaces, each of at most 15 letters, digits, `_`, `.` and `-`"
            }
            Self::Count => "a whole number",
            Self::Boolean => "true or false",
            Self::Switch => "a word such as true or false",
            Self::Quantity => "a quantity such as 100m or 128Mi",
            Self::Image => "an image such as registry.example.com/agent:1.0",
            Self::ImageType => "the variant of an image, such as debug",
            Self::LogLevels => "log levels such as info, or misc:error,upstream:debug",
            Self::ConfigMap => "the name of a ConfigMap",
            Self::Volumes => "volumes by their names as a JSON object",
            Self::ProxyConfig => "a ProxyConfig in YAML",
        }
    }

    /// Whether the value fits; `Err` may say more than what was expected.
    pub(super) fn check(self, value: &str) -> Result<(), Option<String>> {
        let plain = |fits: bool| if fits { Ok(()) } else { Err(None) };
        match self {
            Self::InterceptionMode => plain(matches!(value, "REDIRECT" | "TPROXY" | "NONE")),
            Self::Port => plain(is_port(value)),
            Self::PortsOrAll | Self::CidrsOrAll if value == "*" => Ok(()),
            Self::Ports | Self::PortsOrAll if value.trim().is_empty() => Ok(()),
            Self::Ports | Self::PortsOrAll => all(value, is_port),
            Self::Cidrs | Self::CidrsOrAll | Self::Interfaces | Self::LogLevels
                if value.is_empty() =>
            {
                Ok(())
            }
            Self::Cidrs | Self::CidrsOrAll => all(value, is_cidr),
            Self::Interfaces => all(value, is_interface),
            Self::LogLevels => all(value, is_log_level),
            Self::Count => plain(is_digits(value) && value.parse::<u32>().is_ok()),
            Self::Boolean => plain(boolean(value).is_some()),
            Self::Switch => plain(is_word(value)),
            Self::Quantity => plain(quantity::is_quantity(value)),
            Self::Image => plain(is_image(value)),
            Self::ImageType => plain(value.len() <= MAX_TAG && is_word(value)),
            Self::ConfigMap => {
                plain(value.len() <= MAX_SUBDOMAIN && value.split('.').all(is_label))
            }
            Self::Volumes => volumes(value),
            Self::ProxyConfig => proxy(value),
        }
    }
}

fn all(items: &str, fits: fn(&str) -> bool) -> Result<(), Option<String>> {
    match items.split(',').find(|item| !fits(item)) {
        Some(item) if items.contains(',') => Err(Some(format!("{:?} is none", shortened(item)))),
        Some(_) => Err(None),
        None => Ok(()),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_port(text: &str) -> bool {
    let text = text.trim();
    is_digits(text) && text.parse::<u16>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let canonical = is_digits(length) && (length == "0" || !length.starts_with('0'));
    match (address.parse(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => canonical && length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => canonical && length <= 128,
        _ => false,
    }
}

fn is_interface(text: &str) -> bool {
    let name = text.trim();
    name.len() <= MAX_INTERFACE_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && is_word(name)
}

/// Letters, digits, `_`, `.` and `-`, or nothing.
fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `LEVEL` or `SCOPE:LEVEL`.
fn is_log_level(text: &str) -> bool {
    let item = text.trim();
    let (scope, level) = item.split_once(':').unwrap_or(("any", item));
    [scope, level]
        .iter()
        .all(|word| !word.is_empty() && is_word(word))
}

/// The characters that a reference of an image consists of.
fn is_image(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-/:@".contains(&byte))
}

/// A DNS label (RFC 1123).
fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Volumes or mounts: an object by the volumes' names, or a list as Istio's reference has it.
fn volumes(text: &str) -> Result<(), Option<String>> {
    let parsed: Value =
        serde_json::from_str(text).map_err(|error| Some(format!("it is no JSON: {error}")))?;
    let items: Vec<&Value> = match &parsed {
        Value::Object(volumes) => {
            if let Some(name) = volumes.keys().find(|name| !is_label(name)) {
                return Err(Some(format!(
                    "{:?} is no name of a volume",
                    shortened(name)
                )));
            }
            volumes.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        _ => return Err(None),
    };
    if items.iter().any(|item| !item.is_object()) {
        return Err(Some("each volume must be an object".to_owned()));
    }
    match items.into_iter().find_map(directive) {
        Some(key) => Err(Some(format!("{:?} is no field", shortened(key)))),
        None => Ok(()),
    }
}

/// A key by which the merge of partial pods takes orders, such as `$patch`.
fn directive(value: &Value) -> Option<&str> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            if key.starts_with('$') {
                Some(key.as_str())
            } else {
                directive(value)
            }
        }),
        Value::Array(items) => items.iter().find_map(directive),
        _ => None,
    }
}

/// A ProxyConfig whose metadata can be variables, and whose image can be one.
fn proxy(text: &str) -> Result<(), Option<String>> {
    let config = proxy_config::parse(text).map_err(|error| Some(shortened(&error.to_string())))?;
    let metadata = config.get("proxyMetadata").and_then(Value::as_object);
    let names = metadata.into_iter().flat_map(Map::keys);
    if let Some(name) = names.into_iter().find(|name| !is_variable(name)) {
        return Err(Some(format!(
            "{:?} in proxyMetadata is no name of a variable",
            shortened(name)
        )));
    }
    match config.get("image").and_then(|image| image.get("imageType")) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(kind)) if Rule::ImageType.check(kind).is_ok() => Ok(()),
        Some(_) => Err(Some("image.imageType is no variant of an image".to_owned())),
    }
}

/// Kubernetes' widest rule for names of variables: printable ASCII without `=`.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}
