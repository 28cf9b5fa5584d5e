use std::{fs, path::Path};

use serde_json::json;

use super::*;
use crate::{Config, Options, Sources, Text, openshift, render, render::Context};

fn shipped() -> Config {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let read = |file: &str| fs::read_to_string(chart.join(file)).expect("the chart ships it");
    let [config, values, mesh] = ["files/config", "values.yaml", "files/mesh"].map(read);
    let text = |name, text| Text { name, text };
    let sources = Sources {
        config: text("config", &config),
        values: text("values", &values),
        mesh: text("mesh", &mesh),
    };
    Config::load(&sources, Options::default()).expect("the shipped configuration compiles")
}

/// Whether the pod would be rendered a second time.
fn is_taken(config: &Config, pod: &Value) -> bool {
    let compiled = config.compiled();
    let context = Context::new(
        compiled,
        config.options(),
        pod,
        "shop",
        &Owner::of(pod),
        &compiled.mesh.proxy_config,
        openshift::proxy_ids(None),
    );
    let watch = Watch::over(context.authored(false));
    let names = render::selected(compiled, pod);
    render::render(compiled, &context, &names, Some(&watch)).expect("the pod can be rendered");
    watch.is_taken()
}

#[test]
fn odd_values_that_no_template_takes_up_cost_no_second_rendering() {
    let config = shipped();
    let pod = json!({
        "metadata": {
            "generateName": "web-7d4b9c-",
            "labels": {"app": "web", "version": "v1", "pod-template-hash": "7d4b9c"},
            "annotations": {"example.com/notes": "a: b\n- c", "kubectl.kubernetes.io/last-applied-configuration": "{\"a\": [1]}"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c", "controller": true}],
        },
        "spec": {
            "serviceAccountName": "web",
            "containers": [{
                "name": "web",
                "image": "registry.example:5000/web@sha256:0123",
                "command": ["sh", "-c", "echo \"hello\" && sleep 10"],
                "env": [{"name": "JSON", "value": "{\"a\": 1}"}],
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
            }],
        },
    });
    assert!(!is_taken(&config, &pod));
    for (pointer, value) in [
        ("/metadata/labels/app", "a: b"),
        ("/spec/containers/0/name", "a b"),
        ("/spec/containers/0/ports/0/name", "a\"b"),
        ("/metadata/ownerReferences/0/name", "a\nb"),
    ] {
        let mut pod = pod.clone();
        *pod.pointer_mut(pointer).expect("a field of the pod") = json!(value);
        assert!(is_taken(&config, &pod), "{pointer}");
    }
}

#[test]
fn what_takes_up_nothing_odd_is_not_rendered_again() {
    let rendered = checked(
        Ok(Rendered::default()),
        false,
        || unreachable!("not asked"),
        |_| unreachable!("not asked"),
    );
    assert!(rendered.is_ok());
}

#[test]
fn one_value_among_many_is_found_and_several_together_are_none() {
    assert_eq!(culprit(100, |range| range.contains(&42)), Some(42));
    assert_eq!(culprit(1, |_| true), Some(0));
    assert_eq!(
        culprit(4, |range| range.contains(&0) && range.contains(&3)),
        None
    );
}
