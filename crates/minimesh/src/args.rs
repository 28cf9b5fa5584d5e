//! Command line and environment of `minimesh`.
//!
//! Parsed by `main`, read by the commands. Flags that `istioctl` has bear its names; every flag has an environment variable.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The command line of the mesh.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one value in the life of the process"
)]
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Inject the sidecar into the pods of a manifest and print the result.
    ///
    /// Reads every kind of resource that holds pods, lists, and several documents; anything else passes through as it is.
    KubeInject(KubeInjectArgs),
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

    /// Injection configuration: the key `config` of ConfigMap istio-sidecar-injector, or a bare template.
    #[arg(
        long = "injectConfigFile",
        env = "INJECT_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub inject_config_file: Option<PathBuf>,

    /// Values for the template: the key `values` of ConfigMap istio-sidecar-injector.
    #[arg(long = "valuesFile", env = "VALUES_FILE", value_name = "FILE")]
    pub values_file: Option<PathBuf>,

    /// Mesh configuration: the key `mesh` of ConfigMap istio.
    #[arg(long = "meshConfigFile", env = "MESH_CONFIG_FILE", value_name = "FILE")]
    pub mesh_config_file: Option<PathBuf>,

    /// Namespace of resources that name none.
    #[arg(
        short,
        long,
        env = "MINIMESH_NAMESPACE",
        value_name = "NAME",
        default_value = "default"
    )]
    pub namespace: String,

    /// File with the namespace as an object, for its labels and annotations; its name is that of resources that name none.
    #[arg(long, env = "NAMESPACE_OBJECT", value_name = "FILE")]
    pub namespace_object: Option<PathBuf>,

    /// Revision of the control plane, written into the pods.
    #[arg(short, long, env = "REVISION", value_name = "NAME", default_value = "")]
    pub revision: String,

    /// Whether the sidecar is native (an init container that keeps running): true, false, or auto, which looks at --node-versions.
    #[arg(
        long,
        env = "ENABLE_NATIVE_SIDECARS",
        value_name = "MODE",
        default_value = "auto"
    )]
    pub native_sidecars: String,

    /// Versions of the nodes, which stand for the cluster's: v1.33.0,v1.34.0.
    #[arg(
        long,
        env = "NODE_VERSIONS",
        value_name = "VERSION,…",
        value_delimiter = ','
    )]
    pub node_versions: Vec<String>,

    /// Compliance policy for the sidecar, such as fips-140-2.
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
        for command in Args::command().get_subcommands() {
            for argument in command.get_arguments() {
                assert!(argument.get_env().is_some(), "{argument}");
            }
        }
    }
}
