//! Where the tools, the programs and the output are: what `cargo xtask e2e` tells the tests.
//!
//! Read once; everything else of the harness asks [`environment`]. Without the variables the tools are searched in `PATH`, so a
//! single test can be run by hand against a cluster that is there.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Paths of what the tests run and where they write.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `E2E_KUBECTL`; it reads `KUBECONFIG` itself.
    pub kubectl: PathBuf,
    /// `E2E_HELM`.
    pub helm: PathBuf,
    /// `E2E_DOCKER`.
    pub docker: PathBuf,
    /// `E2E_MINIMESH`: the program that users type.
    pub minimesh: PathBuf,
    /// `E2E_OUTPUT`: folder for what is collected when a test fails.
    pub output: PathBuf,
    /// `E2E_KEEP`: whether the namespaces of tests that fail stay, to look around in.
    pub keeps_failures: bool,
}

/// The environment of this process.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Environment {
        kubectl: path("E2E_KUBECTL", "kubectl"),
        helm: path("E2E_HELM", "helm"),
        docker: path("E2E_DOCKER", "docker"),
        minimesh: path("E2E_MINIMESH", "minimesh"),
        output: path("E2E_OUTPUT", "target/e2e"),
        keeps_failures: variable("E2E_KEEP").is_some(),
    })
}

/// The root of the project's tree.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn path(name: &str, default: &str) -> PathBuf {
    variable(name).map_or_else(|| default.into(), PathBuf::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line; this is its one place that reads the environment"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
