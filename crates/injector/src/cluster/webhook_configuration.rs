//! The webhook's trust in the injector: `caBundle` in the chart's webhook configurations.
//!
//! Run by `app` beside the authority, whose bundle it writes into every entry; without it the API server cannot call the webhook at all, so the
//! pod is not ready before the first success with the one that injects. Whatever else changes the bundle is put right, and slowed down if it insists.
//! Each write is a JSON patch that tests the entries' names first, so an entry that moved meanwhile is never given another's bundle.

mod registered;
mod tags;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::watcher::{DefaultBackoff, Event},
};
use runtime::{
    error::chain,
    readiness::{Detail, Guard},
};
use serde_json::{Value, json};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{
    Bundle, Context,
    api::{ApiError, Kind, call},
    watch::{LONGEST_PAUSE, Selection, Watch},
};
use crate::metrics::WebhookPatches as Metrics;

pub use registered::Registered;
pub use tags::Tags;

/// Keeps `caBundle` in step.
pub struct Keeper<K> {
    context: Context,
    name: String,
    configurations: Api<K>,
    bundle: Bundle,
    found: Found<K>,
    /// Slows down what fails, and a contest with somebody else who writes.
    pace: DefaultBackoff,
    not_before: Option<Instant>,
    fault: Option<String>,
    detail: Detail,
    guard: Option<Guard>,
    metrics: Metrics,
}

/// What the watch has seen.
enum Found<K> {
    /// Nothing yet.
    Unknown,
    /// A list without it, so far or for good.
    Nothing { listed: bool },
    /// It.
    Object(Box<K>),
}

/// What is to be done about a configuration.
#[derive(Debug, PartialEq)]
enum Decision {
    /// Every entry has the bundle.
    Keep,
    /// The JSON patch that gives it to those that have not.
    Patch(Value),
    /// There is no entry to give it to.
    NoEntry,
}

/// What the configuration lacks.
fn decide<K: Registered>(configuration: &K, bundle: &str) -> Decision {
    let entries = configuration.entries();
    if entries.is_empty() {
        return Decision::NoEntry;
    }
    let encoded = STANDARD.encode(bundle);
    let mut operations = Vec::new();
    for (idx, (name, present)) in entries.into_iter().enumerate() {
        if present.is_some_and(|present| present.0 == bundle.as_bytes()) {
            continue;
        }
        let path = format!("/webhooks/{idx}");
        operations.push(json!({"op": "test", "path": format!("{path}/name"), "value": name}));
        operations.push(
            json!({"op": "add", "path": format!("{path}/clientConfig/caBundle"), "value": encoded}),
        );
    }
    if operations.is_empty() {
        Decision::Keep
    } else {
        Decision::Patch(Value::Array(operations))
    }
}

// === impl Keeper ===

impl<K: Registered> Keeper<K> {
    /// Keeps the configuration `name` in step with `bundle`. The program is not ready before that has succeeded once, if it is an essential one.
    #[must_use]
    pub fn new(context: Context, name: String, bundle: Bundle, metrics: Metrics) -> Self {
        Self {
            configurations: Api::all(context.client.clone()),
            found: Found::Unknown,
            pace: DefaultBackoff::default(),
            not_before: None,
            fault: None,
            detail: context.readiness.detail(K::COMPONENT),
            guard: K::IS_ESSENTIAL.then(|| context.readiness.register(K::COMPONENT)),
            context,
            name,
            bundle,
            metrics,
        }
    }

    /// Goes on for ever.
    pub async fn run(mut self) {
        let mut watch = Watch::new(
            K::WATCH,
            self.configurations.clone(),
            &Selection::named(&self.name),
            self.context.readiness.detail(K::WATCH_COMPONENT),
            self.context.events.clone(),
        );
        loop {
            let wait = self.not_before;
            tokio::select! {
                event = watch.next() => self.observe(event),
                () = bundle_changed(&mut self.bundle) => {}
                () = time::sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => {
                    self.not_before = None;
                }
            }
            self.step().await;
        }
    }

    fn observe(&mut self, event: Event<K>) {
        self.found = match event {
            Event::Init => Found::Nothing { listed: false },
            Event::Apply(object) | Event::InitApply(object) => Found::Object(Box::new(object)),
            Event::Delete(_) => Found::Nothing { listed: true },
            Event::InitDone => match std::mem::replace(&mut self.found, Found::Unknown) {
                Found::Object(object) => Found::Object(object),
                Found::Unknown | Found::Nothing { .. } => Found::Nothing { listed: true },
            },
        };
    }

