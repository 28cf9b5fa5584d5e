//! A container as Kubernetes' types write it.
//!
//! Used by the pipeline for each container that a template has a part in: Istio reads the merged pod into Go's types and writes it again, and so does the API server.
//! That drops zero values, gives quantities their canonical form, and puts fields into the order of the types; a field that is not in the tables stays as it is, behind
//! the others. Tidying twice is tidying once.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::{Map, Value};

use crate::quantity;

/// The fields of a type, in the order of `k8s.io/api/core/v1`.
type Fields = &'static [(&'static str, Field)];

/// How a field is written.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// As it is: required, or with a zero value that differs from none.
    Kept,
    /// Left out if it is zero, false or empty.
    Optional,
    /// A quantity, zero where it is absent.
    Quantity,
    /// A map of quantities.
    Quantities,
    /// An object.
    Of(Fields),
    /// A list of objects, left out if it is empty.
    Each(Fields),
}

/// A value to be written with its fields in order.
struct Typed<'a> {
    value: &'a Value,
    fields: Fields,
}

/// An object to be written with its fields in order.
pub(crate) struct TypedObject<'a> {
    object: &'a Map<String, Value>,
    fields: Fields,
}

use Field::{Each, Kept, Of, Optional, Quantities, Quantity};

const CONTAINER: Fields = &[
    ("name", Kept),
    ("image", Optional),
    ("command", Optional),
    ("args", Optional),
    ("workingDir", Optional),
    ("ports", Each(PORT)),
    ("envFrom", Optional),
    ("env", Each(VARIABLE)),
    ("resources", Of(RESOURCES)),
    ("resizePolicy", Optional),
    ("restartPolicy", Kept),
    ("restartPolicyRules", Optional),
    ("volumeMounts", Each(VOLUME_MOUNT)),
    ("volumeDevices", Optional),
    ("livenessProbe", Of(PROBE)),
    ("readinessProbe", Of(PROBE)),
    ("startupProbe", Of(PROBE)),
    ("lifecycle", Of(LIFECYCLE)),
    ("terminationMessagePath", Optional),
    ("terminationMessagePolicy", Optional),
    ("imagePullPolicy", Optional),
    ("securityContext", Of(SECURITY_CONTEXT)),
    ("stdin", Optional),
    ("stdinOnce", Optional),
    ("tty", Optional),
];

const PORT: Fields = &[
    ("name", Optional),
    ("hostPort", Optional),
    ("containerPort", Kept),
    ("protocol", Optional),
    ("hostIP", Optional),
];

const VARIABLE: Fields = &[
    ("name", Kept),
    ("value", Optional),
    ("valueFrom", Of(VARIABLE_SOURCE)),
];

const VARIABLE_SOURCE: Fields = &[
    ("fieldRef", Of(FIELD_REFERENCE)),
    ("resourceFieldRef", Of(RESOURCE_REFERENCE)),
    ("configMapKeyRef", Of(KEY_REFERENCE)),
    ("secretKeyRef", Of(KEY_REFERENCE)),
];

const FIELD_REFERENCE: Fields = &[("apiVersion", Optional), ("fieldPath", Kept)];

const RESOURCE_REFERENCE: Fields = &[
    ("containerName", Optional),
    ("resource", Kept),
    ("divisor", Quantity),
];

const KEY_REFERENCE: Fields = &[("name", Optional), ("key", Kept), ("optional", Kept)];

const RESOURCES: Fields = &[
    ("limits", Quantities),
    ("requests", Quantities),
    ("claims", Optional),
];

const VOLUME_MOUNT: Fields = &[
    ("name", Kept),
    ("readOnly", Optional),
    ("recursiveReadOnly", Kept),
    ("mountPath", Kept),
    ("subPath", Optional),
    ("mountPropagation", Kept),
    ("subPathExpr", Optional),
];

const PROBE: Fields = &[
    ("exec", Of(EXEC)),
    ("httpGet", Of(HTTP_GET)),
    ("tcpSocket", Of(TCP_SOCKET)),
    ("grpc", Kept),
    ("initialDelaySeconds", Optional),
    ("timeoutSeconds", Optional),
    ("periodSeconds", Optional),
    ("successThreshold", Optional),
    ("failureThreshold", Optional),
    ("terminationGracePeriodSeconds", Kept),
];

