//! Flags and variables about the control plane and what it certifies.
//!
//! Part of [`ProxyArgs`](super::ProxyArgs); `config::control_plane` and `config::certificates` say what the texts mean.

use clap::Args;
use contract::env;

/// Where certificates and the picture of the mesh come from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Control plane")]
pub struct ControlPlaneArgs {
    /// Address of discovery. Default: PROXY_CONFIG, else istiod.istio-system.svc:15012 where --ca-address is given, else none.
    #[arg(long, env = "AGENT_DISCOVERY_ADDRESS", value_name = "HOST:PORT")]
    pub discovery_address: Option<String>,
    /// Address of the certificate authority. Default: that of discovery.
    #[arg(long, env = env::CA_ADDR, value_name = "HOST:PORT")]
    pub ca_address: Option<String>,
    /// Name that the control plane's certificate is for, if not that of its address.
    #[arg(long, env = "ISTIOD_SAN", value_name = "NAME")]
    pub control_plane_name: Option<String>,
    /// File with the mesh's roots, read again when it changes. Default: /var/run/secrets/istio/root-cert.pem.
    #[arg(long, env = "AGENT_ROOT_CERT", value_name = "FILE")]
    pub root_cert_file: Option<String>,
    /// File with the roots that the certificate authority's server is verified against. Default: --root-cert-file.
    #[arg(long, env = "CA_ROOT_CA", value_name = "FILE")]
    pub ca_root_file: Option<String>,
    /// File with the roots that discovery's server is verified against. Default: --root-cert-file.
    #[arg(long, env = "XDS_ROOT_CA", value_name = "FILE")]
    pub discovery_root_file: Option<String>,
    /// File with the token that says who asks. Default: /var/run/secrets/tokens/istio-token.
    #[arg(long, env = "AGENT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<String>,
    /// Folder in memory (tmpfs) where the last state is kept for the next start of the container. Default: /etc/istio/proxy.
    #[arg(long, env = "AGENT_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// What is asked of a certificate authority, and where certificates come from or go to otherwise.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificates")]
pub struct CertificateArgs {
    /// How long a certificate should live. Default: 24h.
    #[arg(long, env = "SECRET_TTL", value_name = "DURATION")]
    pub secret_ttl: Option<String>,
    /// The part of its life that a certificate has left when it is renewed. Default: 0.5.
    #[arg(long, env = "SECRET_GRACE_PERIOD_RATIO", value_name = "RATIO")]
    pub secret_grace_period_ratio: Option<String>,
    /// How much that part varies by chance, up and down. Default: 0.01.
    #[arg(long, env = "SECRET_GRACE_PERIOD_RATIO_JITTER", value_name = "RATIO")]
    pub secret_grace_period_ratio_jitter: Option<String>,
    /// `ECDSA`, for keys on an elliptic curve even where a size of RSA keys is given.
    #[arg(long, env = "ECC_SIGNATURE_ALGORITHM", value_name = "ALGORITHM")]
    pub ecc_signature_algorithm: Option<String>,
    /// Elliptic curve of keys: `P256` or `P384`. Default: P256.
    #[arg(long, env = "ECC_CURVE", value_name = "CURVE")]
    pub ecc_curve: Option<String>,
    /// Bits of RSA keys: 2048, 3072 or 4096. Default: no RSA, but ECDSA.
    #[arg(long, env = "WORKLOAD_RSA_KEY_SIZE", value_name = "BITS")]
    pub workload_rsa_key_size: Option<String>,
    /// Folder that certificate, key and roots are written to whenever they change. Default: none.
    #[arg(long, env = "OUTPUT_CERTS", value_name = "DIR")]
    pub output_certs: Option<String>,
    /// Take certificates from --certs-dir and ask nobody for one. Default: false.
    #[arg(
        long,
        env = "FILE_MOUNTED_CERTS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub file_mounted_certs: Option<String>,
    /// Socket of the SPIFFE Workload API; a name is below /var/run/secrets/workload-spiffe-uds. Default: `socket`, if it is there.
    #[arg(long, env = "WORKLOAD_IDENTITY_SOCKET_FILE", value_name = "PATH")]
    pub workload_identity_socket: Option<String>,
}
