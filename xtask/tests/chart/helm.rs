//! Helm, called on the chart.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use template::yaml;

/// What the chart is rendered for; a Helm that was built without a release's flags takes the cluster for an ancient one.
const KUBE_VERSION: &str = "1.34.0";

/// A way to install the chart.
#[derive(Clone, Default)]
pub(crate) struct Install {
    namespace: Option<&'static str>,
    args: Vec<String>,
}

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/minimesh")
}

/// A file of the chart.
pub(crate) fn file(name: &str) -> String {
    std::fs::read_to_string(chart().join(name)).expect("a file of the chart")
}

/// A file of the chart that is YAML.
pub(crate) fn yaml_file(name: &str) -> Value {
    yaml::parse(name, &file(name)).expect("YAML")
}

/// The first object of a kind with a name.
#[track_caller]
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

// === impl Install ===

impl Install {
    /// With `tests/NAME.values.yaml`.
    pub(crate) fn values_file(name: &str) -> Self {
        let file = chart().join(format!("tests/{name}.values.yaml"));
        Self::default().arg("--values").arg(file.to_str().unwrap())
    }

    /// With `key=value`.
    pub(crate) fn set(self, assignment: &str) -> Self {
        self.arg("--set").arg(assignment)
    }

    /// Into another namespace than istio-system.
    pub(crate) fn namespace(self, namespace: &'static str) -> Self {
        Self {
            namespace: Some(namespace),
            ..self
        }
    }

    /// The rendered text.
    ///
    /// # Errors
    /// What Helm says.
    pub(crate) fn try_render(&self) -> Result<String, String> {
        let namespace = self.namespace.unwrap_or(contract::control_plane::NAMESPACE);
        let output = self.helm(&["template", "minimesh", "--namespace", namespace]);
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        Ok(String::from_utf8(output.stdout).unwrap())
    }

    #[track_caller]
    pub(crate) fn render(&self) -> String {
        self.try_render().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The rendered objects.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        let text = self.render();
        let documents = yaml::documents(&text);
        let objects = documents
            .iter()
            .map(|document| document.parse("the rendered chart").expect("YAML"));
        objects.filter(|object| !object.is_null()).collect()
    }

    /// Checks the chart as its authors are advised to.
    #[track_caller]
    pub(crate) fn lint(&self) {
        let output = self.helm(&["lint", "--strict"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    }

    fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    fn helm(&self, command: &[&str]) -> Output {
        Command::new("helm")
            .args(command)
            .arg(chart())
            .args(["--kube-version", KUBE_VERSION])
            .args(&self.args)
            .output()
            .expect("helm can be run")
    }
}
