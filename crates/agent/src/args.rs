//! Flags, environment and help of the program.
//!
//! [`Cli`] is what clap reads; nothing else of the crate reads the environment. Settings of the proxy stay texts here, so that
//! [`config`](crate::config) can report everything that is wrong with them at once.

mod control_plane;
mod discovery;
mod mesh;
mod status;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use contract::{env, paths};
use runtime::log::LogArgs;

pub use control_plane::{CertificateArgs, ControlPlaneArgs};
pub use discovery::DiscoveryArgs;
pub use mesh::{MeshArgs, TlsArgs};
pub use status::StatusArgs;

/// The sidecar of the mesh: carries the pod's traffic and answers for its health.
#[derive(Debug, Parser)]
#[command(name = "agent", disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, with pilot-agent's names.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Carries the pod's captured traffic until it is told to end.
    Proxy(Box<ProxyArgs>),
    /// Waits until the sidecar of this pod is ready.
    Wait(WaitArgs),
    /// Sends a request to a local port of the sidecar and prints the answer.
    Request(RequestArgs),
    /// Runs the istio-init program that lies beside this one, with the same arguments.
    #[command(name = "istio-iptables", disable_help_flag = true)]
    IstioIptables(IstioIptablesArgs),
    /// Prints the version.
    Version,
}

/// Arguments of `agent proxy`.
#[derive(Args, Clone, Debug)]
pub struct ProxyArgs {
    /// What this proxy is: only `sidecar` so far.
    #[arg(default_value = "sidecar", value_name = "ROLE")]
    pub role: String,

    /// Number of worker threads; 0 is one for each core. Default: PROXY_CONFIG, else the CPU limit, else 1.
    #[arg(long, env = "AGENT_CONCURRENCY", value_name = "NUMBER")]
    pub concurrency: Option<String>,

    /// Ports to listen on.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// How the status server answers.
    #[command(flatten)]
    pub status: StatusArgs,
    /// How traffic is carried.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Where the picture of the mesh comes from.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// How traffic is secured.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Where certificates and the picture of the mesh come from.
    #[command(flatten)]
    pub control_plane: ControlPlaneArgs,
    /// What the control plane is asked for.
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
    /// What certificates are like, and where else they come from.
    #[command(flatten)]
    pub certificates: CertificateArgs,
    /// What the pod says about itself.
    #[command(flatten)]
    pub pod: PodArgs,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    compatible: CompatibleArgs,
}

/// Ports to listen on; 0 lets the kernel choose.
///
/// The variables of our own do not end in `_PORT`: Kubernetes sets such names for Services, with a URL as the value.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Ports")]
pub struct ListenArgs {
    /// Port that captured outbound connections are redirected to. Default: 15001.
    #[arg(long, env = "AGENT_PORT_OUTBOUND", value_name = "PORT")]
    pub outbound_port: Option<String>,
    /// Port that captured inbound connections are redirected to. Default: 15006.
    #[arg(long, env = "AGENT_PORT_INBOUND", value_name = "PORT")]
    pub inbound_port: Option<String>,
    /// Port of the readiness check that goes through the data plane. Default: 15021.
    #[arg(long, env = "ENVOY_STATUS_PORT", value_name = "PORT")]
    pub readiness_port: Option<String>,
    /// Port of the sidecar's own metrics. Default: 15090.
    #[arg(long, env = "ENVOY_PROMETHEUS_PORT", value_name = "PORT")]
    pub prometheus_port: Option<String>,
    /// Port of health, rewritten probes and metrics. Default: the pod's annotation, else PROXY_CONFIG, else 15020.
    #[arg(long, env = "AGENT_PORT_STATUS", value_name = "PORT")]
    pub status_port: Option<String>,
    /// Port of the admin interface, on loopback addresses only. Default: PROXY_CONFIG, else 15000.
    #[arg(long, env = "AGENT_PORT_ADMIN", value_name = "PORT")]
    pub admin_port: Option<String>,
}

