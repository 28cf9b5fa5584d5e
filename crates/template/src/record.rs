//! What an injection leaves in the pod's annotations about itself, and what the next one makes of it.
//!
//! Written last by the pipeline and read first by it, so that a pod can be injected again: by a second call of the webhook, by another version, by hand.
//! With it the pod that the template sees is the pod as its author wrote it, and injecting an injected pod changes nothing.

mod capture;

use std::{borrow::Cow, collections::BTreeMap};

use contract::annotations;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use self::capture::Capture;
use crate::{
    error::Error,
    kubernetes::TypedObject,
    pod::{self, List},
    prometheus,
    uninject::Rest,
};

/// Annotation `sidecar.istio.io/status`: the names of what the templates gave, in Istio's order and spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    init_containers: Option<Vec<String>>,
    containers: Option<Vec<String>>,
    volumes: Option<Vec<String>>,
    image_pull_secrets: Option<Vec<String>>,
    revision: String,
    /// Annotations and labels before the injection, as far as it changed them; only recorded where templates show them.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    annotations: Changes,
    #[serde(skip_serializing_if = "Changes::is_empty")]
    labels: Changes,
    /// How a CNI plugin is to capture the pod; only recorded where its rules are for one to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Capture>,
    /// What all this does not say of the pod as its author wrote it; most pods have no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    restore: Option<Rest>,
}

/// Keys with the values that they had; none where there was no such key.
type Changes = BTreeMap<String, Option<String>>;

/// Annotation `proxy.istio.io/overrides`: the author's own containers that overlap with the templates', as they were.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Overrides {
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "as_containers"
    )]
    containers: Vec<Map<String, Value>>,
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "as_containers"
    )]
    init_containers: Vec<Map<String, Value>>,
    /// Where they stood, by name; only recorded where a template gives something else if they stand at the end.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    positions: BTreeMap<String, Position>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Position {
    init: bool,
    index: usize,
}

/// What `encoding/json` escapes beside what JSON asks for.
const ESCAPES: &[(char, &str)] = &[
    ('<', "\\u003c"),
    ('>', "\\u003e"),
    ('&', "\\u0026"),
    ('\u{2028}', "\\u2028"),
    ('\u{2029}', "\\u2029"),
];

// === impl Status ===

impl Status {
    /// The status of an injected pod; one that cannot be read is none, as in Istio.
    pub(crate) fn of(pod: &Value) -> Option<Self> {
        serde_json::from_str(pod::annotation(pod, annotations::STATUS)?).ok()
    }

    /// The status after the templates gave `template_pod` and the result is `merged`.
    ///
    /// A container that an earlier injection left and that no template gives any more is still not the author's.
    pub(crate) fn new(
        template_pod: &Value,
        merged: &Value,
        earlier: Option<&Self>,
        revision: &str,
    ) -> Self {
        let given = |field: &str| -> Vec<String> {
            let list = template_pod
                .get("spec")
                .and_then(|spec| spec.get(field)?.as_array());
            list.into_iter()
                .flatten()
                .map(|item| pod::name(item).to_owned())
                .collect()
        };
        let containers = |list: List| {
            let mut names = given(list.field());
            let left = pod::containers(merged, list).iter().map(pod::name);
            let left = left.filter(|name| earlier.is_some_and(|earlier| earlier.names(name)));
            let left: Vec<_> = left
                .filter(|name| !names.iter().any(|known| known == name))
                .map(str::to_owned)
                .collect();
            names.extend(left);
            names
        };
        let some = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
        Self {
            init_containers: some(containers(List::Init)),
            containers: some(containers(List::Main)),
            volumes: some(given("volumes")),
            image_pull_secrets: some(given("imagePullSecrets")),
            revision: if revision.is_empty() {
                "default"
            } else {
                revision
            }
            .to_owned(),
            ..Self::default()
        }
    }

    /// Records what our CNI plugin has to know to set the rules of `merged`.
    pub(crate) fn record_capture(&mut self, template_pod: &Value, merged: &Value) {
        self.capture = Capture::of(template_pod, merged);
    }