const LIFECYCLE: Fields = &[
    ("postStart", Of(HANDLER)),
    ("preStop", Of(HANDLER)),
    ("stopSignal", Kept),
];

const HANDLER: Fields = &[
    ("exec", Of(EXEC)),
    ("httpGet", Of(HTTP_GET)),
    ("tcpSocket", Of(TCP_SOCKET)),
    ("sleep", Kept),
];

const EXEC: Fields = &[("command", Optional)];

const HTTP_GET: Fields = &[
    ("path", Optional),
    ("port", Kept),
    ("host", Optional),
    ("scheme", Optional),
    ("httpHeaders", Each(HEADER)),
];

const HEADER: Fields = &[("name", Kept), ("value", Kept)];

const TCP_SOCKET: Fields = &[("port", Kept), ("host", Optional)];

const SECURITY_CONTEXT: Fields = &[
    ("capabilities", Of(CAPABILITIES)),
    ("privileged", Kept),
    ("seLinuxOptions", Kept),
    ("windowsOptions", Kept),
    ("runAsUser", Kept),
    ("runAsGroup", Kept),
    ("runAsNonRoot", Kept),
    ("readOnlyRootFilesystem", Kept),
    ("allowPrivilegeEscalation", Kept),
    ("procMount", Kept),
    ("seccompProfile", Of(PROFILE)),
    ("appArmorProfile", Of(PROFILE)),
];

const CAPABILITIES: Fields = &[("add", Optional), ("drop", Optional)];

const PROFILE: Fields = &[("type", Kept), ("localhostProfile", Kept)];

// === impl Field ===

impl Field {
    /// Whether a value is left out.
    fn omits(self, value: &Value) -> bool {
        match self {
            Quantity => false,
            Kept | Of(_) => value.is_null(),
            Optional | Quantities | Each(_) => is_zero(value),
        }
    }

    fn tidy(self, value: &mut Value) {
        match self {
            Kept | Optional => {}
            Quantity => write_canonically(value),
            Quantities => {
                let quantities = value.as_object_mut().into_iter().flatten();
                quantities.for_each(|(_, quantity)| write_canonically(quantity));
            }
            Of(fields) => tidy_object(value, fields),
            Each(fields) => {
                let items = value.as_array_mut().into_iter().flatten();
                items.for_each(|item| tidy_object(item, fields));
            }
        }
    }

    /// The type of the objects in the field.
    fn fields(self) -> Fields {
        match self {
            Kept | Optional | Quantity | Quantities => &[],
            Of(fields) | Each(fields) => fields,
        }
    }
}

// === impl TypedObject ===

impl<'a> TypedObject<'a> {
    /// A container.
    pub(crate) fn container(object: &'a Map<String, Value>) -> Self {
        Self {
            object,
            fields: CONTAINER,
        }
    }
}

impl Serialize for TypedObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.fields.iter().filter_map(|(name, field)| {
            let (name, value) = self.object.get_key_value(*name)?;
            Some((name, value, field.fields()))
        });
        let is_known = |name: &str| self.fields.iter().any(|(known, _)| *known == name);
        let rest = self.object.iter().filter(|(name, _)| !is_known(name));
        let rest = rest.map(|(name, value)| (name, value, &[] as Fields));
        let mut map = serializer.serialize_map(Some(self.object.len()))?;
        for (name, value, fields) in known.chain(rest) {
            map.serialize_entry(name, &Typed { value, fields })?;
        }
        map.end()
    }
}

// === impl Typed ===

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.fields;
        match self.value {
            Value::Object(object) => TypedObject { object, fields }.serialize(serializer),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    list.serialize_element(&Self { value, fields })?;
                }
                list.end()
            }
            other => other.serialize(serializer),
        }
    }
}

/// Writes a container as its type does.
pub(crate) fn tidy(container: &mut Value) {
    tidy_object(container, CONTAINER);
}

