//! Running a case and showing what came of it.

use std::{fs, path::Path};

use serde_json::{Map, Value};
use template::{Config, Namespace, Options, Outcome, Request, Sources, Text, inject, patch, yaml};

/// A pod in `data/NAME.yaml`, and under what configuration it is injected.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    config: &'static str,
    values: Vec<&'static str>,
    mesh: Vec<&'static str>,
    namespace: Value,
    path: &'static str,
    options: Options,
}

/// What came of a case, to look at.
pub(crate) struct Shown {
    pub(crate) text: String,
    outcome: Option<Outcome>,
}

/// The chart, which ships the configuration.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/minimesh");

// === impl Case ===

impl Case {
    /// A case under the shipped configuration (`""`) or under `data/CONFIG.config`.
    pub(crate) fn new(config: &'static str, name: &'static str) -> Self {
        Self {
            name,
            config,
            values: Vec::new(),
            mesh: Vec::new(),
            namespace: serde_json::json!({"metadata": {"name": "shop"}}),
            path: "/inject",
            options: Options::default(),
        }
    }

    /// Lays YAML over the values.
    pub(crate) fn values(mut self, values: &'static str) -> Self {
        self.values.push(values);
        self
    }

    /// Lays YAML over the mesh configuration.
    pub(crate) fn mesh(mut self, mesh: &'static str) -> Self {
        self.mesh.push(mesh);
        self
    }

    /// Puts the pod into a namespace.
    pub(crate) fn namespace(mut self, namespace: Value) -> Self {
        self.namespace = namespace;
        self
    }

    /// Calls the webhook by another path.
    pub(crate) fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    /// Changes the switches.
    pub(crate) fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Injects the case's pod.
    pub(crate) fn run(&self, data: &Path) -> Shown {
        let origin = format!("{}.yaml", self.name);
        let text = fs::read_to_string(data.join(&origin)).expect("the case's pod");
        match yaml::parse(&origin, &text) {
            Ok(pod) => self.inject(data, &pod),
            Err(error) => Shown {
                text: format!("# error: {error}\n"),
                outcome: None,
            },
        }
    }

    /// Injects the result again, and checks that this and the patch are what they should be.
    pub(crate) fn check_laws(&self, data: &Path, shown: &Shown) -> Result<(), String> {
        let Some(Outcome::Injected { pod: once, .. }) = &shown.outcome else {
            return Ok(());
        };
        let origin = format!("{}.yaml", self.name);
        let text = fs::read_to_string(data.join(&origin)).expect("the case's pod");
        let mut pod = yaml::parse(&origin, &text).expect("it was read before");
        let operations = patch::diff(&pod, once);
        patch::apply(&mut pod, &operations).map_err(|error| format!("{}: {error}", self.name))?;
        if pod != *once {
            return Err(format!("{}: the patch gives another pod", self.name));
        }
        match self.inject(data, once).outcome {
            Some(Outcome::Injected { pod: twice, .. }) if twice == *once => Ok(()),
            Some(Outcome::Injected { pod: twice, .. }) => {
                let changes =
                    serde_json::to_string_pretty(&patch::diff(once, &twice)).expect("plain data");
                Err(format!(
                    "{}: injecting again changes the pod:\n{changes}",
                    self.name
                ))
            }
            _ => Err(format!("{}: injecting again fails", self.name)),
        }
    }

    fn inject(&self, data: &Path, pod: &Value) -> Shown {
        let config = match self.load(data) {
            Ok(config) => config,
            Err(error) => {
                return Shown {
                    text: format!("# error: {}\n", chain(&error)),
                    outcome: None,
                };
            }
        };
        let request = Request {
            pod,
            namespace: &Namespace::of(self.namespace.clone()),
            owner: None,
            environment: &template::environment::from_path(self.path),
        };
        match inject(&config, &request) {
            Ok(outcome) => Shown {
                text: show(&outcome),
                outcome: Some(outcome),
            },
            Err(error) => Shown {
                text: format!("# error: {}\n", chain(&error)),
                outcome: None,
            },
        }
    }

    fn load(&self, data: &Path) -> Result<Config, template::ConfigError> {
        let shipped =
            |name: &str| fs::read_to_string(Path::new(CHART).join(name)).expect("a shipped file");
        let config = match self.config {
            "" => shipped("files/config"),
            own => fs::read_to_string(data.join(format!("{own}.config"))).expect("a configuration"),
        };
        let base = |name: &str| {
            if self.config.is_empty() {
                shipped(name)
            } else {
                String::new()
            }
        };
        let values = overlaid(&base("values.yaml"), &self.values);
        // Goldens of small configurations stay without the annotations for Prometheus, unless the case asks for them.
        let mesh = overlaid(&base("files/mesh"), &["enablePrometheusMerge: false"]);
        let mesh = overlaid(&mesh, &self.mesh);
        let sources = Sources {
            config: Text {
                name: "config",
                text: &config,
            },
            values: Text {
                name: "values",
                text: &values,
            },
            mesh: Text {
                name: "mesh",
                text: &mesh,
            },
        };
        Config::load(&sources, self.options.clone())
    }
}

fn show(outcome: &Outcome) -> String {
    let (warnings, rest) = match outcome {
        Outcome::Injected { pod, warnings } => (warnings, yaml::to_string(pod)),
        Outcome::Skipped { reason, warnings } => (
            warnings,
            format!("# skipped, {}: {reason}; {}\n", reason.code(), reason.fix()),
        ),
    };
    let warnings: String = warnings
        .iter()
        .map(|warning| format!("# warning: {warning}\n"))
        .collect();
    warnings + &rest
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `base` with each of `overlays` laid over it, map by map.
fn overlaid(base: &str, overlays: &[&str]) -> String {
    let read = |text: &str| yaml::parse("overlay", text).expect("YAML");
    let mut value = read(base);
    for overlay in overlays {
        lay(&mut value, read(overlay));
    }
    value.to_string()
}

fn lay(base: &mut Value, overlay: Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => {
            for (key, value) in overlay {
                lay(base.entry(key).or_insert(Value::Object(Map::new())), value);
            }
        }
        (base, overlay) => *base = overlay,
    }
}
