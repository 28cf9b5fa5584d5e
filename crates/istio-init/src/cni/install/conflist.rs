//! The node's network configuration, with and without the plugin's entry: text in, text out.
//!
//! Called by the installer; pure. Whatever else is in the configuration stays, and what needs no change is not written again, so that two who chain
//! their plugins to the same list leave each other in peace.

use contract::cni::PLUGIN;
use serde_json::{Map, Value};

use crate::cni::request::SUPPORTED;

/// Why a configuration cannot be extended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConflistError {
    /// It is no JSON.
    #[error("it is no JSON")]
    Json {
        /// Where and why.
        #[from]
        source: serde_json::Error,
    },
    /// It has no plugins.
    #[error("it has no list \"plugins\" with the plugin that makes the interface")]
    Plugins,
    /// It is for another version of the specification.
    #[error("its cniVersion {given:?} is not one of {}", SUPPORTED.join(", "))]
    Version {
        /// As it has it; empty if it has none.
        given: String,
    },
}

/// The configuration with `entry` in it, at the end unless it stands elsewhere behind the first plugin already; nothing if it is there just so.
pub(super) fn with(text: &[u8], entry: &Value) -> Result<Option<String>, ConflistError> {
    let mut list: Map<String, Value> = serde_json::from_slice(text)?;
    let given = list
        .get("cniVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !SUPPORTED.contains(&given) {
        return Err(ConflistError::Version {
            given: given.to_owned(),
        });
    }
    let plugins = plugins(&mut list)?;
    if plugins.iter().all(is_ours) {
        return Err(ConflistError::Plugins);
    }
    let own: Vec<_> = plugins
        .iter()
        .enumerate()
        .filter(|(_, plugin)| is_ours(plugin))
        .collect();
    if let [(1.., only)] = own.as_slice()
        && *only == entry
    {
        return Ok(None);
    }
    plugins.retain(|plugin| !is_ours(plugin));
    plugins.push(entry.clone());
    Ok(Some(print(list)))
}

/// The configuration without the plugin; nothing if it is not there, or alone there.
pub(super) fn without(text: &[u8]) -> Result<Option<String>, ConflistError> {
    let mut list: Map<String, Value> = serde_json::from_slice(text)?;
    let plugins = plugins(&mut list)?;
    if plugins.iter().all(is_ours) || !plugins.iter().any(is_ours) {
        return Ok(None);
    }
    plugins.retain(|plugin| !is_ours(plugin));
    Ok(Some(print(list)))
}

fn plugins(list: &mut Map<String, Value>) -> Result<&mut Vec<Value>, ConflistError> {
    let plugins = list.get_mut("plugins").and_then(Value::as_array_mut);
    plugins.ok_or(ConflistError::Plugins)
}

fn is_ours(plugin: &Value) -> bool {
    plugin.get("type").and_then(Value::as_str) == Some(PLUGIN)
}

fn print(list: Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(list))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn entry() -> Value {
        json!({"type": PLUGIN, "capabilities": {"x": true}})
    }

    fn list(plugins: &Value) -> Value {
        json!({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins, "odd": {"kept": [1, null]}})
    }

    fn added(plugins: &Value) -> Option<Value> {
        let text = with(list(plugins).to_string().as_bytes(), &entry()).unwrap();
        text.map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn the_entry_comes_last_and_the_rest_stays() {
        let (bridge, portmap) = (
            json!({"type": "bridge", "mtu": 1500}),
            json!({"type": "portmap"}),
        );
        assert_eq!(
            added(&json!([bridge, portmap])),
            Some(list(&json!([bridge, portmap, entry()])))
        );
        // An outdated one, one that is there twice, and one in front of the plugin that makes the interface.
        for odd in [
            json!([bridge, {"type": PLUGIN}, portmap]),
            json!([bridge, entry(), entry(), portmap]),
            json!([entry(), bridge, portmap]),
        ] {
            assert_eq!(
                added(&odd),
                Some(list(&json!([bridge, portmap, entry()]))),
                "{odd}"
            );
        }
    }

    #[test]
    fn somebody_else_may_come_after_the_entry() {
        assert_eq!(added(&json!([{"type": "bridge"}, entry()])), None);
        assert_eq!(
            added(&json!([{"type": "bridge"}, entry(), {"type": "other"}])),
            None
        );
    }

    #[test]
    fn what_cannot_be_extended_is_told_by_its_fault() {
        let cases = [
            (r#"{"cniVersion": "0.4.0", "plu"#, "no JSON"),
            ("[]", "no JSON"),
            (r#"{"cniVersion": "0.4.0"}"#, "plugins"),
            (r#"{"cniVersion": "0.4.0", "plugins": []}"#, "plugins"),
            (
                r#"{"cniVersion": "0.2.0", "plugins": [{"type": "bridge"}]}"#,
                "\"0.2.0\"",
            ),
            (r#"{"plugins": [{"type": "bridge"}]}"#, "\"\""),
        ];
        for (text, part) in cases {
            let error = with(text.as_bytes(), &entry()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn taking_the_entry_out_gives_what_was_there(types in prop::collection::vec("[a-z]{1,8}", 1..5)) {
            let plugins: Vec<_> = types.iter().map(|name| json!({"type": name})).collect();
            let before = list(&json!(plugins));
            let with = with(before.to_string().as_bytes(), &entry()).unwrap().unwrap();
            prop_assert!(super::with(with.as_bytes(), &entry()).unwrap().is_none());
            let after = without(with.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), before);
            prop_assert!(without(after.as_bytes()).unwrap().is_none());
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<Vec<u8>>()) {
            let _ = (with(&text, &entry()), without(&text));
        }
    }
}
