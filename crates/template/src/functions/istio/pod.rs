//! What templates ask of the pod: its annotations and its containers' ports.
//! Values are those of the pod's author, so that all of them are taken as they are and none is interpreted.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value as Json;

use crate::functions::arguments::{Given, Result, any, text};
use crate::gotemplate::{FieldName, Text, Value, print};

static ANNOTATIONS: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("Annotations"));
static CONTAINER_PORT: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("ContainerPort"));
pub(super) static NAME: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("Name"));
static PORTS: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("Ports"));
static PROTOCOL: LazyLock<FieldName> = LazyLock::new(|| FieldName::new("Protocol"));

/// `annotation meta key fallback`: the annotation if it is there, even if it is empty, else the fallback as text.
pub(super) fn annotation<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let key = text(arguments, 1)?;
    if let Value::Map(annotations) = member(any(arguments, 0), &ANNOTATIONS)
        && let Some(value) = annotations.get(&key)
    {
        return Ok(value);
    }
    match any(arguments, 2) {
        Value::String(fallback) => Ok(Value::String(fallback.clone())),
        other => Ok(Value::from(print::text(other)?.into_owned())),
    }
}

/// `excludeInboundPort port list`: the comma-separated list with the port, unless that is empty, 0 or already in it.
pub(super) fn exclude_inbound_port<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let port = print::text(any(arguments, 0))?;
    let port = port.trim();
    let excluded = text(arguments, 1)?;
    if port.is_empty() || port == "0" || excluded.split(',').any(|known| known == port) {
        return Ok(Value::String(excluded));
    }
    let known = excluded.split(',').map(str::trim);
    let ports: Vec<&str> = known
        .filter(|known| !known.is_empty())
        .chain([port])
        .collect();
    Ok(Value::from(ports.join(",")))
}

/// The ports of all containers, for capture lists of old templates.
pub(super) fn include_inbound_ports<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    ports(any(arguments, 0), |_| true)
}

/// The ports of all containers but the proxy.
pub(super) fn application_ports<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    ports(any(arguments, 0), |name| {
        name != contract::pod::PROXY_CONTAINER
    })
}

fn ports<'a>(containers: &Value<'a>, wanted: fn(&str) -> bool) -> Given<'a> {
    let mut found = Vec::new();
    for container in items(containers) {
        if !wanted(&member_text(&container, &NAME)) {
            continue;
        }
        for port in items(&member(&container, &PORTS)) {
            let protocol = member_text(&port, &PROTOCOL);
            if !matches!(&*protocol, "UDP" | "SCTP") {
                found.push(print::text(&member(&port, &CONTAINER_PORT))?.into_owned());
            }
        }
    }
    Ok(Value::from(found.join(",")))
}

/// `appendMultusNetwork annotation network`: the annotation's list of networks, comma-separated or JSON, with this
/// network; how the user wrote the rest stays. JSON that cannot be read is left alone.
pub(super) fn append_multus_network<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let (existing, network) = (text(arguments, 0)?, text(arguments, 1)?);
    if existing.is_empty() {
        return Ok(Value::String(network));
    }
    let Some((before, after)) = existing.rsplit_once(']') else {
        if existing.split(',').any(|known| known.trim() == &*network) {
            return Ok(Value::String(existing));
        }
        return Ok(Value::from(format!("{}, {}", &*existing, &*network)));
    };
    let Ok(known) = serde_json::from_str::<Vec<BTreeMap<String, Json>>>(&existing) else {
        return Ok(Value::String(existing));
    };
    let (namespace, name) = network.split_once('/').unwrap_or(("", &network));
    let is_known = known.iter().any(|known| {
        let is = |key: &str, value: &str| match known.get(key) {
            Some(Json::String(text)) => text == value,
            None | Some(Json::Null) => value.is_empty(),
            Some(_) => false,
        };
        is("name", name) && is("namespace", namespace)
    });
    if is_known {
        return Ok(Value::String(existing));
    }
    let quoted = |text: &str| Json::from(text).to_string();
    let mut entry = format!("{{\"name\": {}", quoted(name));
    if !namespace.is_empty() {
        entry += &format!(", \"namespace\": {}", quoted(namespace));
    }
    // An empty list has nothing that a comma could follow.
    let comma = if known.is_empty() { "" } else { ", " };
    Ok(Value::from(format!("{before}{comma}{entry}}}]{after}")))
}

/// The elements of a list; none of anything else.
pub(super) fn items<'a>(value: &Value<'a>) -> Vec<Value<'a>> {
    match value {
        Value::List(list) => list.iter().collect(),
        _ => Vec::new(),
    }
}

/// A field that may well be absent, of a value that may be anything.
pub(super) fn member<'a>(value: &Value<'a>, name: &FieldName) -> Value<'a> {
    value.field(name).unwrap_or(Value::Absent)
}

pub(super) fn member_text<'a>(value: &Value<'a>, name: &FieldName) -> Text<'a> {
    match member(value, name) {
        Value::String(text) => text,
        _ => Text::Borrowed(""),
    }
}

/// The text at `key` in a map of annotations or labels; none when it is empty.
pub(super) fn entry<'a>(map: &Value<'a>, key: &str) -> Result<Option<Text<'a>>> {
    let Value::Map(map) = map else {
        return Ok(None);
    };
    match map.get(key) {
        Some(value) => Ok(Some(text(&[value], 0)?).filter(|text| !text.is_empty())),
        None => Ok(None),
    }
}
