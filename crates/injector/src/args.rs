//! Command line and environment of the injector.
//!
//! Parsed by `main` and turned at once into a [`crate::config::Config`]; nothing else reads the environment.
//! Names are Istio's where Istio has the same thing, its camel-case spelling is accepted too.
//! In a cluster none of them is needed: what differs from pod to pod comes by environment variables of the chart.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{ArgAction, Parser};
use contract::{control_plane, env, ports};
use runtime::log::LogArgs;

/// The control plane of minimesh: injects sidecars into pods.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Args {
    /// Folder with the files `config` and `values`, as the ConfigMap istio-sidecar-injector is mounted. With it and the two TLS files no cluster is needed, and none is looked for; in a cluster the default is /var/lib/istio/inject.
    #[arg(long, env = "INJECT_DIR", value_name = "DIR")]
    pub inject_dir: Option<PathBuf>,

    /// File with the mesh configuration, as the ConfigMap istio is mounted. In a cluster the default is the file `mesh` beside the other two; elsewhere every setting has its default without it.
    #[arg(
        long,
        alias = "meshConfig",
        env = "MESH_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub mesh_config: Option<PathBuf>,

    /// Address of the webhook, over TLS; `:PORT` is every address of the machine.
    #[arg(
        long,
        alias = "httpsAddr",
        env = "HTTPS_ADDR",
        value_name = "ADDR:PORT",
        default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, ports::WEBHOOK)),
        value_parser = address
    )]
    pub https_addr: SocketAddr,

    /// Address of readiness and metrics, in plaintext. In a cluster the default is :15014; elsewhere they are not served without it.
    #[arg(
        long,
        alias = "monitoringAddr",
        env = "MONITORING_ADDR",
        value_name = "ADDR:PORT",
        value_parser = address
    )]
    pub monitoring_addr: Option<SocketAddr>,

    /// Address of gRPC for sidecars, certificates and discovery, over TLS. In a cluster the default is :15012; elsewhere there is nothing to serve there.
    #[arg(
        long,
        alias = "secureGRPCAddr",
        env = "GRPC_ADDR",
        value_name = "ADDR:PORT",
        value_parser = address
    )]
    pub grpc_addr: Option<SocketAddr>,

    /// Address of discovery over gRPC without TLS, such as :15010, for clusters whose network is encrypted by other means; not served without it. Tokens pass it in clear text.
    #[arg(
        long,
        alias = "grpcAddr",
        env = "PLAINTEXT_GRPC_ADDR",
        value_name = "ADDR:PORT",
        value_parser = address
    )]
    pub plaintext_grpc_addr: Option<SocketAddr>,

    /// File with the webhook's certificate chain, as PEM; read again when it changes. In a cluster the webhook has a certificate of the mesh's own authority without it.
    #[arg(
        long,
        alias = "tlsCertFile",
        env = "TLS_CERT_FILE",
        value_name = "FILE"
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// File with the private key of the certificate, as PEM; read again when it changes.
    #[arg(long, alias = "tlsKeyFile", env = "TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// Revision of this control plane, written into the pods that it injects.
    #[arg(short, long, env = "REVISION", value_name = "NAME", default_value = "")]
    pub revision: String,

    /// Whether sidecars are native (init containers that keep running): true, false, or auto, which looks at the nodes' versions.
    #[arg(
        long,
        env = "ENABLE_NATIVE_SIDECARS",
        value_name = "MODE",
        default_value = "auto"
    )]
    pub native_sidecars: String,

    /// Versions of the nodes, for `--native-sidecars auto` without a cluster to ask: v1.33.0,v1.34.0.
    #[arg(
        long,
        env = "NODE_VERSIONS",
        value_name = "VERSION,…",
        value_delimiter = ','
    )]
    pub node_versions: Vec<String>,

    /// Compliance policy for the sidecars, such as fips-140-2.
    #[arg(
        long,
        env = "COMPLIANCE_POLICY",
        value_name = "POLICY",
        default_value = ""
    )]
    pub compliance_policy: String,

    /// Platform of the cluster, such as openshift.
    #[arg(long, env = "PLATFORM", value_name = "NAME", default_value = "")]
    pub platform: String,

    /// How long requests that are under way may take after SIGTERM; keep it below the pod's terminationGracePeriodSeconds.
    #[arg(
        long,
        env = "DRAIN_DURATION",
        value_name = "DURATION",
        default_value = "20s",
        value_parser = runtime::duration::parse
    )]
    pub drain_duration: Duration,

    /// How long connections are still accepted after SIGTERM, until every API server has heard that this replica is going.
    #[arg(
        long,
        env = "SHUTDOWN_DELAY",
        value_name = "DURATION",
        default_value = "0s",
        value_parser = runtime::duration::parse
    )]
    pub shutdown_delay: Duration,

    /// Flags of the cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Flags of the log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Flags for a program that works with a cluster.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Kubeconfig file of the cluster to work for from outside; in a pod the service account is used without it.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the control plane, where its Secret and its pods are.
    #[arg(
        long,
        env = env::POD_NAMESPACE,
        value_name = "NAME",
        default_value = control_plane::NAMESPACE
    )]
    pub namespace: String,

    /// Name of the injector's own pod, which Events are about; without it there are none.
    #[arg(long, env = env::POD_NAME, value_name = "NAME")]
    pub pod_name: Option<String>,

    /// Whether Events tell the workloads of pods that are not injected, refused, or injected with a surprise: true or false.
    #[arg(
        long,
        env = "WORKLOAD_EVENTS",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub workload_events: bool,

    /// ClusterRole that owns what the injector creates, so that it is removed with it; without it nobody removes it.
    #[arg(long, env = "OWNER_CLUSTER_ROLE", value_name = "NAME")]
    pub owner_cluster_role: Option<String>,

    /// MutatingWebhookConfiguration whose caBundle is kept in step, empty for none; the default is istio-sidecar-injector with the revision.
    #[arg(long, env = "INJECTION_WEBHOOK_CONFIG_NAME", value_name = "NAME")]
    pub webhook_config: Option<String>,

    /// ValidatingWebhookConfiguration whose caBundle is kept in step, empty for none; the default is istio-validator with the revision and the namespace.
    #[arg(long, env = "VALIDATION_WEBHOOK_CONFIG_NAME", value_name = "NAME")]
    pub validation_webhook_config: Option<String>,

    /// More DNS names for the webhook's certificate, beside those of its Services.
    #[arg(
        long,
        env = "ISTIOD_CUSTOM_HOST",
        value_name = "NAME,…",
        value_delimiter = ','
    )]
    pub custom_host: Vec<String>,

    /// How long the cluster must be quiet before sidecars are told of what changed.
    #[arg(
        long,
        env = "PILOT_DEBOUNCE_AFTER",
        value_name = "DURATION",
        default_value = "100ms",
        value_parser = runtime::duration::parse
    )]
    pub debounce_after: Duration,

    /// How long sidecars wait at most to be told of a change, in a cluster that is never quiet.
    #[arg(
        long,
        env = "PILOT_DEBOUNCE_MAX",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = runtime::duration::parse
    )]
    pub debounce_max: Duration,

    /// How long a workload's certificate lives if its sidecar does not ask for another time.
    #[arg(
        long,
        env = "DEFAULT_WORKLOAD_CERT_TTL",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = runtime::duration::parse
    )]
    pub default_workload_cert_ttl: Duration,

    /// How long a workload's certificate lives at most, whatever its sidecar asks for: between 1m and 24h.
    #[arg(
        long,
        env = "MAX_WORKLOAD_CERT_TTL",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = runtime::duration::parse
    )]
    pub max_workload_cert_ttl: Duration,

    /// How long a new root is in the trust bundle before anything is signed by it: longer than a ConfigMap takes to reach the files of every pod.
    #[arg(
        long,
        env = "ROOT_ROTATION_DELAY",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = runtime::duration::parse
    )]
    pub root_rotation_delay: Duration,

    /// Whether every service account has a certificate in a Secret `istio.ACCOUNT`, for templates that mount it in /etc/certs: true or false. It takes rights to Secrets in the whole cluster.
    #[arg(
        long,
        env = "ACCOUNT_SECRETS",
        value_name = "BOOL",
        default_value_t = false,
        action = ArgAction::Set
    )]
    pub account_secrets: bool,

    /// Where a pod is told that it is in a cluster; not for people to set.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub kubernetes_service_host: Option<String>,
}

/// Reads `127.0.0.1:15017`, `[::1]:15017`, or `:15017` for every address of both families.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.to_owned()
    };
    full.parse().map_err(|_| {
        format!("`{text}` is no address, give one such as 127.0.0.1:15017, [::1]:15017 or :15017")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        for argument in Args::command().get_arguments() {
            let hidden = argument.is_hide_set();
            assert!(hidden || argument.get_env().is_some(), "{argument}");
        }
    }

    #[test]
    fn addresses_may_leave_out_the_host() {
        assert_eq!(address(":15017"), Ok("[::]:15017".parse().unwrap()));
        assert_eq!(address("127.0.0.1:0"), Ok("127.0.0.1:0".parse().unwrap()));
        for text in ["", ":", "15017", "localhost", ":65536", "1.2.3.4"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn istios_spelling_is_accepted() {
        let args = Args::try_parse_from([
            "injector",
            "--httpsAddr=:1",
            "--monitoringAddr=:2",
            "--tlsCertFile=c",
            "--tlsKeyFile=k",
            "--meshConfig=m",
        ])
        .unwrap();
        assert_eq!(args.https_addr.port(), 1);
        assert_eq!(args.tls_key_file, Some("k".into()));
    }
}
