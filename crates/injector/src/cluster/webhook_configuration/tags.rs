//! The webhook configurations of the revision's tags.
//!
//! Run by `app` beside the [`Keeper`](super::Keeper) of the revision's own one. Tags come, go and move between revisions while the injector runs, so
//! they are found by their labels; one that has moved to another revision is no business of this injector any more.
//! Whatever is wrong with a tag is said, but keeps no replica from being ready: pods that do not use the tag are not concerned.

use std::collections::{HashMap, HashSet};

use contract::labels;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{Api, ResourceExt as _, runtime::watcher::Event};
use runtime::{error::chain, readiness::Detail};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{Decision, Metrics, bundle_changed, decide, label, send};
use crate::cluster::{
    Bundle, Context,
    pace::{Pace, Tempo},
    watch::{Selection, Watch},
};

/// How fast one configuration may be written.
const TEMPO: Tempo = Tempo {
    shortest: std::time::Duration::from_millis(500),
    longest: std::time::Duration::from_secs(30),
};

/// Keeps `caBundle` of all tags in step.
pub struct Tags {
    context: Context,
    selection: Selection,
    configurations: Api<MutatingWebhookConfiguration>,
    bundle: Bundle,
    tags: HashMap<String, Tag>,
    /// Names of the list that is being read.
    listing: HashSet<String>,
    detail: Detail,
    metrics: Metrics,
}

struct Tag {
    object: MutatingWebhookConfiguration,
    pace: Pace,
    fault: Option<String>,
}

// === impl Tags ===

impl Tags {
    /// Keeps those of the revision with this label in step with `bundle`.
    #[must_use]
    pub fn new(context: Context, revision: &str, bundle: Bundle, metrics: Metrics) -> Self {
        Self {
            selection: Selection::labelled(format!(
                "{},{}={revision}",
                labels::TAG,
                labels::REVISION
            )),
            configurations: Api::all(context.client.clone()),
            tags: HashMap::new(),
            listing: HashSet::new(),
            detail: context.readiness.detail("revision tags"),
            context,
            bundle,
            metrics,
        }
    }

    /// Goes on for ever.
    pub async fn run(mut self) {
        let mut watch = Watch::new(
            "the MutatingWebhookConfigurations of tags",
            self.configurations.clone(),
            &self.selection,
            self.context.readiness.detail("revision tag watch"),
            self.context.events.clone(),
        );
        loop {
            let wait = self.step().await;
            tokio::select! {
                event = watch.next() => self.observe(event),
                () = bundle_changed(&mut self.bundle) => {}
                () = time::sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => {}
            }
        }
    }

    fn observe(&mut self, event: Event<MutatingWebhookConfiguration>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                self.listing.insert(object.name_any());
                self.found(object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                self.tags.retain(|name, _| listed.contains(name));
            }
            Event::Apply(object) => self.found(object),
            Event::Delete(object) => drop(self.tags.remove(&object.name_any())),
        }
    }

    fn found(&mut self, object: MutatingWebhookConfiguration) {
        match self.tags.get_mut(&object.name_any()) {
            Some(tag) => tag.object = object,
            None => {
                let tag = Tag {
                    object,
                    pace: Pace::new(&TEMPO),
                    fault: None,
                };
                self.tags.insert(tag.object.name_any(), tag);
            }
        }
    }

    /// Does what is to be done now, and says when there will be more.
    async fn step(&mut self) -> Option<Instant> {
        let bundle = self.bundle.borrow_and_update().clone()?;
        let mut wait = None;
        for (name, tag) in &mut self.tags {
            let Decision::Patch(patch) = decide(&tag.object, &bundle) else {
                tag.fault = None;
                continue;
            };
            let now = Instant::now();
            if tag.pace.not_before(now).is_none() {
                tag.pace.attempted(now);
                self.metrics.attempted(name, tag.fault.is_some());
                match send(&self.configurations, name, patch).await {
                    Ok(object) => {
                        info!(name, "caBundle written");
                        tag.object = object;
                        tag.fault = None;
                        continue;
                    }
                    Err(error) => {
                        self.metrics.failed(name, label(&error));
                        let text = chain(&error).to_string();
                        if tag.fault.as_ref() != Some(&text) {
                            warn!(name, error = %text, "caBundle cannot be kept in step");
                            self.context.events.warn("WebhookPatchFailed", text.clone());
                            tag.fault = Some(text);
                        }
                    }
                }
            }
            let next = tag.pace.not_before(Instant::now());
            wait = [wait, next].into_iter().flatten().min();
        }
        self.report();
        wait
    }

    fn report(&self) {
        let mut faults: Vec<_> = self
            .tags
            .values()
            .filter_map(|tag| tag.fault.as_deref())
            .collect();
        faults.sort_unstable();
        match faults.first() {
            Some(first) => self.detail.set((*first).to_owned()),
            None => self.detail.clear(),
        }
    }
}
