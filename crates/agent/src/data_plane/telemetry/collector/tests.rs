use std::time::Duration;

use prometheus_client::{encoding::text, registry::Registry};

use super::*;
use crate::data_plane::{
    error::Flag,
    telemetry::{Code, Key, Limits, Reporter, Security, Service, Telemetry},
};
use crate::peer::{Names, Party};

const LIMITS: Limits = Limits {
    http: 512,
    tcp: 100,
    age: Duration::from_secs(3600),
};

fn key(code: Code) -> Key<'static> {
    Key {
        reporter: Reporter::Source,
        peer: Party::unknown(),
        service: &Service::Passthrough,
        code,
        flag: Flag::None,
        security: Security::Plaintext,
    }
}

fn page(workers: &[Arc<Shared>]) -> String {
    let mut registry = Registry::default();
    let workload = PartyNames::default();
    registry.register_collector(Box::new(Collector::new(workload, workers.into())));
    let mut page = String::new();
    text::encode(&mut page, &registry).unwrap();
    page
}

#[test]
fn the_workers_are_added_up() {
    let workers = [Arc::new(Shared::default()), Arc::new(Shared::default())];
    for worker in &workers {
        let telemetry = Telemetry::new(Arc::clone(worker), LIMITS);
        telemetry.http(key(Code::Http(200)), |series| series.request(700, 3, 10));
        telemetry.tcp(key(Code::Tcp)).opened();
        telemetry.count_loop();
    }
    let page = page(&workers);
    let line = |start: &str| {
        let line = page.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.rsplit(' ').next())
            .map(str::to_owned)
    };
    assert_eq!(
        line("istio_requests_total{").as_deref(),
        Some("2"),
        "{page}"
    );
    assert_eq!(
        line("istio_request_duration_milliseconds_sum{").as_deref(),
        Some("1.4")
    );
    assert_eq!(line("istio_response_bytes_count{").as_deref(), Some("2"));
    assert_eq!(
        line("istio_tcp_connections_opened_total{").as_deref(),
        Some("2")
    );
    assert_eq!(line("minimesh_loops_prevented_total").as_deref(), Some("2"));
    let last_bucket = line("istio_response_bytes_bucket{le=\"+Inf\",");
    assert_eq!(last_bucket.as_deref(), Some("2"));
}

#[test]
fn labels_come_in_istios_order() {
    let shared = Arc::new(Shared::default());
    Telemetry::new(Arc::clone(&shared), LIMITS)
        .http(key(Code::Http(503)), |series| series.request(1, 0, 0));
    let page = page(&[shared]);
    let line = page
        .lines()
        .find(|line| line.starts_with("istio_requests_total{"))
        .unwrap();
    let names: Vec<_> = line
        .split(['{', ',', '}'])
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "reporter",
            "source_workload",
            "source_canonical_service",
            "source_canonical_revision",
            "source_workload_namespace",
            "source_principal",
            "source_app",
            "source_version",
            "source_cluster",
            "destination_workload",
            "destination_workload_namespace",
            "destination_principal",
            "destination_app",
            "destination_version",
            "destination_service",
            "destination_canonical_service",
            "destination_canonical_revision",
            "destination_service_name",
            "destination_service_namespace",
            "destination_cluster",
            "request_protocol",
            "response_code",
            "grpc_response_status",
            "response_flags",
            "connection_security_policy",
        ]
    );
}

/// The lines of `name`, without it.
fn samples<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    page.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with('{'))
        .collect()
}

fn web() -> PartyNames {
    PartyNames {
        workload: "web-v1".to_owned(),
        namespace: "shop".to_owned(),
        principal: "spiffe://cluster.local/ns/shop/sa/web".to_owned(),
        app: "web".to_owned(),
        version: "v1".to_owned(),
        cluster: "c1".to_owned(),
        canonical_service: "web".to_owned(),
        canonical_revision: "v1".to_owned(),
    }
}

#[test]
fn the_peer_and_the_service_are_named() {
    let names = Names::default();
    let peer = names.party(web());
    let service = Service::Known(names.service("web.shop.svc", "web", "shop"));
    let shared = Arc::new(Shared::default());
    let telemetry = Telemetry::new(Arc::clone(&shared), LIMITS);
    let key = Key {
        peer: &peer,
        service: &service,
        security: Security::MutualTls,
        ..key(Code::Http(200))
    };
    telemetry.http(key, |series| series.request(1, 0, 0));
    let inbound = Key {
        reporter: Reporter::Destination,
        service: &Service::InboundPassthrough,
        ..key
    };
    telemetry.http(inbound, |series| series.request(1, 0, 0));
    let page = page(&[shared]);
    let samples = samples(&page, "istio_requests_total");
    let expect = [
        "reporter=\"destination\",source_workload=\"web-v1\",source_canonical_service=\"web\",source_canonical_revision=\"v1\",\
         source_workload_namespace=\"shop\",source_principal=\"spiffe://cluster.local/ns/shop/sa/web\",source_app=\"web\",\
         source_version=\"v1\",source_cluster=\"c1\",destination_workload=\"unknown\",destination_workload_namespace=\"unknown\",\
         destination_principal=\"unknown\",destination_app=\"unknown\",destination_version=\"unknown\",destination_service=\"unknown\",\
         destination_canonical_service=\"unknown\",destination_canonical_revision=\"latest\",\
         destination_service_name=\"InboundPassthroughCluster\",destination_service_namespace=\"unknown\",\
         destination_cluster=\"unknown\",request_protocol=\"http\",response_code=\"200\",grpc_response_status=\"\",\
         response_flags=\"-\",connection_security_policy=\"mutual_tls\"",
        "reporter=\"source\",source_workload=\"unknown\",source_canonical_service=\"unknown\",source_canonical_revision=\"latest\",\
         source_workload_namespace=\"unknown\",source_principal=\"unknown\",source_app=\"unknown\",source_version=\"unknown\",\
         source_cluster=\"unknown\",destination_workload=\"web-v1\",destination_workload_namespace=\"shop\",\
         destination_principal=\"spiffe://cluster.local/ns/shop/sa/web\",destination_app=\"web\",destination_version=\"v1\",\
         destination_service=\"web.shop.svc\",destination_canonical_service=\"web\",destination_canonical_revision=\"v1\",\
         destination_service_name=\"web\",destination_service_namespace=\"shop\",destination_cluster=\"c1\",\
         request_protocol=\"http\",response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\",\
         connection_security_policy=\"unknown\"",
    ];
    for (sample, expect) in samples.iter().zip(expect) {
        assert_eq!(*sample, format!("{{{expect}}} 1"));
    }
    assert_eq!(samples.len(), 2);
}

