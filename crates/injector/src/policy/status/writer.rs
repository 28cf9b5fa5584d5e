//! Writes the status of the user's objects, in the one replica that leads.
//!
//! Run by `app` beside the `follower`, from which it hears of objects and policies. Each write is a patch under the version of the object that it is
//! about, and only where something is not yet said; what others say in the same status is written back as it is. If somebody insists on something
//! else, each next time takes longer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use runtime::{error::chain, readiness::Detail};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tracing::{debug, warn};

use super::conditions;
use crate::{
    cluster::{
        Context,
        api::{ApiError, Kind, call},
        lease::Leadership,
        pace::{Pace, Tempo},
    },
    policy::{Published, ledger::Objects, metrics::Status as Metrics, object::Object},
};

/// A few changes in a row, as people make them, are followed at once.
const TEMPO: Tempo = Tempo {
    shortest: Duration::from_millis(500),
    longest: Duration::from_secs(60),
};

/// Writes the status.
pub struct Writer {
    context: Context,
    objects: watch::Receiver<Arc<Objects>>,
    policies: Published,
    leadership: Leadership,
    paces: HashMap<String, Pace>,
    detail: Detail,
    failure: Option<Kind>,
    metrics: Metrics,
}

// === impl Writer ===

impl Writer {
    /// Writes the status of `objects` for as long as `leadership` is held.
    #[must_use]
    pub fn new(
        context: Context,
        objects: watch::Receiver<Arc<Objects>>,
        policies: Published,
        leadership: Leadership,
        metrics: Metrics,
    ) -> Self {
        Self {
            detail: context.readiness.detail("policy status"),
            context,
            objects,
            policies,
            leadership,
            paces: HashMap::new(),
            failure: None,
            metrics,
        }
    }

    /// Goes on for ever.
    pub async fn run(mut self) {
        let mut leadership = self.leadership.clone();
        loop {
            leadership.held().await;
            leadership.while_held(self.keep()).await;
            // What another replica writes meanwhile comes by the watch.
            self.quiet();
        }
    }

    /// Keeps every status in step, for ever.
    async fn keep(&mut self) {
        loop {
            let wake = self.write().await;
            tokio::select! {
                changed = self.objects.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Writes what may be written now, and says when there will be more.
    async fn write(&mut self) -> Option<Instant> {
        let objects = Arc::clone(&self.objects.borrow_and_update());
        let policies = self.policies.borrow().clone()?;
        self.paces.retain(|key, _| objects.contains_key(key));
        let mut wake: Option<Instant> = None;
        for (key, judged) in objects.iter() {
            let Some(conditions) = conditions(judged, &policies, Timestamp::now()) else {
                continue;
            };
            let pace = self.paces.entry(key.clone());
            let pace = pace.or_insert_with(|| Pace::new(&TEMPO));
            if pace.not_before(Instant::now()).is_none() {
                pace.attempted(Instant::now());
                let written = self.patch(key, &judged.object, conditions).await;
                self.record(written);
            }
            // Looked at again even after a success, which the watch has most often told by then.
            let next = self
                .paces
                .get(key)
                .and_then(|pace| pace.not_before(Instant::now()));
            wake = [wake, next].into_iter().flatten().min();
        }
        wake
    }

    async fn patch(
        &self,
        key: &str,
        object: &Object,
        conditions: Vec<Value>,
    ) -> Result<(), ApiError> {
        let metadata = &object.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = metadata.name.as_deref().unwrap_or_default();
        let objects = Api::<Object>::namespaced(self.context.client.clone(), namespace);
        let patch = json!({
            "metadata": {"resourceVersion": metadata.resource_version},
            "status": {"conditions": conditions},
        });
        let doing = format!("write the status of PeerAuthentication {key}");
        let params = PatchParams::default();
        let patch = Patch::Merge(&patch);
        call(doing, objects.patch_status(name, &params, &patch)).await?;
        Ok(())
    }

    fn record(&mut self, written: Result<(), ApiError>) {
        let Err(error) = written else {
            self.metrics.written();
            self.quiet();
            return;
        };
        match error.kind() {
            // Changed or deleted meanwhile, which the watch tells.
            Kind::Conflict | Kind::NotFound => debug!(error = %chain(&error), "status not written"),
            kind => {
                self.metrics.failed();
                let text = chain(&error).to_string();
                if self.failure.replace(kind) != Some(kind) {
                    warn!(error = %text, "the status of policies cannot be written, trying again");
                }
                self.detail.set(text);
            }
        }
    }

    fn quiet(&mut self) {
        if self.failure.take().is_some() {
            self.detail.clear();
        }
    }
}
