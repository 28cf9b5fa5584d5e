//! The two kinds of webhook configuration, as far as they are alike.
//!
//! The keepers ask a configuration for its entries, whatever the webhook does.

use std::fmt::Debug;

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
    },
};
use kube::Resource;
use serde::de::DeserializeOwned;

/// A configuration by which the API server knows webhooks.
pub trait Registered:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Its kind.
    const KIND: &'static str;
    /// What errors call the watch of it.
    const WATCH: &'static str;
    /// What readiness calls the keeper of it.
    const COMPONENT: &'static str;
    /// What readiness calls the watch of it.
    const WATCH_COMPONENT: &'static str;
    /// What comes of its absence, and what to do.
    const MISSING: &'static str;
    /// What comes of its having no entries.
    const NO_ENTRY: &'static str;
    /// Whether the program is of no use without it.
    const IS_ESSENTIAL: bool;

    /// Name and `caBundle` of each entry.
    fn entries(&self) -> Vec<(&str, Option<&ByteString>)>;
}

impl Registered for MutatingWebhookConfiguration {
    const KIND: &'static str = "MutatingWebhookConfiguration";
    const WATCH: &'static str = "the MutatingWebhookConfiguration (--webhook-config)";
    const COMPONENT: &'static str = "webhook configuration";
    const WATCH_COMPONENT: &'static str = "webhook configuration watch";
    const MISSING: &'static str = "so no pod is injected; upgrade the chart's release to have it back, or give the name of another by --webhook-config (INJECTION_WEBHOOK_CONFIG_NAME)";
    const NO_ENTRY: &'static str = "so no pod is injected";
    const IS_ESSENTIAL: bool = true;

    fn entries(&self) -> Vec<(&str, Option<&ByteString>)> {
        let entries = self.webhooks.iter().flatten();
        entries
            .map(|entry| (entry.name.as_str(), entry.client_config.ca_bundle.as_ref()))
            .collect()
    }
}

impl Registered for ValidatingWebhookConfiguration {
    const KIND: &'static str = "ValidatingWebhookConfiguration";
    const WATCH: &'static str = "the ValidatingWebhookConfiguration (--validation-webhook-config)";
    const COMPONENT: &'static str = "validating webhook configuration";
    const WATCH_COMPONENT: &'static str = "validating webhook configuration watch";
    const MISSING: &'static str = "so policies are not checked before they are created; upgrade the chart's release to have it back, or give the name of another, or none, by --validation-webhook-config (VALIDATION_WEBHOOK_CONFIG_NAME)";
    const NO_ENTRY: &'static str = "so policies are not checked before they are created";
    const IS_ESSENTIAL: bool = false;

    fn entries(&self) -> Vec<(&str, Option<&ByteString>)> {
        let entries = self.webhooks.iter().flatten();
        entries
            .map(|entry| (entry.name.as_str(), entry.client_config.ca_bundle.as_ref()))
            .collect()
    }
}
