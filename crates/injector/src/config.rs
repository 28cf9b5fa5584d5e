//! What the injector is to do, checked.
//!
//! Made of [`Args`] before anything is opened; `app` sees only this. All problems are found in one go, each named by its flag and
//! its environment variable.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use contract::{control_plane, ports};
use identity::{
    Lifetimes,
    authority::{LEAF_LIFETIME, MIN_LEAF_LIFETIME},
};
use template::{InvalidOption, NativeSidecars, Node, Options};

use crate::{
    args::{Args, ClusterArgs},
    cluster::{Settings, authority},
    discovery::debounce::Pauses,
    files::Source,
    grpc::Addresses,
    webhook::tls,
};

/// The flag of the folder with `config` and `values`.
const INJECT_FLAG: &str = "--inject-dir";
/// The flag of the mesh configuration.
const MESH_FLAG: &str = "--mesh-config";

/// What labels call the revision that has no name.
const DEFAULT_REVISION: &str = "default";

/// What to do where nothing says what to inject.
const NO_INJECT_DIR: &str = "give the folder with the injection configuration by --inject-dir (INJECT_DIR), or a cluster by --kubeconfig (KUBECONFIG)";

/// What to do where sidecars are to be served without a cluster.
const NO_CLUSTER: &str = "--grpc-addr (GRPC_ADDR) and --plaintext-grpc-addr (PLAINTEXT_GRPC_ADDR) need a cluster, whose API server knows the sidecars: give one by --kubeconfig (KUBECONFIG), or leave them out";

/// The settings of the program.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the webhook listens.
    pub https_address: SocketAddr,
    /// Where readiness and metrics are served, if they are.
    pub monitoring_address: Option<SocketAddr>,
    /// Where sidecars are served over gRPC, if they are: in a cluster only.
    pub grpc: Option<Addresses>,
    /// The file `config`.
    pub injection: Source,
    /// The file `values`.
    pub values: Source,
    /// The mesh configuration, if it is not all defaults.
    pub mesh: Option<Source>,
    /// Whether these files are the cluster's ConfigMaps, mounted as the chart does it.
    pub mounted: bool,
    /// What is not in these files.
    pub options: Options,
    /// What else there is to work with.
    pub mode: Mode,
    /// How long requests under way may take at the end.
    pub drain: Duration,
    /// How long connections are still accepted at the end.
    pub shutdown_delay: Duration,
}

/// What the program works with beside its configuration.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Files and nothing else: no cluster is looked for.
    Files(Pair),
    /// A cluster.
    Cluster(Box<Settings>),
}

/// Where the webhook's certificate comes from, in a cluster.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// The mesh's own authority, which also says what the API server is to trust.
    Authority,
    /// Files; whoever provides them provides the webhook configuration's `caBundle` too.
    Files(Pair),
}

/// The files of a serving certificate.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate chain.
    pub certificate: Source,
    /// The private key.
    pub key: Source,
}

/// What is wrong with the arguments, a line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    problems: Vec<String>,
}

/// What the two TLS flags give.
struct Tls {
    certificate: Option<Source>,
    key: Option<Source>,
}

