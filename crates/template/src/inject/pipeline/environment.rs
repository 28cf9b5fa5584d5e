//! Variables of the sidecar that come from outside of the template.
//! The webhook's URL, the values and the pod's labels name cluster and network.

use std::collections::BTreeMap;

use contract::{env, labels};

use crate::{config::Compiled, inject::Request, pod};

/// Variables that are set from outside of the template: cluster and network by values, then by the URL, and the network by the pod's label.
pub(super) fn environment(config: &Compiled, request: &Request<'_>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, path) in [
        (
            env::META_CLUSTER_ID,
            &["global", "multiCluster", "clusterName"][..],
        ),
        (env::META_NETWORK, &["global", "network"]),
    ] {
        let value = config.value_text(path);
        if !value.is_empty() {
            environment.insert(name.to_owned(), value);
        }
    }
    let is_given = |(name, value): &(&String, &String)| {
        !value.is_empty() || ![env::META_CLUSTER_ID, env::META_NETWORK].contains(&name.as_str())
    };
    let given = request.environment.iter().filter(is_given);
    environment.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    if let Some(network) =
        pod::label(request.pod, labels::NETWORK).filter(|network| !network.is_empty())
    {
        environment.insert(env::META_NETWORK.to_owned(), network.to_owned());
    }
    environment
}
