//! Annotations that pod authors may set, and what each may hold.
//!
//! Called before anything is rendered, so that no value of a wrong type ever reaches a template; pure.
//! The keys and their types are Istio's; all problems of a pod are reported together.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
};

use contract::annotations as keys;
use serde_json::{Map, Value};

/// An annotation whose value is not of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The annotation.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub expected: &'static str,
}

/// The type of an annotation's value.
#[derive(Clone, Copy)]
struct Type {
    expected: &'static str,
    holds: fn(&str) -> bool,
}

const PORT: Type = Type {
    expected: "a port from 0 to 65535",
    holds: is_port,
};
const PORTS: Type = Type {
    expected: "a comma list of ports from 0 to 65535",
    holds: |value| is_list(value, is_port),
};
const PORTS_OR_ALL: Type = Type {
    expected: "`*` or a comma list of ports from 0 to 65535",
    holds: |value| value == "*" || is_list(value, is_port),
};
const NETWORKS: Type = Type {
    expected: "a comma list of networks such as 10.0.0.0/8 or fd00::/8",
    holds: |value| is_list(value, is_network),
};
const NETWORKS_OR_ALL: Type = Type {
    expected: "`*` or a comma list of networks such as 10.0.0.0/8 or fd00::/8",
    holds: |value| value == "*" || is_list(value, is_network),
};
const INTERFACES: Type = Type {
    expected: "a comma list of interface names, each a letter and up to 14 letters, digits, `_`, `.` or `-`",
    holds: |value| is_list(value, is_interface),
};
const NUMBER: Type = Type {
    expected: "a whole number from 0 to 4294967295",
    holds: |value| value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u32>().is_ok(),
};
const BOOLEAN: Type = Type {
    expected: "true or false",
    holds: |value| go_boolean(value).is_some(),
};
const QUANTITY: Type = Type {
    expected: "a quantity such as 100m or 128Mi",
    holds: is_quantity,
};
const MODE: Type = Type {
    expected: "REDIRECT, TPROXY or NONE",
    holds: |value| matches!(value, "REDIRECT" | "TPROXY" | "NONE"),
};

const TYPES: [(&str, Type); 19] = [
    (keys::STATUS_PORT, PORT),
    (
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        NUMBER,
    ),
    ("readiness.status.sidecar.istio.io/periodSeconds", NUMBER),
    ("readiness.status.sidecar.istio.io/failureThreshold", NUMBER),
    ("sidecar.istio.io/interceptionMode", MODE),
    (keys::INCLUDE_OUTBOUND_IP_RANGES, NETWORKS_OR_ALL),
    (keys::EXCLUDE_OUTBOUND_IP_RANGES, NETWORKS),
    (keys::INCLUDE_INBOUND_PORTS, PORTS_OR_ALL),
    (keys::EXCLUDE_INBOUND_PORTS, PORTS),
    // Istio does not check this one, and so lets an annotation add arguments to a container with NET_ADMIN.
    (keys::INCLUDE_OUTBOUND_PORTS, PORTS_OR_ALL),
    (keys::EXCLUDE_OUTBOUND_PORTS, PORTS),
    ("traffic.sidecar.istio.io/excludeInterfaces", INTERFACES),
    ("traffic.sidecar.istio.io/kubevirtInterfaces", INTERFACES),
    ("istio.io/reroute-virtual-interfaces", INTERFACES),
    ("prometheus.istio.io/merge-metrics", BOOLEAN),
    ("sidecar.istio.io/proxyCPU", QUANTITY),
    ("sidecar.istio.io/proxyMemory", QUANTITY),
    ("sidecar.istio.io/proxyCPULimit", QUANTITY),
    ("sidecar.istio.io/proxyMemoryLimit", QUANTITY),
];

/// Everything wrong with the annotations, in the order of the table; empty if nothing is.
#[must_use]
pub fn annotations(annotations: Option<&Map<String, Value>>) -> Vec<Invalid> {
    let Some(annotations) = annotations else {
        return Vec::new();
    };
    let mut invalid = Vec::new();
    for (key, r#type) in TYPES {
        let Some(value) = annotations.get(key) else {
            continue;
        };
        let text = value.as_str();
        if !text.is_some_and(r#type.holds) {
            invalid.push(Invalid {
                key: key.to_owned(),
                value: text.map_or_else(|| value.to_string(), str::to_owned),
                expected: r#type.expected,
            });
        }
    }
    invalid
}

