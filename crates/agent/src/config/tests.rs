//! Which setting wins, and what is said of wrong ones.

mod control_plane;

use std::{ffi::OsString, net::IpAddr};

use super::*;
use crate::args::{Cli, Command};

const N_CORES: NonZeroUsize = NonZeroUsize::new(4).unwrap();

fn resolve_with(args: &[&str], annotations: &str) -> Result<Config, Vec<String>> {
    let args = ["agent", "proxy"]
        .iter()
        .chain(args)
        .map(OsString::from)
        .collect();
    let (cli, unknown) = Cli::read(args).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let Command::Proxy(args) = cli.command else {
        panic!("not proxy");
    };
    Config::resolve(
        &args,
        &Pairs::new(),
        &crate::pod_info::parse(annotations),
        N_CORES,
    )
    .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

fn resolve(args: &[&str]) -> Config {
    resolve_with(args, "").unwrap()
}

#[test]
fn nothing_given_means_istios_defaults() {
    let config = resolve(&[]);
    assert_eq!(
        config.ports,
        Ports {
            outbound: 15001,
            inbound: 15006,
            readiness: 15021,
            prometheus: 15090,
            status: 15020,
            admin: 15000,
        }
    );
    assert_eq!(config.workers.get(), 1);
    assert_eq!(config.access_log, None);
    assert_eq!(config.drain, Drain::Fixed(Duration::from_secs(5)));
    assert_eq!(config.application, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(config.probes.n_probes(), 0);
}

#[test]
fn a_transparent_socket_is_for_tproxy_and_a_mode_that_is_none_is_named() {
    for (mode, interception) in [
        ("REDIRECT", Interception::Redirect),
        ("NONE", Interception::Redirect),
        ("TPROXY", Interception::Tproxy),
    ] {
        let config = resolve(&["--interception-mode", mode]);
        assert_eq!(config.interception, interception, "{mode}");
    }
    let problems = resolve_with(&["--interception-mode", "tproxy"], "").unwrap_err();
    assert!(
        problems[0].contains("--interception-mode") && problems[0].contains("TPROXY or NONE"),
        "{problems:?}"
    );
}

#[test]
fn a_flag_wins_over_the_annotation_over_proxy_config() {
    let annotation = "status.sidecar.istio.io/port=\"15777\"\n";
    let field = ["--proxy-config", r#"{"statusPort": 15666}"#];
    assert_eq!(resolve(&field).ports.status, 15666);
    assert_eq!(
        resolve_with(&field, annotation).unwrap().ports.status,
        15777
    );
    let all = [field[0], field[1], "--status-port", "15888"];
    assert_eq!(resolve_with(&all, annotation).unwrap().ports.status, 15888);
}

#[test]
fn the_admin_port_may_be_moved_by_proxy_config() {
    let field = ["--proxy-config", r#"{"proxyAdminPort": 15666}"#];
    assert_eq!(resolve(&field).ports.admin, 15666);
    let all = [field[0], field[1], "--admin-port", "15888"];
    assert_eq!(resolve(&all).ports.admin, 15888);
}

#[test]
fn workers_follow_the_explicit_number_then_the_cpu_limit() {
    let table: [(&[&str], usize); 9] = [
        (&["--concurrency", "2", "--cpu-limit", "3"], 2),
        (&["--concurrency", "8"], 8),
        (&["--concurrency", "0"], 4),
        (
            &[
                "--proxy-config",
                r#"{"concurrency": 2}"#,
                "--cpu-limit",
                "3",
            ],
            2,
        ),
        (&["--proxy-config", r#"{"concurrency": 0}"#], 4),
        (&["--cpu-limit", "3"], 3),
        (&["--cpu-limit", "1.2"], 2),
        (&["--cpu-limit", "64"], 4),
        (&["--cpu-limit", "0"], 1),
    ];
    for (args, n_workers) in table {
        assert_eq!(resolve(args).workers.get(), n_workers, "{args:?}");
    }
}

#[test]
fn draining_is_for_a_time_or_until_idle() {
    let minimum = |seconds| Drain::UntilIdle {
        minimum: Duration::from_secs(seconds),
        limit: None,
    };
    let fixed = |seconds| Drain::Fixed(Duration::from_secs(seconds));
    let table: [(&[&str], Drain); 6] = [
        (&["--drain-duration", "7s"], fixed(7)),
        (
            &["--proxy-config", r#"{"terminationDrainDuration": "9s"}"#],
            fixed(9),
        ),
        (&["--exit-on-zero-active-connections=false"], fixed(5)),
        (&["--exit-on-zero-active-connections"], minimum(5)),
        (
            &[
                "--exit-on-zero-active-connections=1",
                "--minimum-drain-duration=3s",
            ],
            minimum(3),
        ),
        (
            &[
                "--proxy-config",
                r#"{"proxyMetadata": {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true", "MINIMUM_DRAIN_DURATION": "2s"}}"#,
            ],
            minimum(2),
        ),
    ];
    for (args, drain) in table {
        assert_eq!(resolve(args).drain, drain, "{args:?}");
    }
}

#[test]
fn the_pods_grace_period_is_the_limit_where_no_time_was_given() {
    let until_idle = |minimum, limit| Drain::UntilIdle {
        minimum: Duration::from_secs(minimum),
        limit: Some(Duration::from_secs(limit)),
    };
    let grace = |seconds: i32| format!("--termination-grace-period={seconds}");
    for (seconds, expected) in [
        (30, until_idle(5, 25)),
        (3600, until_idle(5, 3595)),
        (8, until_idle(4, 4)),
        (0, until_idle(0, 0)),
    ] {
        assert_eq!(resolve(&[&grace(seconds)]).drain, expected, "{seconds}");
    }
    let fixed = resolve(&[&grace(30), "--drain-duration=7s"]).drain;
    assert_eq!(fixed, Drain::Fixed(Duration::from_secs(7)));
    let asked = [
        "--exit-on-zero-active-connections",
        "--minimum-drain-duration=3s",
    ];
    let asked = resolve(&[asked[0], asked[1], &grace(30)]).drain;
    assert_eq!(asked, until_idle(3, 25));
    let problems = resolve_with(&[&grace(-1)], "").unwrap_err();
    assert!(
        problems[0].starts_with(
            "--termination-grace-period (env TERMINATION_GRACE_PERIOD_SECONDS): `-1` is not"
        ),
        "{problems:?}"
    );
}

#[test]
fn the_access_log_needs_a_file() {
    assert_eq!(resolve(&["--access-log-encoding", "JSON"]).access_log, None);
    assert_eq!(resolve(&["--access-log-file", ""]).access_log, None);
    let log = resolve(&[
        "--access-log-file",
        "/dev/stdout",
        "--access-log-encoding",
        "json",
    ])
    .access_log;
    assert_eq!(
        log,
        Some(AccessLog {
            file: PathBuf::from("/dev/stdout"),
            encoding: Encoding::Json,
        })
    );
}

#[test]
fn probes_go_to_the_pod_unless_told_otherwise() {
    let pod = IpAddr::from([10, 0, 0, 7]);
    assert_eq!(resolve(&["--instance-ip", "10.0.0.7"]).application, pod);
    let config = resolve(&["--instance-ip", "10.0.0.7", "--probe-localhost"]);
    assert_eq!(config.application, IpAddr::from([127, 0, 0, 1]));
}

#[test]
fn the_pod_finds_itself_in_the_mesh_by_what_it_was_told() {
    let config = resolve(&[
        "--pod-namespace=shop",
        "--workload-name=web",
        "--instance-ip=10.0.0.7",
        "--service-account=front",
        "--cluster-id=east",
        "--trust-domain=example.org",
        "--domain=shop.svc.Example.internal.",
        "--local-mesh=/mesh.yaml",
    ]);
    assert_eq!(config.local_mesh, Some(PathBuf::from("/mesh.yaml")));
    let own = config.own;
    assert_eq!(own.addresses, [IpAddr::from([10, 0, 0, 7])]);
    let names = [
        &own.namespace,
        &own.workload_name,
        &own.service_account,
        &own.cluster,
        &own.trust_domain,
        &own.cluster_domain,
    ];
    let expected = [
        "shop",
        "web",
        "front",
        "east",
        "example.org",
        "example.internal",
    ];
    assert_eq!(names, expected);
    assert_eq!(resolve(&[]).own.cluster_domain, "cluster.local");
    assert_eq!(
        resolve(&["--domain=cluster.internal"]).own.cluster_domain,
        "cluster.internal"
    );
}

#[test]
fn all_problems_are_told_at_once_with_flag_and_variable() {
    let problems = resolve_with(
        &[
            "router",
            "--outbound-port=70000",
            "--inbound-port=-1",
            "--readiness-port=tcp://10.0.0.1:80",
            "--concurrency=many",
            "--drain-duration=5",
            "--access-log-file=/x",
            "--access-log-encoding=XML",
            "--exit-on-zero-active-connections=maybe",
            "--instance-ip=pod",
            "--cpu-limit=-1",
            "--domain=a b",
            "--proxy-config={\"statusPort\": true}",
            "--app-probers={\"/app-health/web/readyz\": {}}",
        ],
        "status.sidecar.istio.io/port=\"high\"\n",
    )
    .unwrap_err();
    let expected = [
        "`proxy router` is not possible: gateways are not there yet",
        "--proxy-config (env PROXY_CONFIG): ",
        "--concurrency (env AGENT_CONCURRENCY): `many` is not a number of threads",
        "--cpu-limit (env ISTIO_CPU_LIMIT): `-1` is not a number of cores",
        "--outbound-port (env AGENT_PORT_OUTBOUND): `70000` is not a port number",
        "--inbound-port (env AGENT_PORT_INBOUND): `-1` is not a port number",
        "--readiness-port (env ENVOY_STATUS_PORT): `tcp://10.0.0.1:80` is not a port number",
        "annotation status.sidecar.istio.io/port: `high` is not a port number",
        "--access-log-encoding (env ACCESS_LOG_ENCODING): `XML` is not TEXT or JSON",
        "--drain-duration (env TERMINATION_DRAIN_DURATION): `5` is not a duration with a unit",
        "--exit-on-zero-active-connections (env EXIT_ON_ZERO_ACTIVE_CONNECTIONS): `maybe` is not true or false",
        "--instance-ip (env INSTANCE_IP): `pod` is not an IP address",
        "--app-probers (env ISTIO_KUBE_APP_PROBERS): probe /app-health/web/readyz: give exactly one of",
        "--domain (env AGENT_DOMAIN): `a b` is not a DNS domain",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(
            problem.starts_with(expected),
            "{problem}\ninstead of\n{expected}"
        );
    }
}

#[test]
fn two_listeners_cannot_share_a_port() {
    let problems = resolve_with(
        &[
            "--outbound-port=15006",
            "--status-port=0",
            "--prometheus-port=0",
        ],
        "",
    )
    .unwrap_err();
    assert_eq!(
        problems,
        ["the outbound port and the inbound port are both 15006, give one of them another number"]
    );
}
