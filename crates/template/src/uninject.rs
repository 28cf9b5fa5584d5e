//! Taking an injection back: the pod as its author wrote it.
//!
//! Called by the command line for each pod of a manifest, and by the pipeline, which records at the end of an injection what could not be told later.
//! Needs no configuration: the record that the injection left on the pod is enough, and it is only believed as far as an injection can have written it.
//!
//! ```text
//!  inject ──► pod ──► strip: by status, overrides, the sidecar's variables ──► Rest: what is still different, if anything ──► status annotation
//!  uninject ──► strip ──► Rest ──► the pod as it was
//! ```

mod metadata;
mod probes;
mod reduce;
mod rest;
mod strip;

use std::{collections::HashSet, fmt};

use contract::annotations;
use serde_json::Value;

use self::strip::{Notes, strip};
pub(crate) use self::{reduce::touched, rest::Rest};
use crate::{
    error::Error,
    pod::{self, List},
    record::{Overrides, Status},
};

/// A pod without its sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Uninjected {
    /// The pod as it was.
    pub pod: Value,
    /// What the record left open: empty for a pod whose injection recorded all that it had to.
    pub doubts: Vec<Doubt>,
}

/// Something that the record of an injection does not say, and what was done instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// A container that the record names, but nothing else shows to be injected, stays.
    Container {
        /// Its name.
        name: String,
    },
    /// A volume that the record names is used by one of the author's containers, and stays.
    Volume {
        /// Its name.
        name: String,
        /// The container that mounts it.
        container: String,
    },
    /// A pull secret that the record names is gone, though the author may have had it as well.
    PullSecret {
        /// Its name.
        name: String,
    },
    /// A probe asks a port by its name, which may have been a number.
    Port {
        /// The container.
        container: String,
        /// Such as `readinessProbe`.
        field: &'static str,
        /// The port's name.
        port: String,
    },
    /// What the record keeps has no place in the pod any more.
    Lost {
        /// Where it was, such as `/spec/containers/web/env`.
        path: String,
    },
}

/// A pod whose injection cannot be taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UninjectError {
    /// The status cannot be read.
    #[error(
        "annotation sidecar.istio.io/status is damaged, so what was injected is not known; take the pod from its source, or remove the sidecar by hand"
    )]
    Status {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The author's containers cannot be read.
    #[error(
        "annotation proxy.istio.io/overrides is damaged, so the pod's own containers are not known; take them from its source"
    )]
    Overrides {
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A field of the pod is not of its type.
    #[error("the pod is no pod")]
    Shape {
        /// Which field.
        source: Box<Error>,
    },
    /// The record would have an application's container removed.
    #[error(
        "annotation sidecar.istio.io/status would have {} removed, which no injection can have added; remove the annotation, or correct it",
        .container.as_ref().map_or_else(|| "every container".to_owned(), |name| format!("container {name}"))
    )]
    Application {
        /// The container; `None` where none would be left.
        container: Option<String>,
    },
}

// === impl Doubt ===

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { name } => write!(
                f,
                "container {name} stays: the record names it, but nothing else shows that it was injected"
            ),
            Self::Volume { name, container } => {
                write!(
                    f,
                    "volume {name} stays, because container {container} mounts it"
                )
            }
            Self::PullSecret { name } => write!(
                f,
                "image pull secret {name} is removed, which the pod may have had before"
            ),
            Self::Port {
                container,
                field,
                port,
            } => write!(
                f,
                "{field} of container {container} asks port {port:?}, which may have been a number"
            ),
            Self::Lost { path } => write!(
                f,
                "what stood at {path} is not put back, because its place is gone"
            ),
        }
    }
}

/// Takes an injection back; `None` if the pod has not been injected.
///
/// A pod that this crate injected comes out equal to what went in, apart from what was changed since by others, which stays. For one that another injector
/// made, such as Istio's, or that was made before all was recorded, [`Uninjected::doubts`] says what could not be known.
///
/// # Errors
/// When the record is damaged or would have the application removed; the pod is to be taken from its source then.
pub fn uninject(pod: &Value) -> Result<Option<Uninjected>, UninjectError> {
    let is_injected = pod::metadata_map(pod, "annotations")
        .is_some_and(|annotations| annotations.contains_key(annotations::STATUS));
    if !is_injected {
        return Ok(None);
    }
    pod::check(pod).map_err(|source| UninjectError::Shape {
        source: Box::new(source),
    })?;
    let text = pod::annotation(pod, annotations::STATUS).unwrap_or_default();
    let status: Status =
        serde_json::from_str(text).map_err(|source| UninjectError::Status { source })?;
    let overrides = Overrides::of(pod).map_err(|source| UninjectError::Overrides {
        source: Box::new(source),
    })?;
    let mut restored = pod.clone();
    let mut doubts = strip(&mut restored, &Notes::of(pod, &status), &status, &overrides);
    if let Some(rest) = status.rest() {
        let lost = rest.apply(&mut restored, |container| status.names(container));
        doubts = lost.into_iter().map(|path| Doubt::Lost { path }).collect();
    }
    check_kept(pod, &restored, &status)?;
    Ok(Some(Uninjected {
        pod: restored,
        doubts,
    }))
}

/// Refuses a result that is without a container of the application.
fn check_kept(pod: &Value, restored: &Value, status: &Status) -> Result<(), UninjectError> {
    let names = |pod| {
        let lists = List::BOTH.into_iter();
        lists.flat_map(move |list| pod::containers(pod, list).iter().map(pod::name))
    };
    let left: HashSet<_> = names(restored).collect();
    match names(pod).find(|name| !status.names(name) && !left.contains(name)) {
        Some(container) => Err(UninjectError::Application {
            container: Some(container.to_owned()),
        }),
        None if pod::containers(restored, List::Main).is_empty()
            && !pod::containers(pod, List::Main).is_empty() =>
        {
            Err(UninjectError::Application { container: None })
        }
        None => Ok(()),
    }
}

/// What a status and `saved` containers do not say of `pod`, which became `merged`; `touched` are the containers that templates had a part in.
///
/// An injected pod that is injected again is first what it was before; where that is not known, the record stays as it is.
pub(crate) fn rest(
    pod: &Value,
    merged: &Value,
    (status, earlier): (&Status, Option<&Status>),
    saved: &Overrides,
    touched: &HashSet<String>,
) -> Option<Rest> {
    let restored = match earlier.map(|earlier| (earlier, uninject(pod))) {
        None => None,
        Some((_, Ok(restored))) => restored,
        Some((earlier, Err(_))) => return earlier.rest().cloned(),
    };
    let author = restored.as_ref().map_or(pod, |restored| &restored.pod);
    let (author, mut candidate) = reduce::reduce(author, merged, (status, saved), touched);
    strip(&mut candidate, &Notes::of(merged, status), status, saved);
    let rest = Rest::between(&candidate, &author);
    (!rest.is_empty()).then_some(rest)
}
