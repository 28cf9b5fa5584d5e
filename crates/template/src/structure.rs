//! Values are data: what a pod's author writes cannot change the structure of what templates give.
//!
//! Templates paste values into text that is read as YAML afterwards, so a value with a line break, a quote or `: ` could become a field or a container.
//! The pipeline renders through [`checked`]: where a template takes up a value that YAML could read as anything but one scalar, it renders once more
//! with a disguise in place of each such value, and refuses the pod if the two results differ in anything but the content of scalars.
//!
//! ```text
//!  pod ──────────────► render, Watch ──► partial pods ──┬──────────────────────────► the same, untouched
//!   │                        │ took up something odd?   │ Difference?
//!   └─► disguise ──────► render, Masked ► partial pods ─┘──► refused, by name of the value
//! ```
//!
//! A second rendering, and not marks on the bytes of the first: marks would have to survive every function that makes a text of texts, and the reader
//! of YAML would have to know them. A disguise survives by itself, because it consists of letters. Functions that look into texts take it off
//! ([`masked`]), so both renderings take the same branches, and a template that splits a list or reads JSON on purpose still may.

mod difference;
mod disguise;
mod masked;
mod watch;

use std::{borrow::Cow, ops::Range};

use contract::annotations;
use serde_json::{Map, Value};

pub(crate) use self::watch::Watch;
use crate::{
    error::Error, gotemplate::Observer, owner::Owner, render::Rendered, validate::shortened,
};

/// What templates see that somebody wrote for this one pod.
#[derive(Clone, Debug)]
pub(crate) struct Authored<'a> {
    /// The pod.
    pub(crate) pod: Cow<'a, Value>,
    /// The workload around it, where it is not guessed from the pod.
    pub(crate) owner: Option<Cow<'a, Owner>>,
    /// The name of its namespace.
    pub(crate) namespace: Cow<'a, str>,
    /// The ProxyConfig of its annotation.
    pub(crate) proxy_config: Cow<'a, Map<String, Value>>,
}

/// Which values are put into disguise, counted in the order in which they are come by.
struct Mask {
    wanted: Range<usize>,
    next: usize,
    /// The last one that was put into disguise: where it stands and what it says.
    last: Option<(String, String)>,
}

/// Where a value stands, from the end.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root(&'static str),
    Key(&'p Self, &'p str),
    Index(&'p Self, usize),
}

/// Not what templates see.
const UNSEEN: &str = "managedFields";

/// Steps in where templates are executed with disguised data.
pub(crate) fn masked() -> &'static dyn Observer {
    &masked::Masked
}

/// The result of the first rendering, if the values that it took up are no more than data in it.
///
/// `is_taken` says whether it took up any that could be more; `again` renders with other data.
///
/// # Errors
/// That of the first rendering, or [`Error::Structure`] where a value is at fault.
pub(crate) fn checked<'a>(
    first: Result<Rendered, Error>,
    is_taken: bool,
    authored: impl FnOnce() -> Authored<'a>,
    again: impl Fn(&Authored<'_>) -> Option<Rendered>,
) -> Result<Rendered, Error> {
    let is_about_values = match &first {
        Ok(_) => true,
        Err(error) => matches!(
            error,
            Error::RenderedYaml { .. } | Error::RenderedShape { .. }
        ),
    };
    if !is_taken || !is_about_values {
        return first;
    }
    let authored = authored();
    let attempt = |range: Range<usize>| {
        let mut mask = Mask::new(range);
        let disguised = mask.authored(&authored);
        (again(&disguised), mask)
    };
    let (second, mask) = attempt(0..usize::MAX);
    let Some(difference) = difference(&first, second.as_ref()) else {
        return first;
    };
    let differs = |range: Range<usize>| {
        let (second, _) = attempt(range);
        second.is_some() && self::difference(&first, second.as_ref()).is_some()
    };
    let culprit = culprit(mask.next, differs);
    Err(difference.into_error(&culprit.and_then(|index| attempt(index..index + 1).1.last)))
}

/// The one value without which there would be no difference, by halves; none where it takes several.
fn culprit(count: usize, differs: impl Fn(Range<usize>) -> bool) -> Option<usize> {
    let mut range = 0..count;
    while range.len() > 1 {
        let middle = range.start + range.len() / 2;
        range = [range.start..middle, middle..range.end]
            .into_iter()
            .find(|half| differs(half.clone()))?;
    }
    Some(range.start)
}

/// What is wrong, before it is known with whom.
struct Difference {
    template: String,
    path: String,
}

