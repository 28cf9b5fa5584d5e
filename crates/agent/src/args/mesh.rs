//! Flags and variables about a mesh that files describe, and about mutual TLS whoever describes it.
//!
//! Part of [`ProxyArgs`](super::ProxyArgs); `config::settings` and `config::tls` say what the texts mean.

use clap::Args;

/// Where the picture of the mesh comes from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mesh")]
pub struct MeshArgs {
    /// File with services, workloads and settings of the mesh, YAML or JSON; read again when it changes. Default: nothing is known.
    #[arg(long, env = "AGENT_LOCAL_MESH", value_name = "FILE")]
    pub local_mesh: Option<String>,
    /// DNS domain of the pod's namespace. Default: NAMESPACE.svc.cluster.local.
    #[arg(long, env = "AGENT_DOMAIN", value_name = "NAME")]
    pub domain: Option<String>,
}

/// How traffic between sidecars is secured.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mutual TLS")]
pub struct TlsArgs {
    /// Folder with cert-chain.pem, key.pem and root-cert.pem, read again when they change. Default: /etc/certs, which may be absent.
    #[arg(long, env = "AGENT_CERTS_DIR", value_name = "DIR")]
    pub certs_dir: Option<String>,
    /// Oldest version of TLS between sidecars: `TLSV1_2` or `TLSV1_3`. Default: TLSV1_3.
    #[arg(long, env = "AGENT_TLS_MIN_VERSION", value_name = "VERSION")]
    pub tls_min_version: Option<String>,
    /// `pqc` for key exchange that a quantum computer does not break, and no other. Default: none.
    #[arg(long, env = "COMPLIANCE_POLICY", value_name = "POLICY")]
    pub compliance_policy: Option<String>,
}