    /// Records what became of the metadata that templates saw in `input`.
    pub(crate) fn record_metadata(&mut self, input: &Value, merged: &Value) {
        self.annotations = changes(input, merged, "annotations");
        self.labels = changes(input, merged, "labels");
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names are plain data")
    }

    pub(crate) fn volumes(&self) -> &[String] {
        self.volumes.as_deref().unwrap_or_default()
    }

    pub(crate) fn pull_secrets(&self) -> &[String] {
        self.image_pull_secrets.as_deref().unwrap_or_default()
    }

    pub(crate) fn has_init_containers(&self) -> bool {
        self.init_containers.is_some()
    }

    pub(crate) fn revision(&self) -> &str {
        &self.revision
    }

    pub(crate) fn rest(&self) -> Option<&Rest> {
        self.restore.as_ref()
    }

    pub(crate) fn record_rest(&mut self, rest: Option<Rest>) {
        self.restore = rest;
    }

    /// Undoes the changes of annotations, where they were recorded.
    pub(crate) fn undo_annotations(&self, annotations: &mut Map<String, Value>) -> bool {
        undo(annotations, &self.annotations);
        !self.annotations.is_empty()
    }

    /// Undoes the changes of labels, where they were recorded.
    pub(crate) fn undo_labels(&self, labels: &mut Map<String, Value>) -> bool {
        undo(labels, &self.labels);
        !self.labels.is_empty()
    }

    /// Whether a container of that name was injected.
    pub(crate) fn names(&self, container: &str) -> bool {
        let lists = [&self.containers, &self.init_containers];
        lists
            .into_iter()
            .flatten()
            .flatten()
            .any(|name| name == container)
    }
}

// === impl Overrides ===

