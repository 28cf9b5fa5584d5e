//! What templates write into the proxy's environment.
//! The proxy configuration is written without what the agent assumes anyway, which keeps pods small and readable.

use std::sync::LazyLock;

use super::pod::{NAME, entry, items, member, member_text};
use crate::functions::arguments::{Given, any, text, wrong};
use crate::functions::json::{self, Style};
use crate::gotemplate::{FieldName, Value, number};

static ENRICHMENT: LazyLock<FieldName> =
    LazyLock::new(|| FieldName::new("ServiceAttributeEnrichment"));
static IMAGE: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("Image"));
static OPENTELEMETRY: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("Opentelemetry"));
static PROVIDERS: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("ExtensionProviders"));

/// What an agent assumes when its configuration does not say, from Istio's `DefaultProxyConfig`.
const DEFAULTS: &[(&str, Assumed)] = &[
    ("binaryPath", Assumed::Text("/usr/local/bin/envoy")),
    ("configPath", Assumed::Text("./etc/istio/proxy")),
    ("controlPlaneAuthPolicy", Assumed::Text("MUTUAL_TLS")),
    (
        "discoveryAddress",
        Assumed::Text("istiod.istio-system.svc:15012"),
    ),
    ("drainDuration", Assumed::Text("45s")),
    ("proxyAdminPort", Assumed::Number(15000)),
    ("serviceCluster", Assumed::Text("istio-proxy")),
    ("statNameLength", Assumed::Number(189)),
    ("statusPort", Assumed::Number(15020)),
    ("terminationDrainDuration", Assumed::Text("5s")),
];

enum Assumed {
    Text(&'static str),
    Number(i64),
}

/// The message as JSON, without what a proxy assumes anyway.
pub(super) fn proto_to_json<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let text = match any(arguments, 0) {
        Value::Missing | Value::Nil | Value::Absent => "{}".to_owned(),
        Value::Map(message) => {
            let mut fields = json::fields(message);
            fields.retain(|(name, value)| !is_assumed(name, value));
            json::to_object_text(&fields, Style::Message)?
        }
        other => return Err(wrong("message", other)),
    };
    Ok(Value::from(text))
}

fn is_assumed(name: &str, value: &Value<'_>) -> bool {
    let assumed = DEFAULTS.iter().find(|(known, _)| *known == name);
    match (value, assumed) {
        (Value::Missing | Value::Nil | Value::Absent, _) => true,
        (Value::Map(map), None) => name == "proxyMetadata" && map.is_empty(),
        (Value::String(text), Some((_, Assumed::Text(assumed)))) => **text == **assumed,
        (Value::Int(number), Some((_, Assumed::Number(assumed)))) => number == assumed,
        _ => false,
    }
}

/// A duration as Go prints it: `45s`, `1m30s`, `1.5s`.
pub(super) fn format_duration<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let duration = match any(arguments, 0) {
        Value::String(text) => text.clone(),
        Value::Missing | Value::Nil | Value::Absent => return Ok(Value::from("0s")),
        other => return Err(wrong("duration", other)),
    };
    let Some(seconds) = duration
        .strip_suffix('s')
        .and_then(|s| s.parse::<f64>().ok())
    else {
        // Not a message's duration, so it may already be what Go prints.
        return Ok(Value::String(duration));
    };
    Ok(Value::from(go_duration(seconds)))
}

/// The text of a duration in seconds, to the nanosecond.
fn go_duration(seconds: f64) -> String {
    let (sign, total) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs());
    let rest = |value: f64| number::fixed((value * 1e9).round() / 1e9, None);
    if total == 0.0 {
        return "0s".to_owned();
    }
    if total < 1.0 {
        for (unit, factor) in [("ms", 1e3), ("µs", 1e6)] {
            if total * factor >= 1.0 {
                return format!("{sign}{}{unit}", rest(total * factor));
            }
        }
        return format!("{sign}{}ns", rest((total * 1e9).round()));
    }
    let hours = (total / 3600.0).floor();
    let minutes = ((total - hours * 3600.0) / 60.0).floor();
    let seconds = rest(total - hours * 3600.0 - minutes * 60.0);
    match (hours > 0.0, minutes > 0.0) {
        (true, _) => format!("{sign}{hours}h{minutes}m{seconds}s"),
        (false, true) => format!("{sign}{minutes}m{seconds}s"),
        (false, false) => format!("{sign}{seconds}s"),
    }
}

/// `otelResourceAttributes mesh annotations labels namespace containers`: the resource attributes by which OpenTelemetry
/// knows the workload, when a tracing provider of the mesh wants them.
///
/// Follows <https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/#service-attributes>; the pod's name
/// is not known yet, so the kubelet fills it in.
pub(super) fn otel_resource_attributes<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let wanted = items(&member(any(arguments, 0), &PROVIDERS))
        .iter()
        .map(|provider| member(provider, &OPENTELEMETRY))
        .any(|provider| *member_text(&provider, &ENRICHMENT) == *"OTEL_SEMANTIC_CONVENTIONS");
    if !wanted {
        return Ok(Value::from(""));
    }
    let (annotations, labels) = (any(arguments, 1), any(arguments, 2));
    let namespace = text(arguments, 3)?;
    let containers = items(any(arguments, 4));
    let mut attributes = Vec::new();
    match entry(annotations, "resource.opentelemetry.io/service.namespace")? {
        Some(given) => attributes.push(format!("service.namespace={}", &*given)),
        None if namespace.is_empty() => {}
        None => attributes.push(format!("service.namespace={}", &*namespace)),
    }
    let version = match entry(annotations, "resource.opentelemetry.io/service.version")? {
        Some(given) => Some(given),
        None => entry(labels, "app.kubernetes.io/version")?,
    };
    let version = match (version, containers.as_slice()) {
        (Some(given), _) => (*given).to_owned(),
        (None, [container]) => image_version(&member_text(container, &IMAGE)),
        (None, _) => String::new(),
    };
    if !version.is_empty() {
        attributes.push(format!("service.version={version}"));
    }
    match entry(annotations, "resource.opentelemetry.io/service.instance.id")? {
        Some(given) => attributes.push(format!("service.instance.id={}", &*given)),
        None => attributes.extend(containers.first().map(|container| {
            let name = member_text(container, &NAME);
            format!("service.instance.id={}.$(POD_NAME).{}", &*namespace, &*name)
        })),
    }
    Ok(Value::from(attributes.join(",")))
}

/// What tells the version of an image: `tag`, `digest` or `tag@digest`; the empty text when there is neither.
fn image_version(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon in front of the last slash belongs to the registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.rsplit_once(':').map(|(_, tag)| tag);
    let known = [tag, digest].into_iter().flatten();
    known
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("@")
}
