//! The parts of Istio's ProxyConfig that the agent obeys.
//!
//! Injection puts it, already merged from mesh and pod, into the environment as the JSON of a protobuf message: numbers may be
//! texts, durations are texts, wrapped numbers may be null. Fields that are unknown here belong to Envoy and are passed over.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// ProxyConfig as far as it matters; absent fields are `None`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct ProxyConfig {
    /// Port of the status server.
    #[serde(deserialize_with = "number")]
    pub status_port: Option<i64>,
    /// Port of the admin interface.
    #[serde(deserialize_with = "number")]
    pub proxy_admin_port: Option<i64>,
    /// Number of worker threads, 0 for one per core.
    #[serde(deserialize_with = "number")]
    pub concurrency: Option<i64>,
    /// How long connections may go on after SIGTERM, `5s`.
    pub termination_drain_duration: Option<String>,
    /// Address of the control plane, `istiod.istio-system.svc:15012`.
    pub discovery_address: Option<String>,
    /// Variables that stand in for absent environment variables of the same name.
    pub proxy_metadata: Option<BTreeMap<String, String>>,
}

// === impl ProxyConfig ===

impl ProxyConfig {
    /// Reads the JSON text; an empty one is an empty configuration, as is `null`.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if text.trim_start().starts_with('[') {
            // serde would take a list for the fields in their order.
            return Err(de::Error::custom("expected an object, not a list"));
        }
        serde_json::from_str::<Option<Self>>(text).map(Option::unwrap_or_default)
    }

    /// What `proxyMetadata` says for the environment variable `name`.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let value = self.proxy_metadata.as_ref()?.get(name)?;
        Some(value.as_str())
    }
}

/// A number of protobuf's JSON: also as a text, and null for unset.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = Option<i64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
            Ok(Some(value))
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
            i64::try_from(value).map(Some).map_err(E::custom)
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
            value
                .parse()
                .map(Some)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }

    deserializer.deserialize_any(Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_fields_are_read_and_others_passed_over() {
        let config = ProxyConfig::parse(
            r#"{"statusPort": 15099, "proxyAdminPort": "15098", "concurrency": "2", "terminationDrainDuration": "7s", "drainDuration": "45s",
                "proxyMetadata": {"A": "b"}, "tracing": {"zipkin": {"address": "x:1"}}, "proxyHeaders": null}"#,
        )
        .unwrap();
        assert_eq!(config.status_port, Some(15099));
        assert_eq!(config.proxy_admin_port, Some(15098));
        assert_eq!(config.concurrency, Some(2));
        assert_eq!(config.termination_drain_duration.as_deref(), Some("7s"));
        assert_eq!(config.metadata("A"), Some("b"));
    }

    #[test]
    fn nothing_is_an_empty_configuration() {
        for text in [
            "",
            "\n",
            "{}\n",
            "null",
            r#"{"concurrency": null, "proxyMetadata": null}"#,
        ] {
            assert_eq!(
                ProxyConfig::parse(text).unwrap(),
                ProxyConfig::default(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let table = [
            (
                r#"{"concurrency": "two"}"#,
                "a whole number at line 1 column",
            ),
            (r#"{"statusPort": []}"#, "a whole number at line 1 column"),
            ("{\n\"statusPort\": ", "line 2"),
            ("[15020]", "expected an object"),
            ("7", "line 1"),
            (r#"{"statusPort": 18446744073709551615}"#, "out of range"),
        ];
        for (text, expected) in table {
            let error = ProxyConfig::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