/// How traffic is carried, logged and let go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traffic")]
pub struct TrafficArgs {
    /// Where the access log goes, `/dev/stdout` for example. Default: off.
    #[arg(long, env = "ACCESS_LOG_FILE", value_name = "PATH")]
    pub access_log_file: Option<String>,
    /// Form of the access log: `TEXT` or `JSON`. Default: TEXT.
    #[arg(long, env = "ACCESS_LOG_ENCODING", value_name = "FORM")]
    pub access_log_encoding: Option<String>,
    /// How long a client may be silent before its connection counts as server-first TCP. Default: 100ms.
    #[arg(long, env = "DETECT_TIMEOUT", value_name = "DURATION")]
    pub detect_timeout: Option<String>,
    /// Answer the names that the capture rules bring to port 15053, by asking the servers in /etc/resolv.conf. Default: false.
    #[arg(
        long,
        env = env::META_DNS_CAPTURE,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub dns_capture: Option<String>,
    /// How long the proxy goes on after SIGTERM. Default: PROXY_CONFIG, else as the pod's grace period allows, else 5s.
    #[arg(long, env = "TERMINATION_DRAIN_DURATION", value_name = "DURATION")]
    pub drain_duration: Option<String>,
    /// After SIGTERM, wait until no connection is left instead of a fixed time. Default: false.
    #[arg(
        long,
        env = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub exit_on_zero_active_connections: Option<String>,
    /// How long to wait at least, with --exit-on-zero-active-connections. Default: 5s.
    #[arg(long, env = "MINIMUM_DRAIN_DURATION", value_name = "DURATION")]
    pub minimum_drain_duration: Option<String>,
}

/// What the pod says about itself, through the downward API and the injected environment.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pod")]
pub struct PodArgs {
    /// Name of the pod.
    #[arg(long, env = env::POD_NAME, value_name = "NAME")]
    pub pod_name: Option<String>,
    /// The pod's terminationGracePeriodSeconds: without a fixed drain duration, connections may take all of it but the last 5s.
    #[arg(long, env = env::TERMINATION_GRACE_PERIOD, value_name = "SECONDS")]
    pub termination_grace_period: Option<String>,
    /// Namespace of the pod.
    #[arg(long, env = env::POD_NAMESPACE, value_name = "NAME")]
    pub pod_namespace: Option<String>,
    /// Address of the pod, where rewritten probes go. Default: 127.0.0.1.
    #[arg(long, env = env::INSTANCE_IP, value_name = "ADDRESS")]
    pub instance_ip: Option<String>,
    /// Service account of the pod.
    #[arg(long, env = env::SERVICE_ACCOUNT, value_name = "NAME")]
    pub service_account: Option<String>,
    /// Name of the workload that owns the pod.
    #[arg(long, env = env::META_WORKLOAD_NAME, value_name = "NAME")]
    pub workload_name: Option<String>,
    /// Name of the cluster.
    #[arg(long, env = env::META_CLUSTER_ID, value_name = "NAME")]
    pub cluster_id: Option<String>,
    /// How inbound connections come: REDIRECT, TPROXY, or NONE for not at all. Default: REDIRECT.
    #[arg(long, env = env::META_INTERCEPTION_MODE, value_name = "MODE")]
    pub interception_mode: Option<String>,
    /// The mesh's trust domain. Default: cluster.local.
    #[arg(long, env = env::TRUST_DOMAIN, value_name = "NAME")]
    pub trust_domain: Option<String>,
    /// CPU limit of the sidecar in cores.
    #[arg(long, env = env::ISTIO_CPU_LIMIT, value_name = "CORES")]
    pub cpu_limit: Option<String>,
    /// ProxyConfig as JSON; flags and their variables win over it.
    #[arg(long, env = env::PROXY_CONFIG, value_name = "JSON", hide_env_values = true)]
    pub proxy_config: Option<String>,
    /// The application's own probes as JSON, keyed by their rewritten path.
    #[arg(long, env = env::KUBE_APP_PROBERS, value_name = "JSON", hide_env_values = true)]
    pub app_probers: Option<String>,
    /// Where the application's own metrics are, as JSON; they are merged with the sidecar's on the status port.
    #[arg(long, env = env::PROMETHEUS_ANNOTATIONS, value_name = "JSON")]
    pub app_metrics: Option<String>,
    /// Send rewritten probes to 127.0.0.1 instead of the pod's address. Default: false.
    #[arg(
        long,
        env = env::PROBE_LOCALHOST,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub probe_localhost: Option<String>,
    /// File with the pod's labels; it may be absent.
    #[arg(long, env = "AGENT_LABELS_FILE", value_name = "FILE", default_value = paths::POD_LABELS)]
    pub labels_file: PathBuf,
    /// File with the pod's annotations; it may be absent.
    #[arg(long, env = "AGENT_ANNOTATIONS_FILE", value_name = "FILE", default_value = paths::POD_ANNOTATIONS)]
    pub annotations_file: PathBuf,
}

