//! Injecting one pod: the question, the answer and the way between them.
//!
//! Called by the webhook and the command line for each pod; the same pod and configuration always give the same result.
//! Here it is decided whether to inject; how is in [`pipeline`].

mod pipeline;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use self::pipeline::{Injection, OWN_CONTAINERS};
use crate::{
    config::Config,
    decide::{self, Decision, Reason},
    error::Error,
    owner::Owner,
    pod,
    warning::Warning,
};

/// A pod, and what is known of its surroundings.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The pod, or a pod template.
    pub pod: &'a Value,
    /// The namespace it will be in.
    pub namespace: &'a Namespace,
    /// The workload around a pod template; `None` for a pod by itself, whose owner is guessed from its metadata.
    pub owner: Option<Owner>,
    /// Variables for the sidecar from the webhook's URL, see [`crate::environment::from_path`].
    pub environment: &'a BTreeMap<String, String>,
}

/// A namespace: its name, and its object where the caller has it.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Its name; empty where none is known.
    pub name: String,
    /// The whole object, for annotations that give OpenShift's ranges of ids.
    pub object: Option<Value>,
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was injected.
    Injected {
        /// The whole pod with everything added; fields that injection does not know are as they were.
        pod: Value,
        /// What its author should know.
        warnings: Vec<Warning>,
    },
    /// It stays as it is.
    Skipped {
        /// Why.
        reason: Reason,
        /// What its author should know.
        warnings: Vec<Warning>,
    },
}

// === impl Namespace ===

impl Namespace {
    /// A namespace of which only the name is known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            object: None,
        }
    }

    /// A namespace whose object is at hand.
    #[must_use]
    pub fn of(object: Value) -> Self {
        Self {
            name: pod::text(&object, &["metadata", "name"]).to_owned(),
            object: Some(object),
        }
    }
}

/// Injects the sidecar into a pod, if it is to have one.
///
/// # Errors
/// When the pod, one of its annotations or a template is wrong. It is the pod author's fault except for [`Error::Render`], [`Error::RenderedYaml`],
/// [`Error::RenderedShape`] and [`Error::Merge`], where it may be the configuration's. Trying again without a change gives the same error.
pub fn inject(config: &Config, request: &Request<'_>) -> Result<Outcome, Error> {
    pod::check(request.pod)?;
    let mut warnings = Vec::new();
    if let Some(value) = decide::odd_wish(request.pod) {
        warnings.push(Warning::UnclearWish {
            value: value.to_owned(),
        });
    }
    match decide::decide(
        request.pod,
        &request.namespace.name,
        &config.compiled().rules,
    ) {
        Decision::Skip(reason) => Ok(Outcome::Skipped { reason, warnings }),
        Decision::Inject => {
            let (pod, warnings) = Injection::new(config, request, warnings)?.run()?;
            Ok(Outcome::Injected { pod, warnings })
        }
    }
}