/// A page that has the same labels twice is refused by Prometheus.
#[test]
fn what_shows_the_same_labels_is_one_series() {
    // As after a service account was changed: the identity is shown by nobody where it is not proven.
    let names = Names::default();
    let parties = ["old", "new"].map(|principal| {
        names.party(PartyNames {
            principal: principal.to_owned(),
            ..web()
        })
    });
    let shared = Arc::new(Shared::default());
    let telemetry = Telemetry::new(Arc::clone(&shared), LIMITS);
    for peer in &parties {
        for security in [Security::Plaintext, Security::MutualTls] {
            let key = Key {
                peer,
                security,
                ..key(Code::Http(200))
            };
            telemetry.http(key, |series| series.request(1, 0, 0));
        }
    }
    let page = page(&[shared]);
    let mut samples = samples(&page, "istio_requests_total");
    assert_eq!(samples.len(), 3, "{samples:#?}");
    assert_eq!(
        samples.iter().filter(|line| line.ends_with(" 2")).count(),
        1
    );
    samples.dedup_by(|one, other| one.split("} ").next() == other.split("} ").next());
    assert_eq!(samples.len(), 3);
}

#[test]
fn peers_cannot_make_series_without_end() {
    let names = Names::default();
    let shared = Arc::new(Shared::default());
    let telemetry = Telemetry::new(Arc::clone(&shared), LIMITS);
    for n in 0..1000 {
        let peer = names.party(PartyNames {
            workload: n.to_string(),
            ..PartyNames::default()
        });
        let code = if n < 800 { 200 } else { 503 };
        let key = |code| Key {
            peer: &peer,
            ..key(code)
        };
        telemetry.http(key(Code::Http(code)), |series| series.request(1, 0, 0));
        telemetry.tcp(key(Code::Tcp)).opened();
    }
    let page = page(&[shared]);
    assert_eq!(
        samples(&page, "istio_requests_total").len(),
        LIMITS.http + 2
    );
    assert_eq!(
        samples(&page, "istio_tcp_connections_opened_total").len(),
        LIMITS.tcp + 1
    );
    let of = |code: &str| {
        samples(&page, "istio_requests_total")
            .into_iter()
            .find(|line| line.contains("destination_workload=\"overflow\"") && line.contains(code))
            .and_then(|line| line.rsplit(' ').next())
    };
    // Nothing is lost, and how many failed is still told.
    assert_eq!(of("response_code=\"200\""), Some("288"));
    assert_eq!(of("response_code=\"503\""), Some("200"));
    assert!(
        page.contains("minimesh_metrics_overflow_total 1388\n"),
        "{page}"
    );
}

#[test]
fn an_upstream_cannot_make_series_without_end() {
    let shared = Arc::new(Shared::default());
    let telemetry = Telemetry::new(Arc::clone(&shared), LIMITS);
    for code in 100..1000 {
        telemetry.http(key(Code::Http(code)), |series| series.request(1, 0, 0));
    }
    let page = page(&[shared]);
    let n_series = samples(&page, "istio_requests_total").len();
    assert!(n_series < LIMITS.http + 200, "{n_series} series");
    assert!(page.contains("response_code=\"overflow\""));
}

#[test]
fn every_metric_and_label_is_documented() {
    const PAGE: &str = include_str!("../../../../../../docs/reference/metrics.md");
    let shared = Arc::new(Shared::default());
    let telemetry = Telemetry::new(Arc::clone(&shared), LIMITS);
    telemetry.http(key(Code::Http(200)), |series| series.request(1, 0, 0));
    let page = page(&[shared]);
    let mut n_metrics = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = if kind == "counter" {
            format!("{name}_total")
        } else {
            name.to_owned()
        };
        assert!(PAGE.contains(&format!("| `{name}` | {kind} |")), "{name}");
        n_metrics += 1;
    }
    assert!(n_metrics > 15);
    let sample = samples(&page, "istio_requests_total")[0];
    for label in sample
        .split(['{', ','])
        .filter_map(|pair| Some(pair.split_once('=')?.0))
    {
        assert!(PAGE.contains(&format!("`{label}`")), "{label}");
    }
    for outcome in Outcome::ALL {
        let row = format!("| `{}` |", outcome.as_str());
        assert!(PAGE.contains(&row), "{row}");
    }
}
