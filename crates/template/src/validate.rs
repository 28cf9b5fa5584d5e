//! Checking annotations before anything is rendered.
//!
//! Called first for each pod that is to be injected; the values of these annotations become arguments and fields of privileged containers.
//! The table is Istio's with one row more; all that is wrong is reported at once, and no value that passes can be anything but what it says.

use std::net::IpAddr;

use serde_json::Value;

use crate::{pod, proxy_config, quantity};

/// An annotation with a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} for annotation {annotation}: expected {expected}{}", detail.as_deref().map(|detail| format!(", but {detail}")).unwrap_or_default())]
pub struct InvalidAnnotation {
    /// Its key.
    pub annotation: String,
    /// Its value, shortened if it is very long.
    pub value: String,
    /// What it could be.
    pub expected: &'static str,
    /// What exactly is wrong, where that is not plain to see.
    pub detail: Option<String>,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
enum Rule {
    InterceptionMode,
    Port,
    Ports,
    PortsOrAll,
    Cidrs,
    CidrsOrAll,
    Interfaces,
    Count,
    Boolean,
    Quantity,
    ProxyConfig,
}

/// Every annotation that is checked, by key.
const RULES: &[(&str, Rule)] = &[
    ("istio.io/reroute-virtual-interfaces", Rule::Interfaces),
    ("prometheus.istio.io/merge-metrics", Rule::Boolean),
    (contract::annotations::PROXY_CONFIG, Rule::ProxyConfig),
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
    ("sidecar.istio.io/interceptionMode", Rule::InterceptionMode),
    ("sidecar.istio.io/proxyCPU", Rule::Quantity),
    ("sidecar.istio.io/proxyCPULimit", Rule::Quantity),
    ("sidecar.istio.io/proxyMemory", Rule::Quantity),
    ("sidecar.istio.io/proxyMemoryLimit", Rule::Quantity),
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

/// Characters of a value that messages show.
const MAX_SHOWN: usize = 120;

/// The keys of the annotations that are checked.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(key, _)| *key)
}

/// Checks the annotations of `pod`; what is wrong comes in the order of the keys.
pub(crate) fn annotations(pod: &Value) -> Vec<InvalidAnnotation> {
    let Some(annotations) = pod::metadata_map(pod, "annotations") else {
        return Vec::new();
    };
    RULES
        .iter()
        .filter_map(|(key, rule)| {
            let value = annotations.get(*key)?.as_str()?;
            let detail = rule.check(value).err()?;
            Some(InvalidAnnotation {
                annotation: (*key).to_owned(),
                value: shortened(value),
                expected: rule.expected(),
                detail,
            })
        })
        .collect()
}

/// The value as messages show it.
pub(crate) fn shortened(value: &str) -> String {
    match value.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", value.get(..at).unwrap_or_default()),
        None => value.to_owned(),
    }
}

// === impl Rule ===

