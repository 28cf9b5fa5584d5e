//! Flags of the commands that work on the injection configuration itself: `minimesh template`.
//!
//! A file of its own because [`super`] would be too long; what all commands share stays there.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{ConfigurationArgs, OutputArgs};

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

/// Flags of `minimesh template lint`.
#[derive(Clone, Debug, clap::Args)]
pub struct LintArgs {
    /// How to say it.
    #[command(flatten)]
    pub output: OutputArgs,

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

    /// How to say it.
    #[command(flatten)]
    pub output: OutputArgs,

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
