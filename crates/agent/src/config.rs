//! Everything the proxy is told, validated.
//!
//! [`Config::resolve`] turns the arguments, PROXY_CONFIG and the pod's annotations into values that need no second look; `app` builds
//! the program from it. A flag or its variable wins over the annotation, that over PROXY_CONFIG, that over the default.

pub mod duration;
pub mod problem;
pub mod proxy_config;
mod reader;

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use contract::{annotations, env, ports};
use runtime::error::chain;

use crate::{
    args::{PodArgs, ProxyArgs, TrafficArgs},
    pod_info::Pairs,
    status::probes::Probes,
    workload::{Told, Workload},
};
use problem::{Origin, Problem, Problems};
use proxy_config::ProxyConfig;
use reader::{Reader, Setting};

/// The proxy's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Number of worker threads of the data plane.
    pub workers: NonZeroUsize,
    /// Ports to listen on.
    pub ports: Ports,
    /// The access log, if there is to be one.
    pub access_log: Option<AccessLog>,
    /// How long a client may be silent before its connection counts as TCP whose server speaks first.
    pub detect_timeout: Duration,
    /// How the proxy ends.
    pub drain: Drain,
    /// Where the application is, seen from the status server.
    pub application: IpAddr,
    /// The application's probes.
    pub probes: Probes,
    /// Who this workload is.
    pub workload: Workload,
}

/// Ports to listen on; 0 lets the kernel choose. No two are the same, 0 aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Captured outbound connections.
    pub outbound: u16,
    /// Captured inbound connections.
    pub inbound: u16,
    /// Readiness through the data plane.
    pub readiness: u16,
    /// Metrics.
    pub prometheus: u16,
    /// Health, probes, metrics, drain.
    pub status: u16,
}

/// Where and how the access log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file, which is appended to.
    pub file: PathBuf,
    /// The form of a line.
    pub encoding: Encoding,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Istio's default line.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// How long the proxy goes on after it was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// So long, whatever happens meanwhile: the application may still be finishing its own work.
    Fixed(Duration),
    /// Until no connection is left, but not less than this. The pod's grace period is the only other limit.
    UntilIdle {
        /// The least.
        minimum: Duration,
    },
}

/// Istio's `protocolDetectionTimeout` is off, so that server-first protocols hang there; a client that speaks first does so
/// within a round trip, which is far less than this.
const DETECT_TIMEOUT: Duration = Duration::from_millis(100);
/// Istio's `terminationDrainDuration` (`pkg/config/mesh`).
const DRAIN_DURATION: Duration = Duration::from_secs(5);
/// Istio's `MINIMUM_DRAIN_DURATION` (`pilot/cmd/pilot-agent/options`).
const MINIMUM_DRAIN_DURATION: Duration = Duration::from_secs(5);
// === impl Config ===

impl Config {
    /// Settles every setting. `annotations` and `labels` are the pod's; `n_cores` is what the machine offers.
    ///
    /// # Errors
    /// Everything that is wrong, each with the place where it was given.
    pub fn resolve(
        args: &ProxyArgs,
        labels: &Pairs,
        annotations: &Pairs,
        n_cores: NonZeroUsize,
    ) -> Result<Self, Problems> {
        let text = args.pod.proxy_config.as_deref().unwrap_or_default();
        let (proxy_config, unreadable) = match ProxyConfig::parse(text) {
            Ok(proxy_config) => (proxy_config, None),
            Err(error) => (ProxyConfig::default(), Some(error)),
        };
        let mut reader = Reader {
            proxy_config: &proxy_config,
            problems: Vec::new(),
        };
        reader.refuse_role(&args.role);
        if let Some(error) = unreadable {
            let setting = Setting::new("proxy-config", env::PROXY_CONFIG, None);
            reader.not_json(setting, &error);
        }
        let config = Self {
            workers: reader.workers(args, n_cores),
            ports: reader.ports(args, annotations),
            access_log: reader.access_log(&args.traffic),
            detect_timeout: reader.detect_timeout(&args.traffic),
            drain: reader.drain(&args.traffic),
            application: reader.application(&args.pod),
            probes: reader.probes(&args.pod),
            workload: Workload::new(told(&args.pod), labels),
        };
        match reader.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Problems(problems)),
        }
    }
}

