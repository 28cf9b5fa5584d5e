//! Command line and environment of `minimesh`.
//!
//! Parsed by `main`, read by the commands. Flags that `istioctl` has bear its names; every flag has an environment variable.

mod template;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use contract::control_plane;

pub use template::{LintArgs, PlanArgs, PolicyArgs, PolicyFormat, TemplateArgs, TemplateCommand};

/// The command line of the mesh.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Inject the sidecar into the pods of a manifest and print the result.
    ///
    /// Reads every kind of resource that holds pods, lists, and several documents; anything else passes through as it is.
    /// The configuration is the cluster's, so the result is what its webhook makes of the pods; files may stand in for any part of it.
    KubeInject(KubeInjectArgs),
    /// Take the sidecar out of the pods of a manifest and print the result.
    ///
    /// Gives back what kube-inject or the webhook was given, from the record that is in the pods' annotations; needs no cluster and no configuration. Reads
    /// what kube-inject reads; documents without an injected pod pass through as they are. Works on `kubectl get -o yaml`, too, and on pods that Istio's own
    /// injector injected, as far as their record goes: a warning says what it leaves open.
    KubeUninject(KubeUninjectArgs),
    /// Say whether a pod is injected, and why or why not.
    ///
    /// Asks what the API server asks (the webhook's selectors) and then what the injector asks, of a pod or workload in the cluster or of a manifest.
    /// The exit status is 0 if every pod is or would be injected, 3 if one is not, and 1 if that cannot be found out or the pod would be refused.
    Why(WhyArgs),
    /// Show which pod holds which certificate, and until when.
    ///
    /// Asks each sidecar by its metrics port through the API server, which takes the right to `get` `pods/proxy`. The exit status is 0 if every one holds a
    /// certificate that counts, and 1 if one does not or cannot be asked.
    Certs(CertsArgs),
    /// Work on the injection configuration itself: its templates and values.
    Template(TemplateArgs),
    /// Print the version.
    Version,
}

/// Flags of `minimesh kube-inject`.
#[derive(Clone, Debug, clap::Args)]
pub struct KubeInjectArgs {
    /// Manifest to inject; `-` is standard input.
    #[arg(short, long, env = "MINIMESH_FILENAME", value_name = "FILE")]
    pub filename: PathBuf,

    /// File for the result instead of standard output.
    #[arg(short, long, env = "MINIMESH_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// What the pods are injected with.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}

/// Flags of `minimesh kube-uninject`.
#[derive(Clone, Debug, clap::Args)]
pub struct KubeUninjectArgs {
    /// Manifest to take the sidecar out of; `-` is standard input.
    #[arg(short, long, env = "MINIMESH_FILENAME", value_name = "FILE")]
    pub filename: PathBuf,

    /// File for the result instead of standard output.
    #[arg(short, long, env = "MINIMESH_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `minimesh why`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["pod", "filename"]))]
pub struct WhyArgs {
    /// Pod of the cluster, or a workload as KIND/NAME: web-0, deployment/web, cronjob/report.
    #[arg(env = "MINIMESH_POD", value_name = "POD")]
    pub pod: Option<String>,

    /// Manifest to explain in place of something in the cluster; `-` is standard input.
    #[arg(short, long, env = "MINIMESH_FILENAME", value_name = "FILE")]
    pub filename: Option<PathBuf>,

    /// How to say it.
    #[command(flatten)]
    pub output: OutputArgs,

    /// MutatingWebhookConfigurations that choose pods, in place of the cluster's.
    #[arg(
        long = "webhookConfigFile",
        env = "WEBHOOK_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub webhook_config_file: Option<PathBuf>,

    /// What the pods would be injected with.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}

/// Flags of `minimesh certs`.
#[derive(Clone, Debug, clap::Args)]
pub struct CertsArgs {
    /// One pod; without it all pods of the namespace that run and have a sidecar.
    #[arg(env = "MINIMESH_POD", value_name = "POD")]
    pub pod: Option<String>,

    /// Namespace of the pods; without it the kubeconfig context's.
    #[arg(short, long, env = "MINIMESH_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// Look at the pods of all namespaces.
    #[arg(short = 'A', long, env = "MINIMESH_ALL_NAMESPACES", conflicts_with_all = ["namespace", "pod"])]
    pub all_namespaces: bool,

