//! The table of injection cases: a pod, a configuration, and what becomes of the one under the other.
//!
//! One definition for every way to inject: the tests of `template` (the library), `minimesh` (the command line) and `injector` (the webhook) run it and
//! compare what they see with the same golden, and the cluster tests show the goldens to an API server.
//! A case is a file `NAME.yaml` below [`data`], its golden `NAME.injected.yaml` beside it; whatever else it needs is said in the table.

mod decision;
mod expected;
mod formats;
mod mechanics;
mod shipped;
mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

pub use self::{
    expected::{End, Expected, Remark},
    workload::{Workload, workload},
};

/// A case: settings beside the pod that its file holds.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, which its files bear.
    pub name: &'static str,
    /// The name of its namespace.
    pub namespace: &'static str,
    /// Annotations of that namespace.
    pub namespace_annotations: &'static [(&'static str, &'static str)],
    /// The path by which the webhook is called.
    pub path: &'static str,
    /// Switches of the injecting program.
    pub switches: Switches,
    config: &'static str,
    values: &'static str,
    mesh: &'static str,
}

/// Switches as flags give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Switches {
    /// `--revision`.
    pub revision: &'static str,
    /// `--native-sidecars`.
    pub native_sidecars: &'static str,
    /// Names and versions of nodes; without names they are `--node-versions`.
    pub nodes: &'static [(&'static str, &'static str)],
    /// `--compliance-policy`.
    pub compliance_policy: &'static str,
    /// `--platform`.
    pub platform: &'static str,
}

/// The three texts of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Texts {
    /// Policy and templates.
    pub config: String,
    /// Values.
    pub values: String,
    /// The mesh's configuration.
    pub mesh: String,
}

/// Reads YAML; given by the caller, whose tests have a reader.
pub type Read = fn(&str) -> Value;

/// Every case.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        shipped::cases(),
        decision::cases(),
        mechanics::cases(),
        formats::cases(),
    ]
    .concat()
}

/// The folder with the files of all cases.
#[must_use]
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../template/tests/data")
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// === impl Case ===

impl Case {
    /// A case under the shipped configuration (`""`) or under `CONFIG.config`.
    const fn new(config: &'static str, name: &'static str) -> Self {
        Self {
            name,
            namespace: "shop",
            namespace_annotations: &[],
            path: "/inject",
            switches: Switches {
                revision: "",
                native_sidecars: "auto",
                nodes: &[],
                compliance_policy: "",
                platform: "",
            },
            config,
            values: "",
            mesh: "",
        }
    }

    /// Lays YAML over the values.
    const fn values(mut self, values: &'static str) -> Self {
        self.values = values;
        self
    }

    /// Lays YAML over the mesh configuration.
    const fn mesh(mut self, mesh: &'static str) -> Self {
        self.mesh = mesh;
        self
    }

    const fn namespace(mut self, name: &'static str) -> Self {
        self.namespace = name;
        self
    }

    const fn namespace_annotations(
        mut self,
        annotations: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.namespace_annotations = annotations;
        self
    }

    const fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    const fn native(mut self) -> Self {
        self.switches.native_sidecars = "true";
        self
    }

    const fn revision(mut self, revision: &'static str) -> Self {
        self.switches.revision = revision;
        self
    }

    const fn nodes(mut self, nodes: &'static [(&'static str, &'static str)]) -> Self {
        self.switches.nodes = nodes;
        self
    }

    const fn compliance_policy(mut self, policy: &'static str) -> Self {
        self.switches.compliance_policy = policy;
        self
    }

    const fn platform(mut self, platform: &'static str) -> Self {
        self.switches.platform = platform;
        self
    }

    /// The manifest as its author wrote it.
    ///
    /// # Panics
    /// There is no such file.
    #[must_use]
    pub fn input(&self) -> String {
        text(&data().join(self.file()))
    }

    /// The name of the manifest's file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.yaml", self.name)
    }

    /// Where the golden is.
    #[must_use]
    pub fn golden(&self) -> PathBuf {
        data().join(format!("{}.injected.yaml", self.name))
    }

    /// What the golden says.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected::parse(&text(&self.golden()))
    }

    /// The configuration.
    ///
    /// # Panics
    /// A file is missing or unreadable.
    #[must_use]
    pub fn texts(&self, read: Read) -> Texts {
        let (config, values, mesh) = match self.config {
            "" => (
                text(&chart().join("files/config")),
                read(&text(&chart().join("values.yaml"))),
                read(&text(&chart().join("files/mesh"))),
            ),
            own => (
                text(&data().join(format!("{own}.config"))),
                json!({}),
                json!({}),
            ),
        };
        // Goldens stay without the annotations for Prometheus, unless the case asks for them.
        let quiet = json!({"enablePrometheusMerge": false});
        let mesh = overlaid(overlaid(mesh, quiet), read(self.mesh));
        Texts {
            config,
            values: overlaid(values, read(self.values)).to_string(),
            mesh: mesh.to_string(),
        }
    }

    /// The namespace as an object.
    #[must_use]
    pub fn namespace_object(&self) -> Value {
        let annotations: Map<_, _> = self
            .namespace_annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
            .collect();
        let metadata = json!({"name": self.namespace, "annotations": annotations});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    }

    /// Whether `minimesh kube-inject` can be told all that the case needs: it has no URL, and knows nodes by their versions only.
    #[must_use]
    pub fn suits_command_line(&self) -> bool {
        self.path == "/inject" && self.switches.has_anonymous_nodes()
    }

    /// Whether an injector without a cluster can be told all that the case needs: it cannot ask for nodes and namespaces.
    #[must_use]
    pub fn suits_webhook(&self) -> bool {
        self.namespace_annotations.is_empty() && self.switches.has_anonymous_nodes()
    }
}

// === impl Switches ===

impl Switches {
    /// The flags, which `minimesh kube-inject` and `injector` have in common.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let versions: Vec<_> = self.nodes.iter().map(|(_, version)| *version).collect();
        [
            ("--revision", self.revision),
            ("--native-sidecars", self.native_sidecars),
            ("--node-versions", &versions.join(",")),
            ("--compliance-policy", self.compliance_policy),
            ("--platform", self.platform),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(flag, value)| format!("{flag}={value}"))
        .collect()
    }

    fn has_anonymous_nodes(&self) -> bool {
        self.nodes.iter().all(|(name, _)| name.is_empty())
    }
}

/// `base` with `overlay` laid over it, map by map.
fn overlaid(base: Value, overlay: Value) -> Value {
    match (base, overlay) {
        (base, Value::Null) => base,
        (Value::Object(mut base), Value::Object(overlay)) => {
            for (key, value) in overlay {
                let below = base.remove(&key).unwrap_or_default();
                base.insert(key, overlaid(below, value));
            }
            Value::Object(base)
        }
        (_, overlay) => overlay,
    }
}

#[cfg(test)]
mod tests;