// === impl Ports ===

impl Ports {
    /// Each port with what it is for.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u16); 5] {
        [
            ("outbound", self.outbound),
            ("inbound", self.inbound),
            ("readiness", self.readiness),
            ("prometheus", self.prometheus),
            ("status", self.status),
        ]
    }
}

// === impl Reader ===

/// One function for each setting that needs more than one look.
impl<'a> Reader<'a> {
    fn refuse_role(&mut self, role: &str) {
        let reason = match role {
            "sidecar" => return,
            "router" => "gateways are not there yet, only `proxy sidecar` is",
            "waypoint" => "waypoints are not there, only `proxy sidecar` is",
            _ => "there is no such role, give `proxy sidecar`",
        };
        self.problems.push(Problem::Role {
            role: role.to_owned(),
            reason,
        });
    }

    fn workers(&mut self, args: &'a ProxyArgs, n_cores: NonZeroUsize) -> NonZeroUsize {
        let setting = Setting::new(
            "concurrency",
            "AGENT_CONCURRENCY",
            args.concurrency.as_ref(),
        );
        let given = self.given(setting);
        let field = self
            .proxy_config
            .concurrency
            .map(|number| number.to_string());
        let field = field
            .as_deref()
            .map(|text| (Origin::ProxyConfig("concurrency"), text));
        if let Some(n_threads) = self.threads(given.or(field)) {
            return NonZeroUsize::new(n_threads).unwrap_or(n_cores);
        }
        let limit = self.given(Setting::new(
            "cpu-limit",
            env::ISTIO_CPU_LIMIT,
            args.pod.cpu_limit.as_ref(),
        ));
        let cores = self.parse(limit, "a number of cores", |text| {
            text.parse()
                .ok()
                .filter(|cores: &f64| cores.is_finite() && *cores >= 0.0)
        });
        // The cast saturates. Without a limit the kubelet tells the node's cores, of which this process may have fewer.
        let n_threads = cores.map_or(1, |cores| cores.ceil() as usize);
        NonZeroUsize::new(n_threads)
            .unwrap_or(NonZeroUsize::MIN)
            .min(n_cores)
    }

