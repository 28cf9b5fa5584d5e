//! How each setting is settled: which source wins, and the default.
//!
//! Called by [`Config::resolve`](super::Config::resolve), one function after the other; what is wrong stays with the reader.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use contract::{annotations, env, ports};
use runtime::error::chain;

use super::{
    AccessLog, Drain, Encoding, Interception, Ports,
    problem::{Origin, Problem},
    reader::{Reader, Setting},
};
use crate::{
    args::{ListenArgs, MeshArgs, PodArgs, ProxyArgs, StatusArgs, TrafficArgs},
    mesh::Own,
    pod_info::Pairs,
    status::{probes::Probes, scrape::Targets},
    workload::{Told, Workload},
};

/// Istio's `protocolDetectionTimeout` is off, so that server-first protocols hang there; a client that speaks first does so
/// within a round trip, which is far less than this.
const DETECT_TIMEOUT: Duration = Duration::from_millis(100);
/// Istio's `terminationDrainDuration` (`pkg/config/mesh`).
const DRAIN_DURATION: Duration = Duration::from_secs(5);
/// Istio's `MINIMUM_DRAIN_DURATION` (`pilot/cmd/pilot-agent/options`).
const MINIMUM_DRAIN_DURATION: Duration = Duration::from_secs(5);
/// What is left of the pod's grace period for the end itself, as ztunnel has it.
const LAST_SECONDS: Duration = Duration::from_secs(5);

// === impl Reader ===

