//! Go field names and what they are called in JSON.
//! The parser prepares a [`FieldName`] for each field that a template mentions; values look them up with it.
//! There are no type tables: a name maps to JSON by rule, and the few fields whose zero value is visible in a template
//! are listed here.

use super::value::Value;

/// Fields whose value is a map with verbatim keys, by JSON name. All other objects in a struct are structs.
const MAPS: &[&str] = &[
    "annotations",
    "binaryData",
    "customTags",
    "data",
    "environmentVariables",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "options",
    "overhead",
    "proxyMetadata",
    "requests",
    "runtimeValues",
    "stringData",
    "volumeAttributes",
];

/// The fields of structs that templates write as JSON, in the order in which Go declares them: a container's port, then
/// the proxy configuration and its parts. One list is enough, because the parts do not contradict each other.
const DECLARED: &[&str] = &[
    "name",
    "hostPort",
    "containerPort",
    "protocol",
    "hostIP",
    "configPath",
    "binaryPath",
    "serviceCluster",
    "tracingServiceName",
    "drainDuration",
    "discoveryAddress",
    "discoveryRefreshDelay",
    "zipkinAddress",
    "statsdUdpAddress",
    "envoyMetricsServiceAddress",
    "proxyAdminPort",
    "availabilityZone",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "statNameLength",
    "concurrency",
    "proxyBootstrapTemplatePath",
    "interceptionMode",
    "tracing",
    "sds",
    "envoyAccessLogService",
    "envoyMetricsService",
    "proxyMetadata",
    "runtimeValues",
    "statusPort",
    "extraStatTags",
    "gatewayTopology",
    "terminationDrainDuration",
    "meshId",
    "readinessProbe",
    "proxyStatsMatcher",
    "holdApplicationUntilProxyStarts",
    "caCertificatesPem",
    "image",
    "privateKeyProvider",
    "proxyHeaders",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "statsCompression",
    "connectionSettings",
    "address",
    "accessToken",
    "zipkin",
    "lightstep",
    "datadog",
    "stackdriver",
    "openCensusAgent",
    "customTags",
    "maxPathTagLength",
    "sampling",
    "tlsSettings",
    "enableIstioTags",
    "tcpKeepalive",
    "mode",
    "clientCertificate",
    "privateKey",
    "caCertificates",
    "credentialName",
    "subjectAltNames",
    "sni",
    "insecureSkipVerify",
    "caCrl",
    "probes",
    "time",
    "interval",
    "numTrustedProxies",
    "forwardClientCertDetails",
    "proxyProtocol",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "httpGet",
    "tcpSocket",
    "exec",
    "grpc",
    "path",
    "port",
    "host",
    "scheme",
    "httpHeaders",
    "inclusionPrefixes",
    "inclusionSuffixes",
    "inclusionRegexps",
];

/// Names that the rule for capitals gets wrong.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("CephFS", "cephfs"),
    ("IPs", "ips"),
    ("ObjectMeta", "metadata"),
    ("StorageOS", "storageos"),
    ("WWIDs", "wwids"),
];

/// Structs that Go embeds and JSON does not show: their fields are those of the outer struct.
const EMBEDDED: &[&str] = &[
    "EphemeralContainerCommon",
    "LocalObjectReference",
    "ProbeHandler",
    "TypeMeta",
    "VolumeSource",
];

/// A field name as a template writes it, prepared for looking it up.
#[derive(Clone, Debug)]
pub(crate) struct FieldName {
    go: Box<str>,
    json: Box<str>,
    getter: Option<Box<Self>>,
    embedded: bool,
    identity: bool,
    zero: Zero,
}

/// The zero value of a field, where printing it shows more than an empty text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Zero {
    Unknown,
    False,
    Number,
    Name(&'static str),
}

// === impl FieldName ===