fn tidy_object(value: &mut Value, fields: Fields) {
    let Some(object) = value.as_object_mut() else {
        return;
    };
    for (name, field) in fields {
        if matches!(field, Quantity) {
            // A struct in Go, which is never left out.
            let value = object.entry(*name).or_insert(Value::Null);
            if value.is_null() {
                *value = Value::from("0");
            }
        }
        if let Some(value) = object.get_mut(*name) {
            field.tidy(value);
            if field.omits(value) {
                object.remove(*name);
            }
        }
    }
}

/// A quantity may be written as a number as well.
fn write_canonically(value: &mut Value) {
    let canonical = match &*value {
        Value::String(text) => quantity::canonical(text),
        Value::Number(number) => quantity::canonical(&number.to_string()),
        _ => None,
    };
    if let Some(canonical) = canonical {
        *value = Value::String(canonical);
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(container: &Value, expected: &Value) {
        let mut tidied = container.clone();
        tidy(&mut tidied);
        assert_eq!(tidied, *expected);
        tidy(&mut tidied);
        assert_eq!(tidied, *expected, "tidied again");
    }

    #[test]
    fn what_go_leaves_out_is_left_out_and_what_it_keeps_stays() {
        check(
            &json!({
                "name": "a",
                "image": "",
                "args": [],
                "tty": false,
                "restartPolicy": "",
                "env": [{"name": "E", "value": ""}, {"name": "F", "value": "0"}],
                "ports": [{"containerPort": 0, "hostPort": 0, "name": ""}],
                "volumeMounts": [{"name": "v", "mountPath": "", "readOnly": false}],
                "readinessProbe": {"initialDelaySeconds": 0, "periodSeconds": 1, "httpGet": {"port": 0, "path": "", "httpHeaders": []}},
                "securityContext": {"privileged": false, "runAsUser": 0, "capabilities": {"add": [], "drop": ["ALL"]}},
                "resources": {"limits": {}, "claims": []},
                "own": {"zero": 0, "empty": ""},
            }),
            &json!({
                "name": "a",
                "restartPolicy": "",
                "env": [{"name": "E"}, {"name": "F", "value": "0"}],
                "ports": [{"containerPort": 0}],
                "volumeMounts": [{"name": "v", "mountPath": ""}],
                "readinessProbe": {"periodSeconds": 1, "httpGet": {"port": 0}},
                "securityContext": {"privileged": false, "runAsUser": 0, "capabilities": {"drop": ["ALL"]}},
                "resources": {},
                "own": {"zero": 0, "empty": ""},
            }),
        );
    }

    #[test]
    fn quantities_are_canonical_wherever_a_container_has_them() {
        check(
            &json!({
                "name": "a",
                "resources": {"limits": {"cpu": 2, "memory": "1024Mi"}, "requests": {"cpu": 0.1, "example.com/a": "junk"}},
                "env": [
                    {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": 1}}},
                    {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                ],
            }),
            &json!({
                "name": "a",
                "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m", "example.com/a": "junk"}},
                "env": [
                    {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
                    {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
                ],
            }),
        );
    }

    #[test]
    fn what_has_another_shape_than_its_type_stays() {
        for container in [
            json!("text"),
            json!({"env": "text", "ports": {"a": 1}, "resources": [1], "lifecycle": 1}),
            json!({"env": [1, "x"], "resources": {"limits": "x"}}),
        ] {
            check(&container, &container);
        }
    }

    #[test]
    fn fields_are_written_in_the_order_of_the_types_and_unknown_ones_behind() {
        let container = json!({
            "aNewField": {"b": 1, "a": 2},
            "securityContext": {"runAsGroup": 1, "privileged": true},
            "env": [{"value": "v", "name": "n"}],
            "resources": {"requests": {"memory": "1", "cpu": "1"}, "limits": {}},
            "image": "i",
            "name": "a",
        });
        let text = serde_json::to_string(&TypedObject::container(
            container.as_object().expect("an object"),
        ));
        assert_eq!(
            text.expect("plain data"),
            r#"{"name":"a","image":"i","env":[{"name":"n","value":"v"}],"resources":{"limits":{},"requests":{"cpu":"1","memory":"1"}},"securityContext":{"privileged":true,"runAsGroup":1},"aNewField":{"a":2,"b":1}}"#
        );
    }
}