    /// How to say it.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The flag that says how a command answers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArgs {
    /// How to say it: text for people, json for programs.
    #[arg(
        short = 'o',
        long = "output",
        env = "MINIMESH_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub format: Format,
}

/// Forms of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Flags that say where the injection configuration comes from.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigurationArgs {
    /// Injection configuration, or a bare template, in place of the key `config` of the cluster's ConfigMap istio-sidecar-injector.
    ///
    /// With --valuesFile and --meshConfigFile as well no cluster is needed, and none is asked.
    #[arg(
        long = "injectConfigFile",
        env = "INJECT_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub inject_config_file: Option<PathBuf>,

    /// Values for the template, in place of the key `values` of the cluster's ConfigMap istio-sidecar-injector.
    #[arg(long = "valuesFile", env = "VALUES_FILE", value_name = "FILE")]
    pub values_file: Option<PathBuf>,

    /// Mesh configuration, in place of the key `mesh` of the cluster's ConfigMap istio.
    #[arg(long = "meshConfigFile", env = "MESH_CONFIG_FILE", value_name = "FILE")]
    pub mesh_config_file: Option<PathBuf>,

    /// Namespace of resources that name none; without it the kubeconfig context's, and `default` where no cluster is asked.
    #[arg(short, long, env = "MINIMESH_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// File with the namespace as an object, for its labels and annotations; its name is that of resources that name none.
    #[arg(long, env = "NAMESPACE_OBJECT", value_name = "FILE")]
    pub namespace_object: Option<PathBuf>,

    /// Revision of the control plane, written into the pods; the cluster's ConfigMaps are those of this revision.
    #[arg(short, long, env = "REVISION", value_name = "NAME", default_value = "")]
    pub revision: String,

    /// Whether the sidecar is native (an init container that keeps running): true, false, or auto, which looks at the nodes' versions.
    ///
    /// Without it, and so for --compliance-policy and --platform: as the cluster's injector was told by the chart's `pilot.env`, else auto.
    #[arg(long, env = "ENABLE_NATIVE_SIDECARS", value_name = "MODE")]
    pub native_sidecars: Option<String>,

    /// Versions of the nodes, in place of the cluster's: v1.33.0,v1.34.0.
    #[arg(
        long,
        env = "NODE_VERSIONS",
        value_name = "VERSION,…",
        value_delimiter = ','
    )]
    pub node_versions: Vec<String>,

    /// Compliance policy for the sidecar, such as fips-140-2.
    #[arg(long, env = "COMPLIANCE_POLICY", value_name = "POLICY")]
    pub compliance_policy: Option<String>,

    /// Platform of the cluster, such as openshift.
    #[arg(long, env = "PLATFORM", value_name = "NAME")]
    pub platform: Option<String>,

    /// Which cluster, and what in it.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags that say which cluster is asked, and where the mesh is in it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Kubeconfig of the cluster; without it ~/.kube/config, then the service account of the pod that this runs in.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, if not its current one.
    #[arg(long, env = "MINIMESH_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Namespace of the control plane.
    #[arg(
        short,
        long = "istioNamespace",
        env = "ISTIO_NAMESPACE",
        value_name = "NAME",
        default_value = control_plane::NAMESPACE
    )]
    pub istio_namespace: String,

    /// ConfigMap with the keys `config` and `values`; without it istio-sidecar-injector, with the revision appended.
    #[arg(
        long = "injectConfigMapName",
        env = "INJECT_CONFIG_MAP_NAME",
        value_name = "NAME"
    )]
    pub inject_config_map_name: Option<String>,

    /// ConfigMap with the key `mesh`; without it istio, with the revision appended.
    #[arg(
        long = "meshConfigMapName",
        env = "MESH_CONFIG_MAP_NAME",
        value_name = "NAME"
    )]
    pub mesh_config_map_name: Option<String>,
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
        check(&Args::command());
    }

    fn check(command: &clap::Command) {
        for command in command.get_subcommands() {
            for argument in command.get_arguments() {
                assert!(argument.get_env().is_some(), "{argument}");
            }
            check(command);
        }
    }
}
