//! Flags and variables about what the control plane is asked for.
//!
//! Part of [`ProxyArgs`](super::ProxyArgs); `config::discovery` says what the texts mean. The flags share a first word with the address of
//! discovery.

use clap::Args;
use contract::env;

/// What the sidecar is told of the mesh.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Discovery")]
pub struct DiscoveryArgs {
    /// `on-demand` to be told of what the pod talks to, `wildcard` of the whole mesh. Default: on-demand.
    #[arg(long, env = "AGENT_DISCOVERY_MODE", value_name = "MODE")]
    pub discovery_mode: Option<String>,
    /// How long a connection to an unknown address waits for the control plane. Default: 5s.
    #[arg(long, env = "AGENT_DISCOVERY_WAIT", value_name = "DURATION")]
    pub discovery_wait: Option<String>,
    /// What becomes of it then: `refuse`, or `allow` to let it go on as it is, also to pods that would be called by mutual TLS. Default: refuse.
    #[arg(long, env = "AGENT_DISCOVERY_UNANSWERED", value_name = "CHOICE")]
    pub discovery_unanswered: Option<String>,
    /// Network of the pod, if it has a name. Default: none.
    #[arg(long, env = env::META_NETWORK, value_name = "NAME")]
    pub network: Option<String>,
}
