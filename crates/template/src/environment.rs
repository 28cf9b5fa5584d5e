//! Parameters in the webhook's URL that become variables of the sidecar.
//!
//! Read by the webhook from the path of each request; a remote cluster's webhook configuration says there which cluster and network it is.
//! The names are Istio's: `/inject/cluster/C1/net/N1`, any other key is the variable itself.

use std::collections::BTreeMap;

use contract::env;

/// What stands for a slash within a value.
const SLASH: &str = "--slash--";

/// The older form, `/inject/:ENV:cluster=C1:ENV:net=N1`.
const OLD_MARK: &str = ":ENV:";

/// Reads the variables from a URL path such as `/inject/cluster/C1`; a key without a value is ignored.
#[must_use]
pub fn from_path(path: &str) -> BTreeMap<String, String> {
    let path = path.trim_end_matches('/').trim_start_matches('/');
    let Some((_, parameters)) = path.split_once('/') else {
        return BTreeMap::new();
    };
    if let Some(pairs) = parameters.strip_prefix(OLD_MARK) {
        return pairs
            .split(OLD_MARK)
            .filter_map(|pair| pair.split_once('='))
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| (variable(key), value.to_owned()))
            .collect();
    }
    let mut parts = parameters.split('/');
    let mut variables = BTreeMap::new();
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if !key.is_empty() {
            variables.insert(variable(key), value.replace(SLASH, "/"));
        }
    }
    variables
}

fn variable(key: &str) -> String {
    match key {
        "cluster" => env::META_CLUSTER_ID.to_owned(),
        "net" => env::META_NETWORK.to_owned(),
        other => other.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[(&str, &str)]) {
        let expected = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(from_path(path), expected, "{path}");
    }

    #[test]
    fn keys_and_values_alternate_after_the_first_part() {
        check("/inject", &[]);
        check("/inject/", &[]);
        check(
            "/inject/cluster/c1/net/n1/",
            &[
                ("ISTIO_META_CLUSTER_ID", "c1"),
                ("ISTIO_META_NETWORK", "n1"),
            ],
        );
        check("/inject/foo/a--slash--b/odd", &[("FOO", "a/b")]);
        check(
            "/inject/:ENV:cluster=c1:ENV:x=:ENV:=y:ENV:z",
            &[("ISTIO_META_CLUSTER_ID", "c1"), ("X", "")],
        );
    }
}