/// Flags of pilot-agent that have no effect: what they steer belongs to Envoy or comes from the environment.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Accepted for compatibility, without effect")]
struct CompatibleArgs {
    /// File with the mesh's configuration.
    #[arg(long = "meshConfig", value_name = "FILE")]
    mesh_config: Option<String>,
    /// Name of the service in Envoy's terms.
    #[arg(long = "serviceCluster", value_name = "NAME")]
    service_cluster: Option<String>,
    /// Level of Envoy's log; here --log_output_level says everything.
    #[arg(long = "proxyLogLevel", value_name = "LEVEL")]
    proxy_log_level: Option<String>,
    /// Levels of Envoy's components.
    #[arg(long = "proxyComponentLogLevel", value_name = "LEVELS")]
    proxy_component_log_level: Option<String>,
    /// Template of Envoy's bootstrap.
    #[arg(long = "templateFile", value_name = "FILE")]
    template_file: Option<String>,
    /// Where Envoy logs outliers.
    #[arg(long = "outlierLogPath", value_name = "FILE")]
    outlier_log_path: Option<String>,
    /// Port of the token exchange.
    #[arg(long = "stsPort", value_name = "PORT")]
    sts_port: Option<String>,
    /// Provider of the token exchange.
    #[arg(long = "tokenManagerPlugin", value_name = "NAME")]
    token_manager_plugin: Option<String>,
    /// Go's profiling.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    profiling: Option<String>,
}

/// Arguments of `agent wait`.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// What to ask; only `http` URLs.
    #[arg(
        long,
        env = "AGENT_WAIT_URL",
        default_value = "http://localhost:15021/healthz/ready"
    )]
    pub url: String,
    /// How long to wait in all, in seconds.
    #[arg(
        long = "timeoutSeconds",
        env = "AGENT_WAIT_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 60
    )]
    pub timeout_seconds: u32,
    /// How long one question may take, in milliseconds.
    #[arg(
        long = "requestTimeoutMillis",
        env = "AGENT_WAIT_REQUEST_TIMEOUT_MILLIS",
        value_name = "MILLIS",
        default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub request_timeout_millis: u32,
    /// How long to pause between two questions, in milliseconds.
    #[arg(
        long = "periodMillis",
        env = "AGENT_WAIT_PERIOD_MILLIS",
        value_name = "MILLIS",
        default_value_t = 500
    )]
    pub period_millis: u32,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `agent request`.
#[derive(Args, Clone, Debug)]
pub struct RequestArgs {
    /// HTTP method, `GET` or `POST`.
    pub method: String,
    /// Path and query, with or without the first slash.
    pub path: String,
    /// Body to send.
    pub body: Option<String>,
    /// Local port to ask: 15000, 15004, 15020 or 15021.
    #[arg(long, env = "AGENT_DEBUG_PORT", value_name = "PORT", default_value_t = contract::ports::ADMIN)]
    pub debug_port: u16,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `agent istio-iptables`.
#[derive(Args, Clone, Debug)]
pub struct IstioIptablesArgs {
    /// Arguments of istio-init.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    pub args: Vec<OsString>,
}

// === impl Cli ===

impl Cli {
    /// Reads the command line, `args` with the program's name first. Flags of `proxy` that nobody knows are left out, with the
    /// values that seem to belong to them, and returned beside: templates made for another version must not stop a pod.
    ///
    /// # Errors
    /// clap's, which also stands for `--help`.
    pub fn read(args: Vec<OsString>) -> Result<(Self, Vec<String>), clap::Error> {
        let (known, unknown) = split_unknown(args);
        Self::try_parse_from(known).map(|cli| (cli, unknown))
    }
}

/// Takes the unknown flags out of `args` by pflag's rules: the word after `--flag` is its value unless it begins with a dash.
fn split_unknown(args: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut args = args.into_iter();
    let mut known: Vec<OsString> = args.by_ref().take(2).collect();
    if known.get(1).is_none_or(|command| command != "proxy") {
        known.extend(args);
        return (known, Vec::new());
    }
    let root = Cli::command();
    let Some(proxy) = root.find_subcommand("proxy") else {
        known.extend(args);
        return (known, Vec::new());
    };
    let mut unknown = Vec::new();
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        let flag = match text.split_once('=') {
            Some((flag, _)) => flag,
            None => &text,
        };
        let dashed = flag.starts_with('-') && flag != "-" && flag != "--";
        if !dashed {
            known.push(arg);
            continue;
        }
        let takes_next = match takes_value(proxy, flag) {
            Some(value) => value && flag == text,
            None => {
                flag == text
                    && args
                        .peek()
                        .is_some_and(|next| !next.to_string_lossy().starts_with('-'))
            }
        };
        let value = if takes_next { args.next() } else { None };
        if takes_value(proxy, flag).is_some() {
            known.push(arg);
            known.extend(value);
        } else {
            unknown.push(flag.to_owned());
        }
    }
    (known, unknown)
}