    fn ports(&mut self, args: &'a ProxyArgs, annotations: &Pairs) -> Ports {
        let listen = &args.listen;
        let mut port = |flag, env, value: &'a Option<String>, default| {
            let given = self.given(Setting::new(flag, env, value.as_ref()));
            self.port(given).unwrap_or(default)
        };
        let mut ports = Ports {
            outbound: port(
                "outbound-port",
                "AGENT_PORT_OUTBOUND",
                &listen.outbound_port,
                ports::OUTBOUND,
            ),
            inbound: port(
                "inbound-port",
                "AGENT_PORT_INBOUND",
                &listen.inbound_port,
                ports::INBOUND,
            ),
            readiness: port(
                "readiness-port",
                "ENVOY_STATUS_PORT",
                &listen.readiness_port,
                ports::READINESS,
            ),
            prometheus: port(
                "prometheus-port",
                "ENVOY_PROMETHEUS_PORT",
                &listen.prometheus_port,
                ports::PROMETHEUS,
            ),
            status: ports::STATUS,
        };
        let flag = self.given(Setting::new(
            "status-port",
            "AGENT_PORT_STATUS",
            listen.status_port.as_ref(),
        ));
        let annotation = annotations
            .get(annotations::STATUS_PORT)
            .filter(|text| !text.is_empty())
            .map(|text| (Origin::Annotation(annotations::STATUS_PORT), text.as_str()));
        let field = self
            .proxy_config
            .status_port
            .map(|number| number.to_string());
        let field = field
            .as_deref()
            .map(|text| (Origin::ProxyConfig("statusPort"), text));
        if let Some(port) = self.port(flag.or(annotation).or(field)) {
            ports.status = port;
        }
        self.refuse_same(&ports);
        ports
    }

    fn refuse_same(&mut self, ports: &Ports) {
        let named = ports.named();
        for (idx, (second, port)) in named.into_iter().enumerate() {
            let same = |(_, other): &&(_, u16)| *other == port && port != 0;
            if let Some((first, _)) = named.iter().take(idx).find(same) {
                self.problems.push(Problem::SamePort {
                    first,
                    second,
                    port,
                });
            }
        }
    }

    fn access_log(&mut self, args: &'a TrafficArgs) -> Option<AccessLog> {
        let encoding = Setting::new(
            "access-log-encoding",
            "ACCESS_LOG_ENCODING",
            args.access_log_encoding.as_ref(),
        );
        let encoding = self.given(encoding);
        let encoding = self.parse(encoding, "TEXT or JSON", |text| {
            match text.to_ascii_uppercase().as_str() {
                "TEXT" => Some(Encoding::Text),
                "JSON" => Some(Encoding::Json),
                _ => None,
            }
        });
        let file = self.given(Setting::new(
            "access-log-file",
            "ACCESS_LOG_FILE",
            args.access_log_file.as_ref(),
        ));
        file.map(|(_, file)| AccessLog {
            file: PathBuf::from(file),
            encoding: encoding.unwrap_or_default(),
        })
    }

    fn detect_timeout(&mut self, args: &'a TrafficArgs) -> Duration {
        let given = self.given(Setting::new(
            "detect-timeout",
            "DETECT_TIMEOUT",
            args.detect_timeout.as_ref(),
        ));
        self.duration(given).unwrap_or(DETECT_TIMEOUT)
    }

    fn drain(&mut self, args: &'a TrafficArgs) -> Drain {
        let fixed = Setting::new(
            "drain-duration",
            "TERMINATION_DRAIN_DURATION",
            args.drain_duration.as_ref(),
        );
        let field = self.proxy_config.termination_drain_duration.as_deref();
        let field = field.map(|text| (Origin::ProxyConfig("terminationDrainDuration"), text));
        let fixed = self.given(fixed).or(field);
        let fixed = self.duration(fixed).unwrap_or(DRAIN_DURATION);
        let minimum = Setting::new(
            "minimum-drain-duration",
            "MINIMUM_DRAIN_DURATION",
            args.minimum_drain_duration.as_ref(),
        );
        let minimum = self.given(minimum);
        let minimum = self.duration(minimum).unwrap_or(MINIMUM_DRAIN_DURATION);
        let until_idle = self.given(Setting::new(
            "exit-on-zero-active-connections",
            "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
            args.exit_on_zero_active_connections.as_ref(),
        ));
        if self.bool(until_idle) {
            Drain::UntilIdle { minimum }
        } else {
            Drain::Fixed(fixed)
        }
    }

    fn application(&mut self, args: &'a PodArgs) -> IpAddr {
        let local = self.given(Setting::new(
            "probe-localhost",
            env::PROBE_LOCALHOST,
            args.probe_localhost.as_ref(),
        ));
        let is_local = self.bool(local);
        let address = self.given(Setting::new(
            "instance-ip",
            env::INSTANCE_IP,
            args.instance_ip.as_ref(),
        ));
        let address = self.parse(address, "an IP address", |text| text.parse().ok());
        address
            .filter(|_| !is_local)
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn probes(&mut self, args: &PodArgs) -> Probes {
        let text = args.app_probers.as_deref().unwrap_or_default();
        Probes::parse(text).unwrap_or_else(|errors| {
            let setting = Setting::new("app-probers", env::KUBE_APP_PROBERS, None);
            for error in &errors {
                self.not_json(setting, error);
            }
            Probes::default()
        })
    }

    fn not_json(&mut self, setting: Setting<'_>, error: &(dyn std::error::Error + 'static)) {
        self.problems.push(Problem::Json {
            origin: setting.origin(),
            reason: chain(error).to_string(),
        });
    }
}

fn told(args: &PodArgs) -> Told {
    Told {
        pod_name: args.pod_name.clone(),
        workload_name: args.workload_name.clone(),
        namespace: args.pod_namespace.clone(),
        service_account: args.service_account.clone(),
        cluster: args.cluster_id.clone(),
        trust_domain: args.trust_domain.clone(),
    }
}

#[cfg(test)]
mod tests;
