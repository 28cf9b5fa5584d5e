//! The pipeline for a pod that is not there yet.
//!
//! Called by `policy`: what templates give for any pod gets what the pipeline adds to it without looking at the author's part.
//! The steps are those of an injection, so a policy cannot drift away from the webhook.

use contract::annotations;
use serde_json::{Value, json};

use super::{Earlier, Injection};
use crate::{
    error::Error,
    order, overrides,
    owner::Owner,
    pod::{self, List},
    record::Status,
    render::Context,
};

/// The name that stands for all of the author's containers in a list of containers.
pub(crate) const OWN_CONTAINERS: &str = "\u{E000}own\u{E001}";

/// What an injection adds to any pod.
pub(crate) struct Addition {
    /// The added part of the pod, with a container [`OWN_CONTAINERS`] where the author's stand.
    pub(crate) pod: Value,
    /// The port to which probes are sent, if they are rewritten.
    pub(crate) probe_port: Option<u16>,
    /// Whether annotations about scraping have been written, so that the author's would have to be moved.
    pub(crate) scrapes: bool,
}

// === impl Injection ===

impl Injection<'_> {
    /// What templates see beside the pod.
    pub(crate) fn surroundings(&self, owner: &Owner) -> Context<'_> {
        let namespace = &self.request.namespace.name;
        self.context(self.request.pod, namespace, owner, &self.proxy_config)
    }

    /// Completes what the templates gave.
    pub(crate) fn complete(
        mut self,
        template_pod: &Value,
        template_rewrites: Option<bool>,
    ) -> Result<Addition, Error> {
        let mut merged = template_pod.clone();
        overrides::tidy(&mut merged, template_pod);
        let earlier = Earlier {
            scrape: None,
            probers: None,
        };
        self.adjust(&mut merged, &earlier, template_rewrites)?;
        let rewrites = self.rewrites_probes(&merged, template_rewrites);
        let revision = self.options.shown_revision();
        let mut status = Status::new(template_pod, &merged, None, revision);
        if self.config.has_own_cni_plugin() {
            status.record_capture(template_pod, &merged);
        }
        self.annotate(&mut merged);
        pod::annotate(&mut merged, annotations::STATUS, status.to_json());
        for list in List::BOTH {
            pod::containers_entry(&mut merged, list).push(json!({"name": OWN_CONTAINERS}));
        }
        order::arrange(&mut merged, self.holds_application());
        let scrapes = pod::annotation(&merged, "prometheus.io/scrape").is_some();
        Ok(Addition {
            pod: merged,
            probe_port: Some(self.status_port).filter(|port| rewrites && *port != 0),
            scrapes,
        })
    }
}
