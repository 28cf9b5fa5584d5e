//! What the injector is to do, checked.
//!
//! Made of [`Args`] before anything is opened; `app` sees only this. All problems are found in one go, each named by its flag and
//! its environment variable.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use template::{InvalidOption, Node, Options};

use crate::{args::Args, files::Source, webhook::tls};

/// The flag of the folder with `config` and `values`.
const INJECT_FLAG: &str = "--inject-dir";
/// The flag of the mesh configuration.
const MESH_FLAG: &str = "--mesh-config";

/// The settings of a program that injects by files.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the webhook listens.
    pub https_address: SocketAddr,
    /// Where readiness and metrics are served, if they are.
    pub monitoring_address: Option<SocketAddr>,
    /// The file `config`.
    pub injection: Source,
    /// The file `values`.
    pub values: Source,
    /// The mesh configuration, if it is not all defaults.
    pub mesh: Option<Source>,
    /// What is not in these files.
    pub options: Options,
    /// The certificate chain.
    pub certificate: Source,
    /// The private key.
    pub key: Source,
    /// How long requests under way may take at the end.
    pub drain: Duration,
    /// How long connections are still accepted at the end.
    pub shutdown_delay: Duration,
}

/// What is wrong with the arguments, a line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    problems: Vec<String>,
}

// === impl Config ===

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let dir = need(
            args.inject_dir,
            "give the folder with the injection configuration by --inject-dir (INJECT_DIR), reading it from a cluster is not supported yet",
            &mut problems,
        );
        let certificate = need(
            args.tls_cert_file,
            "give the webhook's certificate by --tls-cert-file (TLS_CERT_FILE)",
            &mut problems,
        );
        let key = need(
            args.tls_key_file,
            "give the private key of the webhook's certificate by --tls-key-file (TLS_KEY_FILE)",
            &mut problems,
        );
        let native_sidecars = switch(
            args.native_sidecars.parse(),
            "--native-sidecars (ENABLE_NATIVE_SIDECARS)",
            &mut problems,
        );
        let platform = switch(
            args.platform.parse(),
            "--platform (PLATFORM)",
            &mut problems,
        );
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let source = |flag, path| Source { flag, path };
        Ok(Self {
            https_address: args.https_addr,
            monitoring_address: args.monitoring_addr,
            injection: source(INJECT_FLAG, dir.join("config")),
            values: source(INJECT_FLAG, dir.join("values")),
            mesh: args.mesh_config.map(|path| source(MESH_FLAG, path)),
            options: Options {
                revision: args.revision,
                native_sidecars,
                nodes: nodes(&args.node_versions),
                compliance_policy: args.compliance_policy,
                platform,
            },
            certificate: source(tls::CERT_FLAG, certificate),
            key: source(tls::KEY_FLAG, key),
            drain: args.drain_duration,
            shutdown_delay: args.shutdown_delay,
        })
    }
}

fn need(path: Option<PathBuf>, problem: &str, problems: &mut Vec<String>) -> PathBuf {
    path.filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| {
            problems.push(problem.to_owned());
            PathBuf::new()
        })
}

fn switch<T: Default>(
    parsed: Result<T, InvalidOption>,
    flag: &str,
    problems: &mut Vec<String>,
) -> T {
    parsed
        .map_err(|error| problems.push(format!("{flag}: {error}")))
        .unwrap_or_default()
}

/// The nodes as far as the flag tells; nothing is known of them without it.
fn nodes(versions: &[String]) -> Option<Vec<Node>> {
    (!versions.is_empty()).then(|| {
        versions
            .iter()
            .map(|version| Node::of_version(version))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(args: &[&str]) -> Result<Config, ConfigError> {
        Config::try_from(Args::try_parse_from([&["injector"], args].concat()).unwrap())
    }

    #[test]
    fn files_are_found_in_the_mounted_folder() {
        let config = config(&[
            "--inject-dir=/d",
            "--tls-cert-file=c",
            "--tls-key-file=k",
            "--mesh-config=/m",
        ])
        .unwrap();
        assert_eq!(config.injection.path, PathBuf::from("/d/config"));
        assert_eq!(config.values.path, PathBuf::from("/d/values"));
        assert_eq!(config.mesh.unwrap().path, PathBuf::from("/m"));
    }

    #[test]
    fn all_problems_are_told_together() {
        let error = config(&["--native-sidecars=maybe", "--platform=vax"]).unwrap_err();
        assert_eq!(error.problems.len(), 5, "{error}");
        let text = error.to_string();
        for flag in [
            "--inject-dir (INJECT_DIR)",
            "--tls-cert-file (TLS_CERT_FILE)",
            "--tls-key-file (TLS_KEY_FILE)",
            "--native-sidecars (ENABLE_NATIVE_SIDECARS)",
            "maybe",
            "--platform (PLATFORM)",
        ] {
            assert!(text.contains(flag), "{text}");
        }
    }
}