/// Whether `flag` needs a word after it; nothing if `command` does not know it.
fn takes_value(command: &clap::Command, flag: &str) -> Option<bool> {
    if flag == "--help" || flag == "-h" {
        return Some(false);
    }
    let long = flag.strip_prefix("--")?;
    let arg = command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(long))?;
    let optional = arg.is_require_equals_set() || !arg.get_action().takes_values();
    Some(!optional)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> (Cli, Vec<String>) {
        let args = ["agent"].iter().chain(args).map(OsString::from).collect();
        Cli::read(args).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn unknown_flags_of_proxy_are_left_out_with_their_values() {
        let table: [(&[&str], &[&str]); 6] = [
            (&["proxy", "sidecar", "--domain", "x"], &[]),
            (
                &["proxy", "sidecar", "--later=1", "--domain", "x"],
                &["--later"],
            ),
            (
                &["proxy", "sidecar", "--later", "1", "--domain", "x"],
                &["--later"],
            ),
            (
                &["proxy", "sidecar", "--later", "--domain", "x"],
                &["--later"],
            ),
            (
                &["proxy", "-z", "1", "--domain", "x", "--more"],
                &["-z", "--more"],
            ),
            (
                &[
                    "proxy",
                    "sidecar",
                    "--log_as_json",
                    "--profiling",
                    "--domain=x",
                ],
                &[],
            ),
        ];
        for (args, expected) in table {
            let (cli, unknown) = read(args);
            assert_eq!(unknown, expected, "{args:?}");
            let Command::Proxy(proxy) = cli.command else {
                panic!("not proxy: {args:?}");
            };
            assert_eq!(proxy.role, "sidecar", "{args:?}");
            assert_eq!(proxy.mesh.domain.as_deref(), Some("x"), "{args:?}");
        }
    }

    #[test]
    fn the_reference_page_knows_every_flag_and_variable() {
        let page = include_str!("../../../docs/reference/agent.md");
        for command in Cli::command().get_subcommands() {
            let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
            for arg in args.filter(|arg| arg.get_long().is_some_and(|long| long != "help")) {
                let long = arg.get_long().unwrap();
                assert!(page.contains(&format!("`--{long}`")), "--{long}");
                if let Some(env) = arg.get_env() {
                    let env = env.to_str().unwrap();
                    assert!(page.contains(&format!("`{env}`")), "{env}");
                }
            }
        }
    }

    #[test]
    fn the_arguments_of_injected_sidecars_are_known() {
        let (_, unknown) = read(&[
            "proxy",
            "sidecar",
            "--domain",
            "shop.svc.cluster.local",
            "--proxyLogLevel=warning",
            "--proxyComponentLogLevel=misc:error",
            "--log_output_level=default:info",
            "--log_as_json",
            "--stsPort=0",
            "--tokenManagerPlugin=GoogleTokenExchange",
            "--meshConfig=/x",
            "--serviceCluster=web",
            "--templateFile=/x",
            "--outlierLogPath=/x",
            "--concurrency=2",
            "--profiling=false",
        ]);
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn istio_init_gets_its_arguments_as_they_are() {
        let (cli, _) = read(&[
            "istio-iptables",
            "-p",
            "15001",
            "-x",
            "",
            "--help",
            "-i",
            "*",
        ]);
        let Command::IstioIptables(init) = cli.command else {
            panic!("not istio-iptables");
        };
        assert_eq!(init.args, ["-p", "15001", "-x", "", "--help", "-i", "*"]);
    }
}
