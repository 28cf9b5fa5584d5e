//! The registry of a program's metrics.
//!
//! Subsystems register their families in [`Registry::families`] while the program is put together; afterwards the registry is
//! shared and only read. The first family is always `istio_build`, so a scrape tells who answers.

use std::fmt;

use prometheus_client::{encoding::text, metrics::gauge::ConstGauge, registry};

/// What [`Registry::encode`] gives, for the `Content-Type` header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a program.
#[derive(Debug)]
pub struct Registry {
    families: registry::Registry,
}

// === impl Registry ===

impl Registry {
    /// A registry with `istio_build{component,tag} 1`; `component` is Istio's name for the part, `pilot` or `proxy`, `tag` the version.
    #[must_use]
    pub fn new(component: &str, tag: &str) -> Self {
        let mut families = registry::Registry::default();
        families
            .sub_registry_with_labels(
                [
                    ("component".into(), component.to_owned().into()),
                    ("tag".into(), tag.to_owned().into()),
                ]
                .into_iter(),
            )
            .register(
                "istio_build",
                "Version of the program",
                ConstGauge::new(1_i64),
            );
        Self { families }
    }

    /// Where subsystems register families and collectors, before the registry is shared.
    pub fn families(&mut self) -> &mut registry::Registry {
        &mut self.families
    }

    /// All metrics in the OpenMetrics text format, the closing `# EOF` included.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut page = String::new();
        self.write(&mut page);
        page
    }

    /// The same, written to `page` bit by bit. Whatever the writer waits for, everybody who counts may wait for, too.
    pub fn write(&self, page: &mut impl fmt::Write) {
        if let Err(error) = text::encode(page, &self.families) {
            // Writing to memory does not fail; a collector can, and then loses the rest of the page.
            tracing::error!(%error, "metrics cannot be encoded");
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn the_page_names_the_build_and_every_family() {
        let mut registry = Registry::new("pilot", "1.2.3");
        let requests: Counter = Counter::default();
        registry
            .families()
            .register("requests", "Requests seen", requests.clone());
        requests.inc();
        let page = registry.encode();
        assert!(
            page.contains("istio_build{component=\"pilot\",tag=\"1.2.3\"} 1\n"),
            "{page}"
        );
        assert!(page.contains("requests_total 1\n"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
