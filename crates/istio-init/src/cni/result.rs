//! The result: what the plugin before has returned, in the version that is asked for.
//!
//! Called by [`cni`](super); pure. A chained plugin adds nothing to the interfaces and addresses of a pod, and whoever comes after it must find them.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{
    error::CniError,
    request::{Request, configuration_error},
};

/// The previous result as text.
///
/// # Errors
/// There is none: then this plugin would be the first of its chain, and there is no pod network yet.
pub(super) fn passed_on(request: &Request) -> Result<String, CniError> {
    let previous = request.previous_result().ok_or_else(|| {
        configuration_error(
            "it has no prevResult; this plugin stands behind the one that makes the interface, in the list \"plugins\" of a .conflist"
                .to_owned(),
        )
    })?;
    let result = Value::Object(in_version(previous, request.version()));
    Ok(format!("{result}\n"))
}

/// Results of 0.3.1 and 0.4.0 name the family of each address, those of 1.0.0 and later do not.
fn in_version(previous: &Map<String, Value>, version: &str) -> Map<String, Value> {
    let mut result = previous.clone();
    result.insert("cniVersion".to_owned(), Value::from(version));
    if let Some(Value::Array(addresses)) = result.get_mut("ips") {
        for address in addresses.iter_mut().filter_map(Value::as_object_mut) {
            if !version.starts_with("0.") {
                address.remove("version");
            } else if let Some(family) = family(address) {
                address.insert("version".to_owned(), Value::from(family));
            }
        }
    }
    result
}

fn family(address: &Map<String, Value>) -> Option<&'static str> {
    let (address, _) = address.get("address")?.as_str()?.split_once('/')?;
    Some(match address.parse().ok()? {
        IpAddr::V4(_) => "4",
        IpAddr::V6(_) => "6",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_is_passed_on_in_the_version_that_is_asked_for() {
        let new = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}, {"address": "fd00::2/64"}], "dns": {}, "other": 1});
        let old = json!({"cniVersion": "0.4.0", "ips": [{"address": "10.0.0.2/24", "version": "4"}, {"address": "fd00::2/64", "version": "6"}], "dns": {}, "other": 1});
        let converted =
            |from: &Value, version| Value::Object(in_version(from.as_object().unwrap(), version));
        assert_eq!(converted(&new, "0.4.0"), old);
        assert_eq!(converted(&old, "1.0.0"), new);
        for version in crate::cni::request::SUPPORTED {
            assert_eq!(converted(&new, version)["cniVersion"], version);
        }
    }

    #[test]
    fn what_is_no_address_stays_as_it_is() {
        let odd = json!({"ips": [7, {"address": "nowhere"}, {}]});
        let passed = in_version(odd.as_object().unwrap(), "0.3.1");
        assert_eq!(passed["ips"], odd["ips"]);
    }
}