impl Overrides {
    pub(crate) fn of(pod: &Value) -> Result<Self, Error> {
        match pod::annotation(pod, annotations::OVERRIDES) {
            None => Ok(Self::default()),
            Some(text) => serde_json::from_str(text).map_err(|source| Error::Overrides { source }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.init_containers.is_empty()
    }

    /// The record letter for letter as Istio writes it, so that the same pod gives the same annotation.
    pub(crate) fn to_json(&self) -> String {
        let text = serde_json::to_string(self).expect("containers are plain data");
        // Go's JSON is safe inside of HTML; such letters only occur in texts.
        ESCAPES
            .iter()
            .fold(text, |text, (letter, escape)| text.replace(*letter, escape))
    }

    /// The author's containers: in which list the template has it, its name, and what it was.
    pub(crate) fn saved(&self) -> impl Iterator<Item = (List, &str, &Map<String, Value>)> {
        List::BOTH.into_iter().flat_map(|list| {
            let saved = self.list(list).iter();
            saved.map(move |container| (list, named(container), container))
        })
    }

    /// The author's list and place of a container, if they were recorded.
    pub(crate) fn position(&self, container: &str) -> Option<(List, usize)> {
        let position = self.positions.get(container)?;
        let list = if position.init {
            List::Init
        } else {
            List::Main
        };
        Some((list, position.index))
    }

    fn list(&self, list: List) -> &Vec<Map<String, Value>> {
        match list {
            List::Init => &self.init_containers,
            List::Main => &self.containers,
        }
    }

    /// The author's container of that name.
    pub(crate) fn get(&self, container: &str) -> Option<&Map<String, Value>> {
        self.init_containers
            .iter()
            .chain(&self.containers)
            .find(|saved| named(saved) == container)
    }

    /// Keeps the author's container, which a template has put into `list`.
    pub(crate) fn save(&mut self, list: List, mut container: Map<String, Value>) {
        // The one field that Kubernetes' type of a container always writes.
        container
            .entry("resources")
            .or_insert_with(|| Value::Object(Map::new()));
        match list {
            List::Init => self.init_containers.push(container),
            List::Main => self.containers.push(container),
        }
    }

    /// The author's pod as the next injection will put it together, if containers stand elsewhere in it; the index is not recorded yet.
    pub(crate) fn moved(&self, input: &Value) -> Option<Value> {
        let mut moved = input.clone();
        for list in List::BOTH {
            if let Some(containers) = pod::containers_mut(&mut moved, list) {
                containers.retain(|container| self.get(pod::name(container)).is_none());
            }
        }
        self.restore(&mut moved);
        let names = |pod, list| pod::containers(pod, list).iter().map(pod::name);
        let is_moved = |list: &List| !names(input, *list).eq(names(&moved, *list));
        List::BOTH.iter().any(is_moved).then_some(moved)
    }

    /// Records where the saved containers stood in `input`.
    pub(crate) fn record_positions(&mut self, input: &Value) {
        for list in List::BOTH {
            for (index, container) in pod::containers(input, list).iter().enumerate() {
                let name = pod::name(container);
                if self.get(name).is_some() {
                    let init = list == List::Init;
                    self.positions
                        .insert(name.to_owned(), Position { init, index });
                }
            }
        }
    }

    /// Puts the saved containers back into a pod that is without them.
    fn restore(&self, pod: &mut Value) {
        let mut placed: Vec<(List, usize, &Map<String, Value>)> = Vec::new();
        for list in List::BOTH {
            for saved in self.list(list) {
                if pod::position(pod, list, named(saved)).is_some() {
                    continue;
                }
                let (list, index) = self.position(named(saved)).unwrap_or((list, usize::MAX));
                placed.push((list, index, saved));
            }
        }
        placed.sort_by_key(|(_, index, _)| *index);
        for (list, index, saved) in placed {
            let containers = pod::containers_entry(pod, list);
            containers.insert(index.min(containers.len()), Value::Object(saved.clone()));
        }
    }
}

fn changes(input: &Value, merged: &Value, field: &str) -> Changes {
    let none = Map::new();
    let before = pod::metadata_map(input, field).unwrap_or(&none);
    let after = pod::metadata_map(merged, field).unwrap_or(&none);
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| *key != annotations::STATUS && before.get(*key) != after.get(*key))
        .map(|key| {
            let value = before.get(key).and_then(Value::as_str);
            (key.clone(), value.map(str::to_owned))
        })
        .collect()
}

fn undo(metadata: &mut Map<String, Value>, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => metadata.insert(key.clone(), Value::from(value.as_str())),
            None => metadata.remove(key),
        };
    }
}

fn as_containers<S: Serializer>(
    containers: &[Map<String, Value>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(containers.iter().map(TypedObject::container))
}

fn named(container: &Map<String, Value>) -> &str {
    container
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The pod as templates see it: as its author wrote it, without what an earlier injection added.
pub(crate) fn template_input<'a>(
    pod: &'a Value,
    status: Option<&Status>,
    overrides: &Overrides,
    status_port: u16,
) -> Cow<'a, Value> {
    let is_marked = pod::annotation(pod, annotations::STATUS).is_some();
    if !is_marked && overrides.is_empty() {
        return Cow::Borrowed(pod);
    }
    let mut input = pod.clone();
    if is_marked {
        // One that cannot be read is none, and will not be there next time.
        pod::metadata_map_mut(&mut input, "annotations").remove(annotations::STATUS);
    }
    if let Some(status) = status {
        for list in List::BOTH {
            if let Some(containers) = pod::containers_mut(&mut input, list) {
                containers.retain(|container| !status.names(pod::name(container)));
            }
        }
        if status.annotations.is_empty() {
            prometheus::forget(
                pod::metadata_map_mut(&mut input, "annotations"),
                status_port,
            );
        }
        for (field, changes) in [
            ("annotations", &status.annotations),
            ("labels", &status.labels),
        ] {
            if !changes.is_empty() {
                undo(pod::metadata_map_mut(&mut input, field), changes);
            }
        }
    }
    overrides.restore(&mut input);
    Cow::Owned(input)
}
