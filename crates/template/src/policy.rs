//! Injection without a webhook: the configuration as a MutatingAdmissionPolicy, which the API server executes itself.
//!
//! Called by `minimesh template policy`; pure. The templates are executed for any pod, so that what depends on the pod comes out as expressions of
//! CEL; what cannot be said keeps a pod out of the policy, with a reason.
//! A pod that the policy lets pass without a sidecar is refused by a second, validating policy, unless somebody else has injected it.
//!
//! ```text
//!  Config ─► partial execution ─► tree of values with conditions ─┬─► mutation   ─► MutatingAdmissionPolicy, bindings
//!                │ assumptions                                    └─► conditions ─► ValidatingAdmissionPolicy, bindings
//!                └─► what cannot be said ─► Policy::unsaid
//! ```

pub(crate) mod cel;
pub(crate) mod facts;

mod conditions;
mod explore;
mod manifest;
mod mutation;
mod probes;
mod share;
mod tree;

use std::fmt;

use serde_json::Value;

pub use self::manifest::{ApiVersion, Selection, Settings};
use crate::{config::Config, decide, error::Error, options::Platform};

/// The policies for a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The objects to apply, in order: each is a whole manifest.
    pub manifests: Vec<Value>,
    /// What the policies do not say, and so what remains for the webhook.
    pub unsaid: Vec<Unsaid>,
}

/// Something that an injection does and the policy does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaid {
    /// A stable name of the kind, such as `annotations`.
    pub code: &'static str,
    /// What it is: an annotation's key, or a sentence's end after "a pod that …".
    pub what: String,
    /// Why CEL does not say it.
    pub why: String,
    /// Whether such a pod is left out. If not, it is injected, but without this.
    pub excludes: bool,
}

/// Why there is no policy for a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A template does something that CEL does not.
    #[error(
        "template: {template}:{line}:{column}: the action <{snippet}> {what}, which CEL cannot say; use the webhook, or another template"
    )]
    Beyond {
        /// The template's name.
        template: String,
        /// The line, counted from 1.
        line: usize,
        /// The column in characters, counted from 1.
        column: usize,
        /// The action.
        snippet: String,
        /// What it does.
        what: String,
    },
    /// A template adds something in a place where it would have to be merged.
    #[error(
        "the templates set {field}, which would have to be merged with the pod's own; use the webhook, or another template"
    )]
    Field {
        /// Such as `spec.hostAliases`.
        field: String,
    },
    /// The result depends on too many things at once.
    #[error(
        "the templates give more than {limit} different results; use the webhook, or a template that asks fewer questions"
    )]
    Cases {
        /// How many are tried.
        limit: usize,
    },
    /// A template does not work for any pod.
    #[error("the configuration cannot inject a pod")]
    Injection {
        /// Why.
        #[from]
        source: Error,
    },
    /// User ids depend on the namespace.
    #[error(
        "on OpenShift each namespace has its own user ids, which a policy cannot compute; use the webhook"
    )]
    OpenShift,
    /// The configuration injects nothing.
    #[error(
        "the configuration's policy is {policy:?}, with which nothing is ever injected; it must be enabled or disabled"
    )]
    Nothing {
        /// What it says.
        policy: String,
    },
}

/// What is never part of a policy, whatever the configuration.
const NEVER_SAID: [(&str, &str, &str); 3] = [
    (
        "warnings",
        "warnings about surprising pods",
        "mutating policies have no warnings; `minimesh why -f FILE` gives them",
    ),
    (
        "reinjection",
        "injecting an injected pod again",
        "a pod with the status annotation is taken as it is",
    ),
    (
        "url",
        "variables from the webhook's URL",
        "there is no URL; set them in the values",
    ),
];

/// Turns a configuration into policies.
///
/// # Errors
/// What in the configuration cannot be said for any pod at all. What only concerns some pods is in [`Policy::unsaid`].
pub fn compile(config: &Config, settings: &Settings) -> Result<Policy, PolicyError> {
    if config.options().platform == Platform::OpenShift {
        return Err(PolicyError::OpenShift);
    }
    let compiled = config.compiled();
    if let decide::Policy::Unknown(policy) = &compiled.rules.policy {
        return Err(PolicyError::Nothing {
            policy: policy.clone(),
        });
    }
    let found = explore::explore(config)?;
    let mutation = mutation::expression(&found.added, found.probe_port).map_err(|unreachable| {
        PolicyError::Field {
            field: unreachable.field,
        }
    })?;
    let exclusions = conditions::exclusions(config.options(), &found);
    let manifests = manifest::all(&manifest::Parts {
        settings,
        decision: &conditions::decision(&compiled.rules),
        exclusions: &exclusions,
        probe_port: found.probe_port,
        mutation: &mutation,
        revision: &config.options().revision,
    });
    Ok(Policy {
        manifests,
        unsaid: unsaid(&exclusions, &found),
    })
}

fn unsaid(exclusions: &[conditions::Exclusion], found: &explore::Found) -> Vec<Unsaid> {
    let mut unsaid = Vec::new();
    for (key, why) in &found.absent {
        unsaid.push(Unsaid {
            code: conditions::ANNOTATIONS,
            what: format!("has annotation {key}"),
            why: why.clone(),
            excludes: true,
        });
    }
    let others = exclusions
        .iter()
        .filter(|exclusion| exclusion.code != conditions::ANNOTATIONS);
    unsaid.extend(others.map(|exclusion| Unsaid {
        code: exclusion.code,
        what: exclusion.what.clone(),
        why: exclusion.why.to_owned(),
        excludes: true,
    }));
    unsaid.extend(NEVER_SAID.map(|(code, what, why)| Unsaid {
        code,
        what: what.to_owned(),
        why: why.to_owned(),
        excludes: false,
    }));
    unsaid
}

// === impl Unsaid ===

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code, what, why, ..
        } = self;
        if self.excludes {
            write!(f, "{code}: not for a pod that {what}: {why}")
        } else {
            write!(f, "{code}: no {what}: {why}")
        }
    }
}

#[cfg(test)]
mod tests;
