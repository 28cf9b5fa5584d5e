//! `values.yaml`, its schema and the README say the same.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;
use testkit::golden;

use super::helm::{chart, file, yaml_file};

const TABLE_BEGINS: &str = "<!-- values: written from values.yaml -->\n";
const TABLE_ENDS: &str = "<!-- end of values -->\n";

/// A value that has a comment.
struct Documented {
    path: Vec<String>,
    comment: String,
}

fn schema() -> Value {
    serde_json::from_str(&file("values.schema.json")).expect("JSON")
}

/// The commented keys of `values.yaml` in order; a key whose parent has a comment belongs to its parent.
fn documented(text: &str) -> Vec<Documented> {
    let mut found: Vec<Documented> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut comment = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        if let Some(text) = content.strip_prefix("# ") {
            comment.push(text);
        } else if let Some((key, _)) = content
            .split_once(':')
            .filter(|_| !content.starts_with('-'))
        {
            path.truncate(depth);
            path.push(key.to_owned());
            if !comment.is_empty() {
                found.push(Documented {
                    path: path.clone(),
                    comment: comment.join(" "),
                });
            }
            comment.clear();
        } else {
            // An empty line parts the header of the file from the first key.
            comment.clear();
        }
    }
    found
}

fn at<'a>(values: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(values, |value, key| &value[key])
}

fn table() -> String {
    let values = yaml_file("values.yaml");
    let mut table = "| value | default | what it is |\n|---|---|---|\n".to_owned();
    for Documented { path, comment } in documented(&file("values.yaml")) {
        let default = at(&values, &path);
        let comment = comment.replace('|', "\\|");
        writeln!(table, "| `{}` | `{default}` | {comment} |", path.join(".")).unwrap();
    }
    table
}

/// Every key with its parents' keys, as far as the schema knows them by name.
fn keys_of_schema(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        keys_of_schema(schema, &path, keys);
        keys.insert(path);
    }
}

/// The keys of `values` as far as the schema knows them by name.
fn keys_of_values(values: &Value, schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let schema = &schema["properties"][key];
        if schema["properties"].is_object() {
            keys_of_values(value, schema, &path, keys);
        }
        keys.insert(path);
    }
}

/// Calls `f` with every schema inside of `schema` and where it is.
fn every_schema(schema: &Value, path: &str, f: &mut impl FnMut(&Value, &str)) {
    f(schema, path);
    for group in ["properties", "patternProperties", "definitions"] {
        for (key, inner) in schema[group].as_object().into_iter().flatten() {
            every_schema(inner, &format!("{path}/{group}/{key}"), f);
        }
    }
    for group in ["items", "additionalProperties"] {
        if schema[group].is_object() {
            every_schema(&schema[group], &format!("{path}/{group}"), f);
        }
    }
    for inner in schema["anyOf"].as_array().into_iter().flatten() {
        every_schema(inner, &format!("{path}/anyOf"), f);
    }
}

#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    let schema = schema();
    let (mut of_schema, mut of_values) = (BTreeSet::new(), BTreeSet::new());
    keys_of_schema(&schema, "", &mut of_schema);
    keys_of_values(&yaml_file("values.yaml"), &schema, "", &mut of_values);
    assert_eq!(of_schema, of_values);
}

/// A map is closed, or all of its values have a type; only what telemetry providers are told is their own affair.
#[test]
fn no_level_of_the_schema_takes_just_anything() {
    const PROVIDERS: &str = "/definitions/meshConfig/properties/extensionProviders/items/";
    let mut findings = Vec::new();
    every_schema(&schema(), "", &mut |schema, path| {
        let is_closed = schema["additionalProperties"] == false;
        let is_typed = schema["additionalProperties"].is_object();
        if schema["type"] == "object" && !is_closed && !is_typed && !path.starts_with(PROVIDERS) {
            findings.push(path.to_owned());
        }
    });
    assert!(findings.is_empty(), "{findings:?}");
}

/// Otherwise `null` would take a default away and leave a template with nothing.
#[test]
fn every_value_is_required_so_that_null_cannot_remove_it() {
    let mut findings = Vec::new();
    let schema = schema();
    every_schema(&schema, "", &mut |schema, path| {
        if path.starts_with("/definitions") {
            return;
        }
        let required = schema["required"].as_array();
        for key in schema["properties"].as_object().into_iter().flatten() {
            if !required.is_some_and(|required| required.iter().any(|name| name == key.0)) {
                findings.push(format!("{path}/{}", key.0));
            }
        }
    });
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn every_value_has_a_comment() {
    let schema = schema();
    let mut leaves = BTreeSet::new();
    keys_of_schema(&schema, "", &mut leaves);
    let parents: BTreeSet<String> = leaves
        .iter()
        .filter_map(|path| path.rsplit_once('.'))
        .map(|(parent, _)| parent.to_owned())
        .collect();
    let documented: BTreeSet<String> = documented(&file("values.yaml"))
        .iter()
        .map(|value| format!(".{}", value.path.join(".")))
        .collect();
    let leaves: BTreeSet<String> = leaves.difference(&parents).cloned().collect();
    assert_eq!(documented, leaves);
}

/// `UPDATE_EXPECT=1` writes the table anew.
#[test]
fn the_readme_lists_every_value() {
    let readme = file("README.md");
    let (head, rest) = readme.split_once(TABLE_BEGINS).expect("the table's begin");
    let (_, tail) = rest.split_once(TABLE_ENDS).expect("the table's end");
    let expected = format!("{head}{TABLE_BEGINS}\n{}\n{TABLE_ENDS}{tail}", table());
    if let Err(difference) = golden::compare(&chart().join("README.md"), &expected) {
        panic!("{difference}");
    }
}
