//! Names of the control plane's objects in the cluster.
//!
//! The chart writes some of them and the injector the others; the command line reads them, and injected pods mount what is in them.
//! The names are Istio's. A revision other than the default one is appended to those that say so, `istiod-canary`.

/// Namespace of the control plane.
pub const NAMESPACE: &str = "istio-system";
/// ConfigMap with the keys [`CONFIG_KEY`] and [`VALUES_KEY`], its Service and its MutatingWebhookConfiguration; takes a revision.
pub const SIDECAR_INJECTOR: &str = "istio-sidecar-injector";
/// End of the names of all entries of the mesh in a MutatingWebhookConfiguration.
pub const WEBHOOK_SUFFIX: &str = "sidecar-injector.istio.io";
/// Its ValidatingWebhookConfiguration; takes a revision, and then its namespace.
pub const VALIDATOR: &str = "istio-validator";
/// Lease of the replica that writes the status of users' objects; takes a revision.
pub const LEADER_LEASE: &str = "minimesh-leader";
/// ConfigMap with the key [`MESH_KEY`]; takes a revision.
pub const MESH_CONFIG_MAP: &str = "istio";
/// Service with Istio's ports of the control plane; takes a revision.
pub const ISTIOD: &str = "istiod";

/// Key with templates and policy; the file of this name where it is mounted.
pub const CONFIG_KEY: &str = "config";
/// Key with what templates see as `.Values`; the file of this name where it is mounted.
pub const VALUES_KEY: &str = "values";
/// Key with the mesh configuration; the file of this name where it is mounted.
pub const MESH_KEY: &str = "mesh";
/// Where all three are mounted in the injector's container, from one projected volume.
pub const INJECT_DIR: &str = "/var/lib/istio/inject";

/// Secret of the authority, in the namespace of the control plane; written by the injector.
pub const CA_SECRET: &str = "istio-ca-secret";
/// Type of that Secret.
pub const CA_SECRET_TYPE: &str = "istio.io/ca-root";
/// Key of the authority's certificate in that Secret, PEM.
pub const CA_CERT_KEY: &str = "ca-cert.pem";
/// Key of the authority's private key in that Secret, PEM.
pub const CA_PRIVATE_KEY: &str = "ca-key.pem";
/// Key of the certificates between the authority and its root in that Secret and in [`GIVEN_CA_SECRET`], PEM; empty if there are none.
pub const CA_CHAIN_KEY: &str = "cert-chain.pem";
/// Key of the roots of an authority that the user has given, in [`CA_SECRET`], PEM.
pub const CA_ROOTS_KEY: &str = "ca-roots.pem";
/// Key of the certificate of an authority that is to follow, in [`CA_SECRET`], PEM.
pub const NEXT_CERT_KEY: &str = "next-cert.pem";
/// Key of its private key, PEM.
pub const NEXT_PRIVATE_KEY: &str = "next-key.pem";
/// Key of the roots that are about to leave the trust bundle, in [`CA_SECRET`], PEM.
pub const RETIRING_KEY: &str = "retiring-cert.pem";
/// Annotation of [`CA_SECRET`], written by whoever wants a new root, with any value; removed by the injector when it begins.
pub const ROTATE_ROOT: &str = "minimesh.io/rotate-root";
/// Annotation of [`CA_SECRET`]: since when the roots of the next authority are in the bundle (RFC 3339).
pub const ROOT_ANNOUNCED: &str = "minimesh.io/root-announced";
/// Annotation of [`CA_SECRET`]: since when the authority signs in place of another one (RFC 3339).
pub const ROOT_SWITCHED: &str = "minimesh.io/root-switched";

/// Secret with an authority of the user's own, in the namespace of the control plane: keys [`CA_CERT_KEY`], [`CA_PRIVATE_KEY`],
/// [`ROOT_CERT_KEY`] and [`CA_CHAIN_KEY`], or as cert-manager writes it [`TLS_CERT_KEY`], [`TLS_PRIVATE_KEY`] and [`GIVEN_ROOT_KEY`].
pub const GIVEN_CA_SECRET: &str = "cacerts";
/// Key of the root in a Secret that cert-manager writes, PEM.
pub const GIVEN_ROOT_KEY: &str = "ca.crt";
/// Key of the revoked certificates, PEM: in [`GIVEN_CA_SECRET`], and in the ConfigMap of every namespace that carries them.
pub const CRL_KEY: &str = "ca-crl.pem";

/// First part of the name of the Secret with a service account's certificate, before the account's name: for templates that mount it in `/etc/certs`.
pub const ACCOUNT_SECRET_PREFIX: &str = "istio.";
/// Type of that Secret.
pub const ACCOUNT_SECRET_TYPE: &str = "istio.io/key-and-cert";
/// Annotation of that Secret: the service account's name.
pub const SERVICE_ACCOUNT_NAME: &str = "istio.io/service-account.name";

/// Key of the webhook's chain in [`CA_SECRET`], PEM; Kubernetes' name.
pub const TLS_CERT_KEY: &str = "tls.crt";
/// Key of the webhook's private key in [`CA_SECRET`], PEM; Kubernetes' name.
pub const TLS_PRIVATE_KEY: &str = "tls.key";
/// Key of the trust bundle, in the Secret and in the ConfigMap [`crate::pod::ROOT_CERT_CONFIG_MAP`] of every namespace.
pub const ROOT_CERT_KEY: &str = "root-cert.pem";
/// Namespaces that get no ConfigMap with the trust bundle, because no workload of a mesh is ever in them.
pub const WITHOUT_ROOT_CERT: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];