impl Rule {
    fn expected(self) -> &'static str {
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
            Self::Quantity => "a quantity such as 100m or 128Mi",
            Self::ProxyConfig => "a ProxyConfig in YAML",
        }
    }

    /// Whether the value fits; `Err` may say more than what was expected.
    fn check(self, value: &str) -> Result<(), Option<String>> {
        let all =
            |items: &str, fits: fn(&str) -> bool| match items.split(',').find(|item| !fits(item)) {
                Some(item) if items.contains(',') => Err(Some(format!("{item:?} is none"))),
                Some(_) => Err(None),
                None => Ok(()),
            };
        let plain = |fits: bool| if fits { Ok(()) } else { Err(None) };
        match self {
            Self::InterceptionMode => plain(matches!(value, "REDIRECT" | "TPROXY" | "NONE")),
            Self::Port => plain(is_port(value)),
            Self::PortsOrAll | Self::CidrsOrAll if value == "*" => Ok(()),
            Self::Ports | Self::PortsOrAll if value.trim().is_empty() => Ok(()),
            Self::Ports | Self::PortsOrAll => all(value, is_port),
            Self::Cidrs | Self::CidrsOrAll | Self::Interfaces if value.is_empty() => Ok(()),
            Self::Cidrs | Self::CidrsOrAll => all(value, is_cidr),
            Self::Interfaces => all(value, is_interface),
            Self::Count => plain(is_digits(value) && value.parse::<u32>().is_ok()),
            Self::Boolean => plain(boolean(value).is_some()),
            Self::Quantity => plain(quantity::is_quantity(value)),
            Self::ProxyConfig => proxy_config::parse(value)
                .map(drop)
                .map_err(|error| Some(error.to_string())),
        }
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
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// A boolean in each of Go's spellings (`strconv.ParseBool`).
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn problems(annotations: &Value) -> Vec<String> {
        super::annotations(&json!({"metadata": {"annotations": annotations}}))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Keys with values that fit and values that do not.
    const VALUES: &[(&str, &[&str], &[&str])] = &[
        (
            "sidecar.istio.io/interceptionMode",
            &["REDIRECT", "TPROXY", "NONE"],
            &["redirect", ""],
        ),
        (
            "status.sidecar.istio.io/port",
            &["0", "15020", " 1 "],
            &["", "65536", "-1", "+1", "http"],
        ),
        (
            "traffic.sidecar.istio.io/includeInboundPorts",
            &["*", "", "80,443"],
            &["80,", "*,80", "80-90"],
        ),
        (
            "traffic.sidecar.istio.io/excludeInboundPorts",
            &["", "80, 443"],
            &["*"],
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundPorts",
            &["80"],
            &["80\",\"-x"],
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundPorts",
            &["80"],
            &["80\"\n    - \"-m", "*"],
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges",
            &["*", "", "10.0.0.0/8,fd00::/8"],
            &[
                "10.0.0.1",
                "10.0.0.0/33",
                "10.0.0.0/08",
                "10.0.0.0/8, fd00::/8",
            ],
        ),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
            &["", "0.0.0.0/0"],
            &["*"],
        ),
        (
            "traffic.sidecar.istio.io/excludeInterfaces",
            &["", "eth0,veth-1.2_3"],
            &["0eth", "abcdefghijklmnop", "eth0,", "eth 0"],
        ),
        (
            "readiness.status.sidecar.istio.io/periodSeconds",
            &["0", "4294967295"],
            &["", "-1", "1.5", "4294967296"],
        ),
        (
            "prometheus.istio.io/merge-metrics",
            &["t", "FALSE", "1"],
            &["yes", ""],
        ),
        (
            "sidecar.istio.io/proxyCPU",
            &["100m", "0.5", "1", "1e3", "2Ki"],
            &["", "1 m", "m", "1.5.5", "1\n", "100mm"],
        ),
        (
            "proxy.istio.io/config",
            &["", "concurrency: 2", "{\"statusPort\": 15021}"],
            &["concurrency: two", "a: [", "- a"],
        ),
    ];

    #[test]
    fn values_are_checked_by_their_type() {
        for (key, good, bad) in VALUES {
            for value in *good {
                assert_eq!(
                    problems(&json!({*key: value})),
                    Vec::<String>::new(),
                    "{key} {value:?}"
                );
            }
            for value in *bad {
                assert_eq!(problems(&json!({*key: value})).len(), 1, "{key} {value:?}");
            }
        }
    }

    #[test]
    fn all_problems_are_reported_with_key_value_and_what_is_expected() {
        assert_eq!(
            problems(
                &json!({"status.sidecar.istio.io/port": "http", "traffic.sidecar.istio.io/excludeInboundPorts": "80,x", "other": "x"})
            ),
            [
                "invalid value \"http\" for annotation status.sidecar.istio.io/port: expected a port from 0 to 65535",
                "invalid value \"80,x\" for annotation traffic.sidecar.istio.io/excludeInboundPorts: expected a comma list of ports, but \"x\" is none",
            ]
        );
    }

    #[test]
    fn nineteen_annotations_of_istio_are_checked_and_one_more() {
        assert_eq!(RULES.len(), 20);
        assert!(RULES.is_sorted_by_key(|(key, _)| key));
    }

    proptest! {
        #[test]
        fn nothing_that_passes_can_end_a_quoted_string(value in "[0-9a-z.,:/ \"\n*-]{0,20}") {
            for (key, rule) in RULES {
                if !matches!(rule, Rule::ProxyConfig) && problems(&json!({*key: &value})).is_empty() {
                    prop_assert!(!value.contains(['"', '\\']), "{} {:?}", key, value);
                }
            }
        }
    }
}