// === impl Config ===

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let options = options(&args, &mut problems);
        let dir = args.inject_dir.filter(|path| !path.as_os_str().is_empty());
        let tls = Tls {
            certificate: source(tls::CERT_FLAG, args.tls_cert_file),
            key: source(tls::KEY_FLAG, args.tls_key_file),
        };
        let kubeconfig = args.cluster.kubeconfig.as_ref();
        let has_cluster = args.cluster.kubernetes_service_host.is_some()
            || kubeconfig.is_some_and(|path| !path.as_os_str().is_empty());
        // Who gives everything by files is believed to want nothing else, whatever else the environment holds.
        let in_cluster = has_cluster && !(dir.is_some() && tls.is_given());
        let (mode, default_dir) = if in_cluster {
            let settings = settings(args.cluster, &args.revision, &options, tls, &mut problems);
            (
                settings.map(|settings| Mode::Cluster(Box::new(settings))),
                Some(control_plane::INJECT_DIR.into()),
            )
        } else {
            (tls.required(&mut problems).map(Mode::Files), None)
        };
        let grpc = grpc(
            in_cluster,
            args.grpc_addr,
            args.plaintext_grpc_addr,
            &mut problems,
        );
        let mounted = dir.is_none() && in_cluster;
        let dir = dir.or(default_dir);
        if dir.is_none() {
            problems.insert(0, NO_INJECT_DIR.to_owned());
        }
        let (Some(dir), Some(mode), true) = (dir, mode, problems.is_empty()) else {
            return Err(ConfigError { problems });
        };
        let file = |flag, key| Source {
            flag,
            path: dir.join(key),
        };
        let mesh = source(MESH_FLAG, args.mesh_config)
            .or_else(|| in_cluster.then(|| file(INJECT_FLAG, control_plane::MESH_KEY)));
        let monitoring = in_cluster.then(|| (Ipv6Addr::UNSPECIFIED, ports::MONITORING).into());
        Ok(Self {
            https_address: args.https_addr,
            monitoring_address: args.monitoring_addr.or(monitoring),
            grpc,
            injection: file(INJECT_FLAG, control_plane::CONFIG_KEY),
            values: file(INJECT_FLAG, control_plane::VALUES_KEY),
            mesh,
            mounted,
            options,
            mode,
            drain: args.drain_duration,
            shutdown_delay: args.shutdown_delay,
        })
    }
}

impl Config {
    /// The namespace whose policies are for the whole mesh where the mesh configuration names none: the control plane's own.
    #[must_use]
    pub fn root_namespace(&self) -> &str {
        match &self.mode {
            Mode::Files(_) => control_plane::NAMESPACE,
            Mode::Cluster(settings) => &settings.namespace,
        }
    }

    /// What errors call the texts of the injection configuration, in the order of the files: ConfigMap and key, which is what people edit, or the path.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let files = [
            Some(&self.injection),
            Some(&self.values),
            self.mesh.as_ref(),
        ];
        let keys = [
            (control_plane::SIDECAR_INJECTOR, control_plane::CONFIG_KEY),
            (control_plane::SIDECAR_INJECTOR, control_plane::VALUES_KEY),
            (control_plane::MESH_CONFIG_MAP, control_plane::MESH_KEY),
        ];
        let name = |file: &Source, (map, key)| match &self.mode {
            Mode::Cluster(settings) if self.mounted && file.flag == INJECT_FLAG => {
                let map = of_revision(map, &self.options.revision);
                format!("ConfigMap {}/{map}, key {key}", settings.namespace)
            }
            Mode::Cluster(_) | Mode::Files(_) => file.name(),
        };
        let files = files.into_iter().zip(keys);
        files
            .filter_map(|(file, key)| Some(name(file?, key)))
            .collect()
    }
}

/// The name of an object of the chart that takes the revision.
#[must_use]
pub fn of_revision(name: &str, revision: &str) -> String {
    match revision {
        "" | DEFAULT_REVISION => name.to_owned(),
        revision => format!("{name}-{revision}"),
    }
}

// === impl Tls ===

impl Tls {
    fn is_given(&self) -> bool {
        self.certificate.is_some() && self.key.is_some()
    }

    fn required(self, problems: &mut Vec<String>) -> Option<Pair> {
        if self.certificate.is_none() {
            problems.push(
                "give the webhook's certificate by --tls-cert-file (TLS_CERT_FILE)".to_owned(),
            );
        }
        if self.key.is_none() {
            problems.push(
                "give the private key of the webhook's certificate by --tls-key-file (TLS_KEY_FILE)"
                    .to_owned(),
            );
        }
        Some(Pair {
            certificate: self.certificate?,
            key: self.key?,
        })
    }

    fn optional(self, problems: &mut Vec<String>) -> Option<Certificates> {
        if self.certificate.is_none() && self.key.is_none() {
            return Some(Certificates::Authority);
        }
        self.required(problems).map(Certificates::Files)
    }
}

fn grpc(
    in_cluster: bool,
    tls: Option<SocketAddr>,
    plaintext: Option<SocketAddr>,
    problems: &mut Vec<String>,
) -> Option<Addresses> {
    if in_cluster {
        return Some(Addresses {
            tls: tls.unwrap_or_else(|| (Ipv6Addr::UNSPECIFIED, ports::DISCOVERY).into()),
            plaintext,
        });
    }
    if tls.is_some() || plaintext.is_some() {
        problems.push(NO_CLUSTER.to_owned());
    }
    None
}

