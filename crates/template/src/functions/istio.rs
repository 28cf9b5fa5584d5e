//! Istio's functions.
//! Its injection templates call them; this module is their table, with the functions that only need their arguments'
//! text, and the rest is in one module per topic.
//! They stand above the helpers of the same name: `contains`, `indent` and `omit` are Istio's.

mod format;
mod pod;
mod proxy;

use super::arguments::{Given, any, integer, map, text};
use super::json::Style;
use super::{Arity, Function, FunctionError, json, sprig};
use crate::gotemplate::limits::Buffer;
use crate::gotemplate::{Map, Text, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("annotation", Arity::exactly(3), pod::annotation),
    Function::new(
        "appendMultusNetwork",
        Arity::exactly(2),
        pod::append_multus_network,
    ),
    Function::new(
        "applicationPorts",
        Arity::exactly(1),
        pod::application_ports,
    ),
    Function::new("contains", Arity::exactly(2), sprig::text::contains),
    Function::new("directory", Arity::exactly(1), directory),
    Function::informed("env", Arity::exactly(2), env, environment),
    Function::new(
        "excludeInboundPort",
        Arity::exactly(2),
        pod::exclude_inbound_port,
    ),
    Function::new("excludeInterfaces", Arity::exactly(1), identity),
    Function::new("formatDuration", Arity::exactly(1), proxy::format_duration),
    Function::new("fromJSON", Arity::exactly(1), from_json),
    Function::new(
        "includeInboundPorts",
        Arity::exactly(1),
        pod::include_inbound_ports,
    ),
    Function::new("indent", Arity::exactly(2), indent),
    Function::new("isset", Arity::exactly(2), isset),
    Function::new("kubevirtInterfaces", Arity::exactly(1), identity),
    Function::new("mergeMaps", Arity::at_least(0), merge_maps),
    Function::new("omit", Arity::at_least(1), omit),
    Function::new("omitNil", Arity::exactly(1), format::omit_nil),
    Function::new(
        "otelResourceAttributes",
        Arity::exactly(5),
        proxy::otel_resource_attributes,
    ),
    Function::new("protoToJSON", Arity::exactly(1), proxy::proto_to_json),
    Function::new("strdict", Arity::at_least(0), strdict),
    Function::new("structToJSON", Arity::exactly(1), format::to_json),
    Function::new("toJSON", Arity::exactly(1), format::to_json),
    Function::new("toJsonMap", Arity::at_least(0), to_json_map),
    Function::new("toLower", Arity::exactly(1), sprig::text::lower),
    Function::new("toYaml", Arity::exactly(1), format::to_yaml),
    Function::new("valueOrDefault", Arity::exactly(2), value_or_default),
];

/// Functions that were Istio's only as long as a configuration had a single template.
pub(super) const FIRST_FUNCTIONS: &[Function] =
    &[Function::new("render", Arity::exactly(1), render)];

/// `isset map key`.
fn isset<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let value = map(arguments, 0)?.get(&text(arguments, 1)?);
    Ok(Value::Bool(value.is_some()))
}

/// `valueOrDefault value fallback`: the fallback only for nothing and the empty text; 0 and false are values.
fn value_or_default<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let value = any(arguments, 0);
    let unset = match value {
        Value::Missing | Value::Nil | Value::Absent => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Number(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Record(_) => false,
    };
    Ok(if unset { any(arguments, 1) } else { value }.clone())
}

/// `indent spaces text`: each line but the first.
fn indent<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let spaces = integer(arguments, 0)?;
    let spaces = usize::try_from(spaces).map_err(|_| FunctionError::OutOfRange(spaces))?;
    let mut buffer = Buffer::default();
    for (number, line) in text(arguments, 1)?.split('\n').enumerate() {
        if number > 0 {
            buffer.push("\n")?;
            buffer.push_repeated(" ", spaces)?;
        }
        buffer.push(line)?;
    }
    Ok(Value::from(buffer.into_string()))
}

/// A path up to and including its last `/`.
fn directory<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let path = text(arguments, 0)?;
    let length = path.rfind('/').map_or(0, |slash| slash + 1);
    Ok(Value::String(super::go::cut(&path, 0, length)))
}

/// `env name fallback`: what [`environment`] knows of the variable, else the fallback.
fn env<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    text(arguments, 0)?;
    let fallback = text(arguments, 1)?;
    Ok(arguments.get(2).cloned().unwrap_or(Value::String(fallback)))
}

/// A variable of the control plane as the configuration gives it, so that a result does not depend on where it is made.
///
/// Switches of the injecting program have their values here as well: templates of before 1.24 ask for them this way.
fn environment<'a>(data: &Value<'a>, arguments: &[Value<'a>]) -> Option<Value<'a>> {
    let Value::Record(data) = data else {
        return None;
    };
    let name = text(arguments, 0).ok()?;
    let value = match name.as_ref() {
        "COMPLIANCE_POLICY" => data.get("CompliancePolicy")?.clone(),
        "ENABLE_NATIVE_SIDECARS" => data.get("NativeSidecars")?.clone(),
        name => {
            let values = data.get("Values")?.clone();
            ["pilot", "env", name]
                .into_iter()
                .try_fold(values, |value, key| match value {
                    Value::Map(map) => map.get(key),
                    _ => None,
                })?
        }
    };
    let value = match value {
        Value::Bool(truth) => Value::from(truth.to_string()),
        Value::Number(number) => Value::from(number.to_string()),
        other => other,
    };
    Some(value).filter(|value| matches!(value, Value::String(text) if !text.is_empty()))
}

fn identity<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    Ok(Value::String(text(arguments, 0)?))
}

/// A text as it is, where Istio executed it as a template: a search domain, which mostly has no action in it.
fn render<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let text = text(arguments, 0)?;
    if text.contains("[[") || text.contains("{{") {
        return Err(FunctionError::Actions);
    }
    Ok(Value::String(text))
}

/// The value of a JSON text; the text `{}` when it is none.
fn from_json<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let value = json::decode(&text(arguments, 0)?)?;
    Ok(value.unwrap_or_else(|| Value::from("{}")))
}

/// `strdict key value…`, of texts only.
fn strdict<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut entries = Vec::new();
    for index in (0..arguments.len()).step_by(2) {
        let value = super::go::optional_text(arguments, index + 1)?;
        entries.push((
            (&*text(arguments, index)?).into(),
            value.unwrap_or(Text::Borrowed("")),
        ));
    }
    Ok(Value::Map(Map::of_texts(entries)))
}

/// All entries of all maps; later maps win.
fn merge_maps<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut entries = Vec::new();
    for index in 0..arguments.len() {
        for (key, value) in map(arguments, index)?.sorted() {
            entries.push(((&*key).into(), text(&[value], 0)?));
        }
    }
    Ok(Value::Map(Map::of_texts(entries)))
}

fn to_json_map<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    if arguments.is_empty() {
        return Ok(Value::from("null"));
    }
    let merged = merge_maps(arguments)?;
    Ok(Value::from(json::to_text(&merged, Style::Compact)?))
}

/// `omit map key…`, of texts only: all but these keys.
fn omit<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let mut entries = Vec::new();
    let mut omitted = Vec::new();
    for index in 1..arguments.len() {
        omitted.push(text(arguments, index)?);
    }
    for (key, value) in map(arguments, 0)?.sorted() {
        if !omitted.iter().any(|name| **name == *key) {
            entries.push(((&*key).into(), text(&[value], 0)?));
        }
    }
    Ok(Value::Map(Map::of_texts(entries)))
}
