//! Configurations that are taken, and those that are refused, with the place of what is wrong.

use std::error::Error;

use template::{Config, Options, Sources, Text};

fn load(config: &str, values: &str, mesh: &str) -> Result<Config, String> {
    let sources = Sources {
        config: Text {
            name: "/etc/inject/config",
            text: config,
        },
        values: Text {
            name: "/etc/inject/values",
            text: values,
        },
        mesh: Text {
            name: "/etc/mesh",
            text: mesh,
        },
    };
    Config::load(&sources, Options::default()).map_err(|error| {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    })
}

#[track_caller]
fn refused(config: &str, values: &str, mesh: &str, expected: &str) {
    let message = load(config, values, mesh)
        .map(drop)
        .expect_err("it cannot be used");
    assert!(
        message.contains(expected),
        "{message:?} does not contain {expected:?}"
    );
}

const GOOD: &str = "templates: {sidecar: 'spec: {}'}";

/// Configurations and what is said of them.
const REFUSED: &[(&str, &str)] = &[
    (
        "policy: enabled\ntemplates:\n  a: b\n  a: c\n",
        "/etc/inject/config:4:3: duplicate key \"a\"",
    ),
    ("policy: [\n", "/etc/inject/config:2:1: "),
    (
        "",
        "/etc/inject/config: there is neither `templates` nor `template`",
    ),
    (
        "policy: enabled\n",
        "/etc/inject/config: there is neither `templates` nor `template`",
    ),
    (
        "templates: {}\n",
        "/etc/inject/config: there is neither `templates` nor `template`",
    ),
    (
        "templates: [a]\n",
        "/etc/inject/config: templates must be a map of templates",
    ),
    (
        "templates: {a: [b]}\n",
        "/etc/inject/config: templates.a must be a template",
    ),
    (
        "templates:\n  a: |\n    x\n    y {{ nothing . }}\n",
        "/etc/inject/config: templates.a is no template: template: a:2:6: function \"nothing\" not defined",
    ),
    (
        "template: \"[[ if ]]\"\n",
        "/etc/inject/config: template is no template: template: sidecar:1:6: missing value for if",
    ),
    (
        "templates: {sidecar: x, unused: '{{'}\n",
        "templates.unused is no template",
    ),
    (
        "defaultTemplates: [a]\ntemplates: {b: x}\n",
        "defaultTemplates names template \"a\", which is not there; there is b",
    ),
    (
        "aliases: {a: [c]}\ntemplates: {b: x}\n",
        "aliases names template \"c\", which is not there; there is b",
    ),
    (
        "neverInjectSelector: [{matchExpressions: [{key: a, operator: Is}]}]\ntemplates: {b: x}\n",
        "neverInjectSelector[0] is no label selector: operator Is of label a is unknown",
    ),
    (
        "neverInjectSelector: {}\ntemplates: {b: x}\n",
        "neverInjectSelector must be a list of label selectors",
    ),
    (
        "injectedAnnotations: {a: [b]}\ntemplates: {b: x}\n",
        "injectedAnnotations[\"a\"] must be a string",
    ),
    (
        "defaultTemplates: a\ntemplates: {b: x}\n",
        "defaultTemplates must be a list of names",
    ),
];

#[test]
fn a_configuration_is_refused_with_file_line_and_column() {
    for (config, expected) in REFUSED {
        refused(config, "", "", expected);
    }
}

#[test]
fn values_and_mesh_are_refused_with_file_and_field() {
    refused(GOOD, "[]", "", "/etc/inject/values: the text must be a map");
    refused(GOOD, "a: b: c", "", "/etc/inject/values:1:");
    refused(GOOD, "", "- a", "/etc/mesh: the text must be a map");
    refused(
        GOOD,
        "",
        "proxyListenPort: 0",
        "/etc/mesh: proxyListenPort must be a port",
    );
    refused(
        GOOD,
        "",
        "accessLogEncoding: XML",
        "/etc/mesh: accessLogEncoding must be TEXT or JSON",
    );
    refused(
        GOOD,
        "",
        "defaultConfig: []",
        "/etc/mesh: defaultConfig must be a map",
    );
    refused(
        GOOD,
        "",
        "defaultConfig: {statusPort: x}",
        "/etc/mesh: defaultConfig cannot be used: field statusPort must be a port from 1 to 65535",
    );
}

#[test]
fn what_istio_takes_is_taken() {
    for config in [
        GOOD,
        // A template that is no YAML by itself.
        "{{ if .Values }}\nspec: {}\n{{ end }}",
        "metadata: {labels: {a: b}}",
        "policy: disabled\ntemplate: |-\n  containers: [[ toJSON .Spec.Containers ]]",
        "policy: strange\ntemplates: {a: x}",
        "policy:\ndefaultTemplates:\ninjectedAnnotations: {a: 1}\ntemplates: {sidecar: ''}",
        "template: '{{ Not_A_Function }}'\ntemplates: {sidecar: ''}",
        // Only an annotation can ask for it; that fails at the pod.
        "templates: {sidecar: '{{ index .Spec.Containers 7 }}'}",
    ] {
        assert_eq!(load(config, "", "").map(drop), Ok(()), "{config:?}");
    }
    let json = r#"{"global": {"hub": "h"}}"#;
    let mesh =
        "trustDomain: td\nunknown: {a: b}\ndefaultConfig: {proxy_metadata: {A: b}, unknown: 1}";
    assert_eq!(load(GOOD, json, mesh).map(drop), Ok(()));
}

#[test]
fn a_configuration_is_shared_between_threads_and_takes_other_options() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let config = load(GOOD, "", "").expect("a sound configuration");
    is_shared(&config);
    let other = config.with_options(Options {
        revision: "canary".to_owned(),
        ..Options::default()
    });
    assert_eq!(
        (
            config.options().revision.as_str(),
            other.options().revision.as_str()
        ),
        ("", "canary")
    );
    assert_eq!(other.templates().collect::<Vec<_>>(), ["sidecar"]);
}
