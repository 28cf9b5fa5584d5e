//! Flags and variables about the status server.
//!
//! Part of [`ProxyArgs`](super::ProxyArgs); `config::settings` says what the texts mean. Ports and the application's probes stand with
//! those of the listeners and of the pod.

use clap::Args;
use contract::env;

/// How the status server answers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Status")]
pub struct StatusArgs {
    /// Keep connections of HTTP probes to the application for the next probe. Default: false, as the kubelet.
    #[arg(
        long,
        env = env::PROBE_KEEPALIVE,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub probe_keepalive: Option<String>,
    /// Give metrics to processes of the pod alone. Default: false.
    #[arg(
        long,
        env = env::METRICS_LOCALHOST,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub metrics_localhost: Option<String>,
}