/// One function for each setting.
impl<'a> Reader<'a> {
    pub(super) fn refuse_role(&mut self, role: &str) {
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

    pub(super) fn workers(&mut self, args: &'a ProxyArgs, n_cores: NonZeroUsize) -> NonZeroUsize {
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

    pub(super) fn ports(&mut self, args: &'a ProxyArgs, annotations: &Pairs) -> Ports {
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
            admin: ports::ADMIN,
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
        let field = self.proxy_config.status_port.map(|port| port.to_string());
        let field = field.as_deref();
        let field = field.map(|text| (Origin::ProxyConfig("statusPort"), text));
        if let Some(port) = self.port(flag.or(annotation).or(field)) {
            ports.status = port;
        }
        if let Some(port) = self.admin_port(listen) {
            ports.admin = port;
        }
        self.refuse_same(&ports);
        ports
    }

    fn admin_port(&mut self, listen: &'a ListenArgs) -> Option<u16> {
        let flag = self.given(Setting::new(
            "admin-port",
            "AGENT_PORT_ADMIN",
            listen.admin_port.as_ref(),
        ));
        let field = self.proxy_config.proxy_admin_port;
        let field = field.map(|port| port.to_string());
        let field = field.as_deref();
        let field = field.map(|text| (Origin::ProxyConfig("proxyAdminPort"), text));
        self.port(flag.or(field))
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

    pub(super) fn interception(&mut self, args: &'a PodArgs) -> Interception {
        let mode = self.given(Setting::new(
            "interception-mode",
            env::META_INTERCEPTION_MODE,
            args.interception_mode.as_ref(),
        ));
        let mode = self.parse(mode, "REDIRECT, TPROXY or NONE", |text| match text {
            "REDIRECT" | "NONE" => Some(Interception::Redirect),
            "TPROXY" => Some(Interception::Tproxy),
            _ => None,
        });
        mode.unwrap_or_default()
    }

    pub(super) fn captures_dns(&mut self, args: &'a TrafficArgs) -> bool {
        let given = self.given(Setting::new(
            "dns-capture",
            env::META_DNS_CAPTURE,
            args.dns_capture.as_ref(),
        ));
        self.bool(given)
    }

    pub(super) fn access_log(&mut self, args: &'a TrafficArgs) -> Option<AccessLog> {
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

    pub(super) fn detect_timeout(&mut self, args: &'a TrafficArgs) -> Duration {
        let given = self.given(Setting::new(
            "detect-timeout",
            "DETECT_TIMEOUT",
            args.detect_timeout.as_ref(),
        ));
        self.duration(given).unwrap_or(DETECT_TIMEOUT)
    }

    pub(super) fn drain(&mut self, args: &'a ProxyArgs) -> Drain {
        let traffic = &args.traffic;
        let fixed = Setting::new(
            "drain-duration",
            "TERMINATION_DRAIN_DURATION",
            traffic.drain_duration.as_ref(),
        );
        let field = self.proxy_config.termination_drain_duration.as_deref();
        let field = field.map(|text| (Origin::ProxyConfig("terminationDrainDuration"), text));
        let fixed = self.given(fixed).or(field);
        let fixed = self.duration(fixed);
        let minimum = Setting::new(
            "minimum-drain-duration",
            "MINIMUM_DRAIN_DURATION",
            traffic.minimum_drain_duration.as_ref(),
        );
        let minimum = self.given(minimum);
        let minimum = self.duration(minimum).unwrap_or(MINIMUM_DRAIN_DURATION);
        let until_idle = self.given(Setting::new(
            "exit-on-zero-active-connections",
            "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
            traffic.exit_on_zero_active_connections.as_ref(),
        ));
        let limit = self.grace_period(&args.pod).map(drain_limit);
        match (self.bool(until_idle), fixed, limit) {
            (true, _, limit) => Drain::UntilIdle { minimum, limit },
            (false, Some(fixed), _) => Drain::Fixed(fixed),
            (false, None, Some(limit)) => Drain::UntilIdle {
                minimum: DRAIN_DURATION.min(limit),
                limit: Some(limit),
            },
            (false, None, None) => Drain::Fixed(DRAIN_DURATION),
        }
    }

    fn grace_period(&mut self, args: &'a PodArgs) -> Option<Duration> {
        let given = self.given(Setting::new(
            "termination-grace-period",
            env::TERMINATION_GRACE_PERIOD,
            args.termination_grace_period.as_ref(),
        ));
        self.parse(given, "a number of seconds", |text| {
            let seconds: u32 = text.parse().ok()?;
            Some(Duration::from_secs(seconds.into()))
        })
    }

    pub(super) fn application(&mut self, args: &'a PodArgs) -> IpAddr {
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

    pub(super) fn local_mesh(&mut self, args: &'a MeshArgs) -> Option<PathBuf> {
        let setting = Setting::new("local-mesh", "AGENT_LOCAL_MESH", args.local_mesh.as_ref());
        self.given(setting).map(|(_, path)| PathBuf::from(path))
    }

    pub(super) fn own(&mut self, args: &'a ProxyArgs, workload: &Workload) -> Own {
        let domain = Setting::new("domain", "AGENT_DOMAIN", args.mesh.domain.as_ref());
        let domain = self.given(domain);
        let expected = "a DNS domain such as shop.svc.cluster.local";
        let cluster_domain = self.parse(domain, expected, |text| {
            // What comes after the namespace; a domain without one is the cluster's own.
            let cluster = text.split_once(".svc.").map_or(text, |(_, rest)| rest);
            let cluster = cluster.trim_end_matches('.').to_ascii_lowercase();
            let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            (!cluster.is_empty() && cluster.bytes().all(is_byte)).then_some(cluster)
        });
        let mut own = Own::new(&workload.namespace, &workload.name);
        if let Some(cluster_domain) = cluster_domain {
            own.cluster_domain = cluster_domain;
        }
        let address = self.given(Setting::new(
            "instance-ip",
            env::INSTANCE_IP,
            args.pod.instance_ip.as_ref(),
        ));
        // What is wrong with it has been told where the application is looked for.
        let address = address.and_then(|(_, text)| text.parse::<IpAddr>().ok());
        own.addresses.extend(address);
        own.service_account.clone_from(&workload.service_account);
        own.cluster.clone_from(&workload.cluster);
        own.trust_domain.clone_from(&workload.trust_domain);
        own
    }

    pub(super) fn probes(&mut self, args: &PodArgs) -> Probes {
        let text = args.app_probers.as_deref().unwrap_or_default();
        Probes::parse(text).unwrap_or_else(|errors| {
            let setting = Setting::new("app-probers", env::KUBE_APP_PROBERS, None);
            for error in &errors {
                self.not_json(setting, error);
            }
            Probes::default()
        })
    }

    pub(super) fn keeps_probes(&mut self, args: &'a StatusArgs) -> bool {
        let given = self.given(Setting::new(
            "probe-keepalive",
            env::PROBE_KEEPALIVE,
            args.probe_keepalive.as_ref(),
        ));
        self.bool(given)
    }

    pub(super) fn hides_metrics(&mut self, args: &'a StatusArgs) -> bool {
        let given = self.given(Setting::new(
            "metrics-localhost",
            env::METRICS_LOCALHOST,
            args.metrics_localhost.as_ref(),
        ));
        self.bool(given)
    }

    pub(super) fn application_metrics(&mut self, args: &PodArgs) -> Targets {
        let text = args.app_metrics.as_deref().unwrap_or_default();
        Targets::parse(text).unwrap_or_else(|error| {
            let setting = Setting::new("app-metrics", env::PROMETHEUS_ANNOTATIONS, None);
            self.not_json(setting, &error);
            Targets::default()
        })
    }

    pub(super) fn not_json(
        &mut self,
        setting: Setting<'_>,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.problems.push(Problem::Json {
            origin: setting.origin(),
            reason: chain(error).to_string(),
        });
    }
}

/// How long draining may take in a pod of this grace period; half of it where it is short.
fn drain_limit(grace: Duration) -> Duration {
    grace.saturating_sub(LAST_SECONDS).max(grace / 2)
}

pub(super) fn told(args: &PodArgs) -> Told {
    Told {
        pod_name: args.pod_name.clone(),
        address: args.instance_ip.clone(),
        workload_name: args.workload_name.clone(),
        namespace: args.pod_namespace.clone(),
        service_account: args.service_account.clone(),
        cluster: args.cluster_id.clone(),
        trust_domain: args.trust_domain.clone(),
    }
}
