//! How the settings of discovery are settled.
//!
//! Called by [`Config::resolve`](super::Config::resolve); where the control plane is stands in `control_plane`.

use std::time::Duration;

use contract::env;

use super::reader::{Reader, Setting};
use crate::{args::DiscoveryArgs, pod_info::Pairs};

/// What the control plane is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Whether every address of the mesh is asked for, rather than those that the pod talks to.
    pub wildcard: bool,
    /// How long a connection to an unknown address waits.
    pub wait: Duration,
    /// Whether it goes on if nobody has answered until then.
    pub allows_unanswered: bool,
    /// The pod's network; mostly it has no name.
    pub network: String,
    /// The pod's labels.
    pub labels: Pairs,
}

/// Longer than a control plane takes to answer at its worst, shorter than most clients wait to connect.
const WAIT: Duration = Duration::from_secs(5);

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn discovery(&mut self, args: &'a DiscoveryArgs, labels: &Pairs) -> Discovery {
        let mode = self.given(Setting::new(
            "discovery-mode",
            "AGENT_DISCOVERY_MODE",
            args.discovery_mode.as_ref(),
        ));
        let wildcard = self.parse(mode, "on-demand or wildcard", |text| match text {
            "on-demand" => Some(false),
            "wildcard" => Some(true),
            _ => None,
        });
        let wait = self.given(Setting::new(
            "discovery-wait",
            "AGENT_DISCOVERY_WAIT",
            args.discovery_wait.as_ref(),
        ));
        let wait = self.duration(wait);
        let unanswered = self.given(Setting::new(
            "discovery-unanswered",
            "AGENT_DISCOVERY_UNANSWERED",
            args.discovery_unanswered.as_ref(),
        ));
        let allows_unanswered = self.parse(unanswered, "refuse or allow", |text| match text {
            "refuse" => Some(false),
            "allow" => Some(true),
            _ => None,
        });
        let network = self.given(Setting::new(
            "network",
            env::META_NETWORK,
            args.network.as_ref(),
        ));
        Discovery {
            wildcard: wildcard.unwrap_or_default(),
            wait: wait.unwrap_or(WAIT),
            allows_unanswered: allows_unanswered.unwrap_or_default(),
            network: network.map_or_else(String::new, |(_, name)| name.to_owned()),
            labels: labels.clone(),
        }
    }
}