/// Go's `strconv.ParseBool`.
#[must_use]
pub fn go_boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// An empty text is an empty list.
fn is_list(value: &str, holds: fn(&str) -> bool) -> bool {
    value.is_empty() || value.split(',').all(|item| holds(item.trim()))
}

fn is_port(value: &str) -> bool {
    // `parse` alone would take a leading `+`.
    value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok()
}

fn is_network(value: &str) -> bool {
    let Some((address, prefix_len)) = value.split_once('/') else {
        return false;
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let max = if address.is_ipv4() { 32 } else { 128 };
    prefix_len.bytes().all(|byte| byte.is_ascii_digit())
        && prefix_len.parse::<u8>().is_ok_and(|len| len <= max)
}

fn is_interface(value: &str) -> bool {
    // IFNAMSIZ with its final NUL is 16.
    value.len() <= 15
        && value.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Kubernetes' quantity: a number with a decimal or binary suffix, or an exponent.
fn is_quantity(value: &str) -> bool {
    const SUFFIXES: [&str; 15] = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi",
    ];
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let n_number = unsigned
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(n_number);
    let is_number =
        number.bytes().any(|byte| byte.is_ascii_digit()) && number.matches('.').count() <= 1;
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
    let is_exponent = exponent.is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_number && (SUFFIXES.contains(&suffix) || suffix == "Ei" || is_exponent)
}

// === impl Invalid ===

impl Display for Invalid {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid value {:?} for annotation {:?}: it must be {}",
            self.value, self.key, self.expected
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(key: &str, good: &[&str], bad: &[&str]) {
        for (values, n_invalid) in [(good, 0), (bad, 1)] {
            for value in values {
                let invalid = annotations(json!({key: value}).as_object());
                assert_eq!(invalid.len(), n_invalid, "{key}: {value:?}: {invalid:?}");
            }
        }
    }

    #[test]
    fn each_type_takes_its_values_and_no_others() {
        check(
            keys::STATUS_PORT,
            &["0", "15020", "65535"],
            &["", "65536", "-1", "http", "+1", " 1"],
        );
        check(
            keys::EXCLUDE_INBOUND_PORTS,
            &["", "80", "80, 443"],
            &["*", "80,", "80;443", "99999"],
        );
        check(
            keys::INCLUDE_INBOUND_PORTS,
            &["", "*", "80,443"],
            &["80,*", "all"],
        );
        check(
            keys::INCLUDE_OUTBOUND_PORTS,
            &["", "3306"],
            &["3306\" --dry-run"],
        );
        check(
            keys::INCLUDE_OUTBOUND_IP_RANGES,
            &["*", "", "10.0.0.0/8,fd00::/8"],
            &["10.0.0.1", "10.0.0.0/33", "x/8"],
        );
        check(
            keys::EXCLUDE_OUTBOUND_IP_RANGES,
            &["", "169.254.0.0/16"],
            &["*", "::/129", "10.0.0.0/+8"],
        );
        check(
            "traffic.sidecar.istio.io/excludeInterfaces",
            &["", "eth0,net1.5"],
            &["eth0 -j ACCEPT", "0eth", "a-very-long-name0"],
        );
        check(
            "prometheus.istio.io/merge-metrics",
            &["true", "F", "0"],
            &["yes", ""],
        );
        check(
            "sidecar.istio.io/interceptionMode",
            &["REDIRECT", "NONE"],
            &["redirect", ""],
        );
        check(
            "readiness.status.sidecar.istio.io/periodSeconds",
            &["0", "4294967295"],
            &["4294967296", "1s"],
        );
        check(
            "sidecar.istio.io/proxyCPU",
            &["1", "100m", "0.5", ".5", "1e3", "128Mi", "2E", "1Ei"],
            &["", "m", "1.2.3", "1 Gi", "1e", "ten", "1\n"],
        );
    }

    #[test]
    fn all_problems_are_reported_together_with_what_is_expected() {
        let odd =
            json!({keys::STATUS_PORT: "x", keys::EXCLUDE_INBOUND_PORTS: 80, "other": "anything"});
        let invalid = annotations(odd.as_object());
        assert_eq!(invalid.len(), 2, "{invalid:?}");
        let message = invalid[0].to_string();
        assert!(
            message.contains(keys::STATUS_PORT) && message.contains("65535"),
            "{message}"
        );
    }
}