impl FieldName {
    pub(crate) fn new(go: &str) -> Self {
        let json = json_name(go);
        let getter = go
            .strip_prefix("Get")
            .filter(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()))
            .map(|rest| Box::new(Self::new(rest)));
        Self {
            zero: getter
                .as_ref()
                .map_or_else(|| zero(&json), |name| name.zero),
            embedded: EMBEDDED.contains(&go),
            identity: matches!(go, "GetValue" | "Value" | "String"),
            go: go.into(),
            json: json.into(),
            getter,
        }
    }

    /// The name as it is written, which is also the key in a map.
    pub(crate) fn go(&self) -> &str {
        &self.go
    }

    /// The name in the JSON of a struct.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// For `GetX`, the field `X` that the getter of a message reads.
    pub(crate) fn getter(&self) -> Option<&Self> {
        self.getter.as_deref()
    }

    /// Whether the field is an embedded struct, which JSON flattens.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// Whether the field of a scalar is the scalar: wrapper messages and enumerations are plain in JSON.
    pub(crate) fn is_identity(&self) -> bool {
        self.identity
    }

    /// The value of the field where the JSON does not have it.
    pub(crate) fn zero<'a>(&self) -> Value<'a> {
        match self.zero {
            Zero::Unknown => Value::Absent,
            Zero::False => Value::Bool(false),
            Zero::Number => Value::Int(0),
            Zero::Name(name) => name.into(),
        }
    }
}

/// Whether the field with this JSON name is a map with verbatim keys.
pub(crate) fn is_map(json: &str) -> bool {
    MAPS.binary_search(&json).is_ok()
}

/// Where a field stands in its struct, for writing JSON as Go does; behind all others when that is not known.
pub(crate) fn declared_position(json: &str) -> usize {
    let position = DECLARED.iter().position(|known| *known == json);
    position.unwrap_or(DECLARED.len())
}

/// The JSON name of a Go field: leading capitals become lower case, except the one that starts the next word
/// (`DNSPolicy` is `dnsPolicy`, `HostIPC` is `hostIPC`).
fn json_name(go: &str) -> String {
    if let Some((_, json)) = EXCEPTIONS.iter().find(|(name, _)| *name == go) {
        return (*json).to_owned();
    }
    let capitals = go.chars().take_while(char::is_ascii_uppercase).count();
    let next_is_lower = go
        .chars()
        .nth(capitals)
        .is_some_and(|next| next.is_ascii_lowercase());
    let lowered = if capitals > 1 && next_is_lower {
        capitals - 1
    } else {
        capitals
    };
    go.chars()
        .enumerate()
        .map(|(position, letter)| {
            if position < lowered {
                letter.to_ascii_lowercase()
            } else {
                letter
            }
        })
        .collect()
}

fn zero(json: &str) -> Zero {
    match json {
        "hostIPC" | "hostNetwork" | "hostPID" | "readOnly" | "stdin" | "stdinOnce" | "tty" => {
            Zero::False
        }
        "containerPort" | "generation" | "hostPort" | "proxyAdminPort" | "statNameLength"
        | "statusPort" => Zero::Number,
        "interceptionMode" => Zero::Name("REDIRECT"),
        "controlPlaneAuthPolicy" => Zero::Name("NONE"),
        _ => Zero::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_names_map_to_the_json_names_of_kubernetes() {
        for (go, json) in [
            ("Name", "name"),
            ("ServiceAccountName", "serviceAccountName"),
            ("DNSPolicy", "dnsPolicy"),
            ("HTTPGet", "httpGet"),
            ("TCPSocket", "tcpSocket"),
            ("GRPC", "grpc"),
            ("TTY", "tty"),
            ("FSGroup", "fsGroup"),
            ("UID", "uid"),
            ("HostIPC", "hostIPC"),
            ("HostPID", "hostPID"),
            ("HostIP", "hostIP"),
            ("PodIPs", "podIPs"),
            ("SELinuxOptions", "seLinuxOptions"),
            ("APIVersion", "apiVersion"),
            ("H2UpgradePolicy", "h2UpgradePolicy"),
            ("IP", "ip"),
            ("IPs", "ips"),
            ("CephFS", "cephfs"),
            ("GMSACredentialSpec", "gmsaCredentialSpec"),
        ] {
            assert_eq!(json_name(go), json, "{go}");
        }
    }

    #[test]
    fn the_list_of_maps_is_sorted_for_searching() {
        assert!(MAPS.is_sorted());
        assert!(is_map("labels") && is_map("annotations") && !is_map("spec"));
    }
}
