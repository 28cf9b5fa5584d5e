//! Command line and environment of `minimesh`.
//!
//! Parsed by `main`, read by the commands. Flags that `istioctl` has bear its names; every flag has an environment variable.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use contract::control_plane;

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

/// What comes after `minimesh template`.
#[derive(Clone, Debug, clap::Args)]
pub struct TemplateArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TemplateCommand,
}

/// The commands of the group `template`.
#[derive(Clone, Debug, Subcommand)]
pub enum TemplateCommand {
    /// Find what is wrong with an injection configuration before it is applied.
    ///
    /// Reads every template of the configuration, used or not, with its values and the mesh configuration, and tries them on sample pods.
    /// The exit status is 0 if there is no error, 3 if there is one (or a warning, with --strict), and 1 if the check itself failed.
    Lint(LintArgs),
    /// Show what another configuration would change for the pods that run, and change nothing.
    ///
    /// Injects the pod template of each workload with the present configuration, the cluster's, and with the new one, which the files give; what
    /// differs is what new pods would have. The exit status is 0 if nothing would change, 2 if something would, and 1 if that cannot be found out.
    Plan(PlanArgs),
    /// Turn an injection configuration into policies with which the API server injects by itself, without a webhook.
    ///
    /// Prints a MutatingAdmissionPolicy that does what the configuration does, as far as CEL can say it, a ValidatingAdmissionPolicy that refuses
    /// pods which are to have a sidecar and got none, and their bindings. What the policies do not say is printed as comments and on standard error.
    /// A policy has to know the form of the sidecar: give --native-sidecars, or --node-versions, where no cluster is asked.
    Policy(PolicyArgs),
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

    /// How to say it: text for people, json for programs, one object for each pod.
    #[arg(
        short,
        long,
        env = "MINIMESH_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub output: Format,

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

    /// How to say it: text for people, json for programs, one object for each pod.
    #[arg(
        short,
        long,
        env = "MINIMESH_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub output: Format,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `minimesh template lint`.
#[derive(Clone, Debug, clap::Args)]
pub struct LintArgs {
    /// How to say it: text for people, json for programs.
    #[arg(
        short,
        long,
        env = "MINIMESH_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub output: Format,

    /// Count warnings as errors.
    #[arg(long, env = "MINIMESH_STRICT")]
    pub strict: bool,

    /// What is checked.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}

/// Flags of `minimesh template plan`.
#[derive(Clone, Debug, clap::Args)]
pub struct PlanArgs {
    /// Look at the pods of all namespaces.
    #[arg(short = 'A', long, env = "MINIMESH_ALL_NAMESPACES", conflicts_with_all = ["namespace", "filename"])]
    pub all_namespaces: bool,

    /// Manifest whose pods are looked at in place of those that run; `-` is standard input.
    ///
    /// With all files of both configurations no cluster is needed, and none is asked.
    #[arg(short, long, env = "MINIMESH_FILENAME", value_name = "FILE")]
    pub filename: Option<PathBuf>,

    /// How to say it: text for people, json for programs.
    #[arg(
        short,
        long,
        env = "MINIMESH_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub output: Format,

    /// Present injection configuration, in place of the cluster's.
    #[arg(
        long = "againstInjectConfigFile",
        env = "AGAINST_INJECT_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub against_inject_config_file: Option<PathBuf>,

    /// Present values, in place of the cluster's.
    #[arg(
        long = "againstValuesFile",
        env = "AGAINST_VALUES_FILE",
        value_name = "FILE"
    )]
    pub against_values_file: Option<PathBuf>,

    /// Present mesh configuration, in place of the cluster's.
    #[arg(
        long = "againstMeshConfigFile",
        env = "AGAINST_MESH_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub against_mesh_config_file: Option<PathBuf>,

    /// The new configuration.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}

/// Flags of `minimesh template policy`.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyArgs {
    /// How to say it: yaml for kubectl, json for programs, with what the policies do not say as a list.
    #[arg(
        short,
        long,
        env = "MINIMESH_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub output: PolicyFormat,

    /// Version in which the cluster has MutatingAdmissionPolicy: v1alpha1 (Kubernetes 1.32), v1beta1 (1.34) or v1 (1.36).
    #[arg(
        long,
        env = "MINIMESH_API_VERSION",
        value_name = "VERSION",
        default_value = "v1beta1"
    )]
    pub api_version: String,

    /// Label of the namespaces that the policies are for, in place of those that the chart's webhook is for.
    #[arg(
        long,
        env = "MINIMESH_NAMESPACE_SELECTOR",
        value_name = "KEY=VALUE",
        conflicts_with = "unlabelled_namespaces"
    )]
    pub namespace_selector: Option<String>,

    /// Inject in namespaces without a label of the mesh as well, as the chart's `enableNamespacesByDefault` does.
    #[arg(long, env = "MINIMESH_UNLABELLED_NAMESPACES")]
    pub unlabelled_namespaces: bool,

    /// Let pods that the policy cannot inject start without a sidecar, in place of refusing them.
    #[arg(long, env = "MINIMESH_ALLOW_UNSUPPORTED")]
    pub allow_unsupported: bool,

    /// What is turned into policies.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
}

/// Forms of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PolicyFormat {
    /// Manifests.
    #[default]
    Yaml,
    /// An object for programs.
    Json,
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
