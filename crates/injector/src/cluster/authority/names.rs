//! The names that the webhook is called by.
//!
//! They are those of the Services in front of the injector, as the API server and workloads write them.

use contract::control_plane::{ISTIOD, SIDECAR_INJECTOR};
use identity::DnsName;

/// A name that no certificate can be for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is no DNS name that a certificate can be for")]
pub struct NameError {
    /// What was given.
    pub name: String,
}

/// The names of the Services of `revision` (empty or `default`: the default one) in `namespace`, and the `custom` ones.
///
/// # Errors
/// When one is no DNS name.
pub fn serving_names<'a>(
    namespace: &str,
    revision: &str,
    custom: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<DnsName<'static>>, NameError> {
    let suffix = match revision {
        "" | "default" => String::new(),
        revision => format!("-{revision}"),
    };
    let services = [SIDECAR_INJECTOR, ISTIOD].into_iter().flat_map(|service| {
        ["svc", "svc.cluster.local"].map(|zone| format!("{service}{suffix}.{namespace}.{zone}"))
    });
    let custom = custom
        .into_iter()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    services
        .chain(custom)
        .map(|name| DnsName::try_from(name.clone()).map_err(|_| NameError { name }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(revision: &str, custom: &[&str]) -> Result<Vec<String>, NameError> {
        let names = serving_names("istio-system", revision, custom.iter().copied())?;
        Ok(names.iter().map(|name| name.as_ref().to_owned()).collect())
    }

    #[test]
    fn names_are_those_of_the_services() {
        let default = [
            "istio-sidecar-injector.istio-system.svc",
            "istio-sidecar-injector.istio-system.svc.cluster.local",
            "istiod.istio-system.svc",
            "istiod.istio-system.svc.cluster.local",
        ];
        assert_eq!(names("", &[]).unwrap(), default);
        assert_eq!(names("default", &[" "]).unwrap(), default);
        let canary = names("canary", &[" istiod.example.com"]).unwrap();
        assert!(canary.contains(&"istiod-canary.istio-system.svc".to_owned()));
        assert_eq!(canary.last().unwrap(), "istiod.example.com");
        assert_eq!(
            names("", &["a b"]).unwrap_err().to_string(),
            "\"a b\" is no DNS name that a certificate can be for"
        );
    }
}