fn difference(first: &Result<Rendered, Error>, second: Option<&Rendered>) -> Option<Difference> {
    let of = |template: &str, path: String| Difference {
        template: template.to_owned(),
        path,
    };
    let (first, rewrites) = match (first, second) {
        (Ok(first), _) => (&first.patches, first.rewrite_probes.is_some()),
        // It fails the same way without the odd values: the template's own fault.
        (Err(_), None) => return None,
        (Err(Error::RenderedYaml { name, .. } | Error::RenderedShape { name, .. }), Some(_)) => {
            return Some(of(name, String::new()));
        }
        (Err(_), Some(_)) => return None,
    };
    let rewrites_too = second.is_some_and(|rendered| rendered.rewrite_probes.is_some());
    let second = second
        .map(|rendered| rendered.patches.as_slice())
        .unwrap_or_default();
    for (index, (name, patch)) in first.iter().enumerate() {
        match second.get(index) {
            Some((other, disguised)) if other == name => {
                if let Some(path) = difference::find(patch, disguised) {
                    return Some(of(name, path));
                }
            }
            _ => return Some(of(name, String::new())),
        }
    }
    let more = second.get(first.len()).map(|(name, _)| name.as_str());
    let switched = first.last().filter(|_| rewrites != rewrites_too);
    let last = more.or(switched.map(|(name, _)| name.as_str()))?;
    Some(of(last, String::new()))
}

// === impl Difference ===

impl Difference {
    fn into_error(self, culprit: &Option<(String, String)>) -> Error {
        let (place, value) = match culprit {
            Some((place, value)) => (place.clone(), Some(shortened(value))),
            None => (
                "the pod's annotations, labels and names together".to_owned(),
                None,
            ),
        };
        Error::Structure {
            template: self.template,
            place,
            value,
            at: self.path.trim_start_matches('.').to_owned(),
        }
    }
}

// === impl Mask ===

impl Mask {
    fn new(wanted: Range<usize>) -> Self {
        Self {
            wanted,
            next: 0,
            last: None,
        }
    }

    fn authored(&mut self, authored: &Authored<'_>) -> Authored<'static> {
        let config = Value::Object(authored.proxy_config.clone().into_owned());
        let config = match self.value(&config, Path::Root(annotations::PROXY_CONFIG)) {
            Value::Object(config) => config,
            _ => Map::new(),
        };
        let owner = authored.owner.as_deref().map(|owner| {
            let root = Path::Root("the owner's");
            let mut text = |text: &str, field| self.text(text, Path::Key(&root, field));
            Cow::Owned(Owner {
                api_version: text(&owner.api_version, "apiVersion"),
                kind: text(&owner.kind, "kind"),
                name: text(&owner.name, "name"),
                namespace: text(&owner.namespace, "namespace"),
            })
        });
        Authored {
            pod: Cow::Owned(self.value(&authored.pod, Path::Root(""))),
            owner,
            namespace: Cow::Owned(
                self.text(&authored.namespace, Path::Root("the namespace's name")),
            ),
            proxy_config: Cow::Owned(config),
        }
    }

    fn value(&mut self, value: &Value, path: Path<'_>) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, path)),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(index, item)| self.value(item, Path::Index(&path, index)))
                    .collect()
            }
            Value::Object(entries) => {
                let entries = entries.iter().filter(|(key, _)| *key != UNSEEN);
                let entry = |(key, item): (&String, &Value)| {
                    let path = Path::Key(&path, key);
                    (self.text(key, path), self.value(item, path))
                };
                Value::Object(entries.map(entry).collect())
            }
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str, path: Path<'_>) -> String {
        if disguise::is_harmless(text) {
            return text.to_owned();
        }
        let number = self.next;
        self.next += 1;
        if !self.wanted.contains(&number) {
            return text.to_owned();
        }
        if self.wanted.len() == 1 {
            self.last = Some((path.shown(), text.to_owned()));
        }
        disguise::disguise(text)
    }
}

// === impl Path ===

impl Path<'_> {
    /// For messages: annotations and labels by their keys, everything else by its fields.
    fn shown(self) -> String {
        match self {
            Self::Key(Path::Key(Path::Key(Path::Root(""), "metadata"), map), key)
                if matches!(*map, "annotations" | "labels") =>
            {
                format!("{} {}", map.trim_end_matches('s'), shortened(key))
            }
            Self::Root(annotations::PROXY_CONFIG) => {
                format!("annotation {}", annotations::PROXY_CONFIG)
            }
            Self::Root(root) => root.to_owned(),
            Self::Key(parent @ Path::Root(annotations::PROXY_CONFIG), key) => {
                format!("{}, field {}", parent.shown(), shortened(key))
            }
            Self::Key(Path::Root(""), key) => format!("field {}", shortened(key)),
            Self::Key(parent @ Path::Root(_), key) => format!("{} {key}", parent.shown()),
            Self::Key(parent, key) => format!("{}.{}", parent.shown(), shortened(key)),
            Self::Index(parent, index) => format!("{}[{index}]", parent.shown()),
        }
    }
}

#[cfg(test)]
mod tests;
