//! What is done with arbitrary bytes, and what must hold then.
//!
//! Run under libFuzzer by `cargo xtask fuzz`, and on the corpora by an ordinary test of `injector`, which includes this file. A body panics where a promise is broken.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Value as Json, json};
use template::{
    Config, Namespace, NativeSidecars, Options, Outcome, Request, Sources, Text, environment,
    functions::Functions,
    gotemplate::{Delimiters, Template, Value, limits},
    inject,
    merge::{self, Directives},
    patch, surprises, yaml,
};

use crate::review;

/// The shipped configuration, with ordinary and with native sidecars.
static CONFIGS: LazyLock<[Config; 2]> = LazyLock::new(|| {
    let text = |name, text| Text { name, text };
    let sources = Sources {
        config: text("config", include_str!("../../charts/minimesh/files/config")),
        values: text("values", include_str!("../../charts/minimesh/values.yaml")),
        mesh: text("mesh", "enablePrometheusMerge: true"),
    };
    [NativeSidecars::Never, NativeSidecars::Always].map(|native_sidecars| {
        let options = Options {
            native_sidecars,
            ..Options::default()
        };
        Config::load(&sources, options).expect("the shipped configuration is sound")
    })
});

/// The bytes are a review: whatever they are, the answer is a whole review; and a pod that is injected is so once and for all.
pub fn review(bytes: &[u8]) {
    let answer = match review::decode(bytes) {
        Ok(admission) => {
            for config in CONFIGS.iter() {
                injected_once(config, &admission.pod, &admission.namespace);
            }
            return;
        }
        Err(answer) => answer.to_json(),
    };
    let answer: Json = serde_json::from_slice(&answer).expect("an answer is JSON");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert!(answer["response"]["uid"].is_string());
    assert!(answer["response"]["allowed"].is_boolean());
}

fn injected_once(config: &Config, pod: &Json, namespace: &str) {
    let run = |pod: &Json| {
        let request = Request {
            pod,
            namespace: &Namespace::named(namespace),
            owner: None,
            environment: &BTreeMap::new(),
        };
        inject(config, &request)
    };
    let Ok(outcome) = run(pod) else {
        return;
    };
    for surprise in surprises(pod, &outcome) {
        assert!(!surprise.to_string().is_empty());
    }
    let Outcome::Injected { pod: once, .. } = outcome else {
        return;
    };
    let mut patched = pod.clone();
    let operations = patch::diff(pod, &once);
    patch::apply(&mut patched, &operations).expect("the patch applies strictly");
    assert_eq!(patched, once, "the patch gives the injected pod");
    match run(&once) {
        Ok(Outcome::Injected { pod: twice, .. }) => {
            assert_eq!(twice, once, "injecting again changes nothing");
        }
        other => panic!("injecting again gives {other:?}"),
    }
}

/// The bytes are a template's text: it is refused, fails, or gives a text of bounded length.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let data = json!({
        "ObjectMeta": {"Name": "web", "Labels": {"app": "web"}, "Annotations": {}},
        "Spec": {"Containers": [{"Name": "web", "Ports": [{"ContainerPort": 80}]}]},
        "Values": {"global": {"hub": "hub", "count": 3, "ratio": 1.5, "on": true, "none": null}},
    });
    for (delimiters, functions) in [
        (Delimiters::CURLY, Functions::injection()),
        (Delimiters::SQUARE, Functions::first_injection()),
    ] {
        let Ok(template) = Template::parse("fuzz", text, delimiters, &functions) else {
            continue;
        };
        for data in [Value::plain(&data), Value::go_struct(&data)] {
            match template.execute(&data) {
                Ok(text) => assert!(text.len() <= limits::MAX_TEXT),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// The bytes are two lines of JSON: one is laid over the other, or its directives are refused; nothing over anything is that.
pub fn merge(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut read = || -> Option<Json> { serde_json::from_slice(lines.next()?).ok() };
    let (Some(base), Some(patch)) = (read(), read()) else {
        return;
    };
    for directives in [Directives::Obey, Directives::Ignore] {
        let mut merged = base.clone();
        let _ = merge::pod(&mut merged, patch.clone(), directives);
        if base.is_object() {
            let mut same = base.clone();
            merge::pod(&mut same, json!({}), directives).expect("there is no directive");
            assert_eq!(same, base, "nothing changes nothing");
        }
    }
}

/// The bytes are YAML: its documents are the whole text, and what is read is written so that it reads the same.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let documents = yaml::documents(text);
    let whole: String = documents.iter().map(|document| document.raw).collect();
    assert_eq!(whole, text, "no byte is lost between documents");
    for document in documents {
        let Ok(value) = document.parse("fuzz") else {
            continue;
        };
        let written = yaml::to_string(&value);
        match yaml::parse("written", &written) {
            Ok(again) => assert_eq!(again, value, "{written}"),
            Err(error) => panic!("{error}: {written}"),
        }
    }
}

/// The bytes are a URL's path: variables have names.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let variables = environment::from_path(text);
    assert!(variables.keys().all(|name| !name.is_empty()));
    let parts = text.matches(['/', ':']).count();
    assert!(variables.len() <= parts, "no more variables than parts");
}
