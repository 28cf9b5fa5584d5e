//! Names of containers and volumes that injection adds, and of the objects they refer to.

/// The init container that sets the rules.
pub const INIT_CONTAINER: &str = "istio-init";
/// The init container that only checks rules that someone else has set.
pub const VALIDATION_CONTAINER: &str = "istio-validation";
/// The sidecar.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// ConfigMap with the mesh's root certificate, in every namespace.
pub const ROOT_CERT_CONFIG_MAP: &str = "istio-ca-root-cert";
/// ConfigMap with the lists of revoked certificates, in every namespace if there are any.
pub const CRL_CONFIG_MAP: &str = "istio-ca-crl";
