//! What the picture says of itself.

use std::collections::BTreeSet;

use super::Picture;
use crate::discovery::{
    client::Kind,
    status::{KindLabels, KindReport},
};

/// Names that the report shows.
const SHOWN: usize = 1000;

// === impl Picture ===

impl Picture {
    pub(super) fn report(&self) {
        let names = self.client.names(Kind::Address);
        let n_subscriptions = names.map_or(0, BTreeSet::len);
        let metrics = &self.status.metrics;
        // As many as a gauge can hold.
        metrics.subscriptions.set(n_subscriptions as i64);
        metrics.from_cache.set(i64::from(self.cache_from.is_some()));
        let held = Kind::ALL.map(|kind| (kind, self.client.resources(kind).count()));
        for (kind, n_held) in held {
            let r#type = kind.as_str();
            let resources = metrics.resources.get_or_create(&KindLabels { r#type });
            resources.set(n_held as i64);
        }
        self.status.change(|report| {
            report.cache_from = self.cache_from;
            report.n_bytes = self.client.n_bytes();
            report.n_subscriptions = n_subscriptions;
            report.subscriptions = names.into_iter().flatten().take(SHOWN).cloned().collect();
            report.kinds = held
                .into_iter()
                .map(|(kind, n_held)| {
                    let before = report.kinds.iter().find(|of| of.kind == kind.as_str());
                    KindReport {
                        kind: kind.as_str(),
                        is_answered: self.client.is_answered(kind),
                        n_held,
                        ..before.cloned().unwrap_or_default()
                    }
                })
                .collect();
        });
    }
}