fn source(flag: &'static str, path: Option<PathBuf>) -> Option<Source> {
    let path = path.filter(|path| !path.as_os_str().is_empty())?;
    Some(Source { flag, path })
}

fn options(args: &Args, problems: &mut Vec<String>) -> Options {
    Options {
        revision: args.revision.clone(),
        native_sidecars: switch(
            args.native_sidecars.parse(),
            "--native-sidecars (ENABLE_NATIVE_SIDECARS)",
            problems,
        ),
        nodes: nodes(&args.node_versions),
        compliance_policy: args.compliance_policy.clone(),
        platform: switch(args.platform.parse(), "--platform (PLATFORM)", problems),
    }
}

fn settings(
    args: ClusterArgs,
    revision: &str,
    options: &Options,
    tls: Tls,
    problems: &mut Vec<String>,
) -> Option<Settings> {
    if args.namespace.is_empty() {
        problems
            .push("give the control plane's namespace by --namespace (POD_NAMESPACE)".to_owned());
        return None;
    }
    let custom = args.custom_host.iter().map(String::as_str);
    let names = authority::serving_names(&args.namespace, revision, custom)
        .map_err(|error| {
            problems.push(format!(
                "{error}; correct --custom-host (ISTIOD_CUSTOM_HOST), --namespace (POD_NAMESPACE) or --revision (REVISION)"
            ));
        })
        .ok();
    let certificates = tls.optional(problems);
    let lifetimes = lifetimes(
        args.default_workload_cert_ttl,
        args.max_workload_cert_ttl,
        problems,
    );
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let sidecar_injector = of_revision(control_plane::SIDECAR_INJECTOR, revision);
    let webhook = args
        .webhook_config
        .unwrap_or_else(|| sidecar_injector.clone());
    let validation = args.validation_webhook_config.unwrap_or_else(|| {
        let name = of_revision(control_plane::VALIDATOR, revision);
        format!("{name}-{}", args.namespace)
    });
    let by_version = options.native_sidecars == NativeSidecars::Auto;
    Some(Settings {
        kubeconfig: args.kubeconfig,
        namespace: args.namespace,
        pod_name: given(args.pod_name),
        config_map: sidecar_injector,
        workload_events: args.workload_events,
        owner_cluster_role: given(args.owner_cluster_role),
        revision: given(Some(revision.to_owned())).unwrap_or_else(|| DEFAULT_REVISION.to_owned()),
        webhook_configuration: given(Some(webhook)),
        validation_configuration: given(Some(validation)),
        names: names?,
        certificates: certificates?,
        rotation: authority::Periods {
            announcement: args
                .root_rotation_delay
                .try_into()
                .unwrap_or(time::Duration::MAX),
            // As long as the longest certificate, and what clocks may differ by.
            retirement: lifetimes?.max + time::Duration::HOUR,
        },
        lifetimes: lifetimes?,
        account_secrets: args.account_secrets,
        pauses: Pauses {
            after: args.debounce_after,
            max: args.debounce_max,
        },
        follow_nodes: by_version && options.nodes.is_none(),
        platform: options.platform,
    })
}

/// How long leaves live: the bounds are the authority's, and the default is not longer than the longest.
fn lifetimes(default: Duration, max: Duration, problems: &mut Vec<String>) -> Option<Lifetimes> {
    let signed = |value: Duration| time::Duration::try_from(value).ok();
    let within = |value: &time::Duration| (MIN_LEAF_LIFETIME..=LEAF_LIFETIME).contains(value);
    let max = signed(max).filter(within);
    if max.is_none() {
        problems.push(
            "--max-workload-cert-ttl (MAX_WORKLOAD_CERT_TTL) is between 1m and 24h".to_owned(),
        );
    }
    let max = max?;
    let default = signed(default).filter(|value| within(value) && *value <= max);
    if default.is_none() {
        problems.push("--default-workload-cert-ttl (DEFAULT_WORKLOAD_CERT_TTL) is between 1m and --max-workload-cert-ttl".to_owned());
    }
    Some(Lifetimes {
        default: default?,
        max,
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
mod tests;