    /// Does what is to be done now, if anything is.
    async fn step(&mut self) {
        let Some(bundle) = self.bundle.borrow_and_update().clone() else {
            return;
        };
        let decision = match &self.found {
            Found::Unknown | Found::Nothing { listed: false } => return,
            Found::Nothing { listed: true } => return self.missing(),
            Found::Object(object) => decide(&**object, &bundle),
        };
        match decision {
            Decision::Keep => self.succeeded(),
            Decision::NoEntry => {
                let text = format!(
                    "{} {} has no entry, {}; upgrade the chart's release to have them back",
                    K::KIND,
                    self.name,
                    K::NO_ENTRY
                );
                self.failed("webhook_entry_not_found", "WebhookEntryMissing", text);
            }
            // What waits is done when its time has come.
            Decision::Patch(_) if self.not_before.is_some() => {}
            Decision::Patch(patch) => self.patch(patch).await,
        }
    }

    async fn patch(&mut self, patch: Value) {
        self.metrics.attempted(&self.name, self.fault.is_some());
        let wait = self.pace.next().unwrap_or(LONGEST_PAUSE);
        self.not_before = Some(Instant::now() + wait.min(LONGEST_PAUSE));
        match send(&self.configurations, &self.name, patch).await {
            Ok(object) => {
                info!(name = self.name, "caBundle written");
                let note = format!("caBundle of {} {} written", K::KIND, self.name);
                self.context.events.info("WebhookPatched", note);
                self.found = Found::Object(Box::new(object));
                self.succeeded();
            }
            Err(error) => {
                self.failed(
                    label(&error),
                    "WebhookPatchFailed",
                    chain(&error).to_string(),
                );
            }
        }
    }

    fn missing(&mut self) {
        let text = format!("{} {} is not there, {}", K::KIND, self.name, K::MISSING);
        self.failed(
            "webhook_config_not_found",
            "WebhookConfigurationMissing",
            text,
        );
    }

    fn failed(&mut self, label: &'static str, reason: &'static str, text: String) {
        self.metrics.failed(&self.name, label);
        if self.fault.as_ref() == Some(&text) {
            return;
        }
        warn!(name = self.name, error = %text, "caBundle cannot be kept in step");
        self.context.events.warn(reason, text.clone());
        self.detail.set(text.clone());
        self.fault = Some(text);
    }

    fn succeeded(&mut self) {
        self.guard = None;
        if self.fault.take().is_some() {
            info!(name = self.name, "caBundle is in step again");
            self.detail.clear();
        }
    }
}

async fn send<K: Registered>(
    configurations: &Api<K>,
    name: &str,
    patch: Value,
) -> Result<K, ApiError> {
    let doing = format!("patch {} {name}", K::KIND);
    let patch = serde_json::from_value(patch)
        .map_err(|error| ApiError::new(doing.clone(), kube::Error::SerdeError(error)))?;
    let patch = Patch::Json::<()>(patch);
    let params = PatchParams::default();
    call(doing, configurations.patch(name, &params, &patch)).await
}

/// The metric's reason for an error, one of Istio's.
fn label(error: &ApiError) -> &'static str {
    match error.kind() {
        Kind::NotFound => "webhook_config_not_found",
        _ => "webhook_update_failure",
    }
}

/// Ends when there is another bundle; never if there will be none.
async fn bundle_changed(bundle: &mut Bundle) {
    if bundle.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;

    use super::*;

    fn configuration(entries: &[(&str, Option<&str>)]) -> MutatingWebhookConfiguration {
        let entries = entries
            .iter()
            .map(|(name, bundle)| {
                json!({
                    "name": name,
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {"caBundle": bundle.map(|text| STANDARD.encode(text))},
                })
            })
            .collect::<Vec<_>>();
        serde_json::from_value(json!({"metadata": {"name": "w"}, "webhooks": entries}))
            .expect("a configuration")
    }

    #[test]
    fn only_entries_without_the_bundle_are_patched_each_after_a_test_of_its_name() {
        let found = configuration(&[("a", Some("new")), ("b", None), ("c", Some("old"))]);
        let encoded = STANDARD.encode("new");
        assert_eq!(
            decide(&found, "new"),
            Decision::Patch(json!([
                {"op": "test", "path": "/webhooks/1/name", "value": "b"},
                {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": encoded},
                {"op": "test", "path": "/webhooks/2/name", "value": "c"},
                {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": encoded},
            ]))
        );
    }

    #[test]
    fn what_is_in_step_is_left_alone() {
        let found = configuration(&[("a", Some("new"))]);
        assert_eq!(decide(&found, "new"), Decision::Keep);
        assert_eq!(decide(&configuration(&[]), "new"), Decision::NoEntry);
    }
}
