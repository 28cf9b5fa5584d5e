use prometheus_client::{encoding::text, registry::Registry};

use super::*;
use crate::data_plane::{
    error::Flag,
    telemetry::{Code, Reporter, Service, Telemetry},
};

fn key(code: Code) -> Key {
    Key {
        reporter: Reporter::Source,
        service: Service::Passthrough,
        code,
        flag: Flag::None,
    }
}

fn page(workers: &[Arc<Shared>]) -> String {
    let mut registry = Registry::default();
    let workload = Arc::new(Workload::default());
    registry.register_collector(Box::new(Collector::new(workload, workers.into())));
    let mut page = String::new();
    text::encode(&mut page, &registry).unwrap();
    page
}

#[test]
fn the_workers_are_added_up() {
    let workers = [Arc::new(Shared::default()), Arc::new(Shared::default())];
    for worker in &workers {
        let telemetry = Telemetry::new(Arc::clone(worker));
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
    Telemetry::new(Arc::clone(&shared))
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

#[test]
fn an_upstream_cannot_make_series_without_end() {
    let shared = Arc::new(Shared::default());
    let telemetry = Telemetry::new(Arc::clone(&shared));
    for code in 100..1000 {
        telemetry.http(key(Code::Http(code)), |series| series.request(1, 0, 0));
    }
    let page = page(&[shared]);
    let n_series = page
        .lines()
        .filter(|line| line.starts_with("istio_requests_total{"))
        .count();
    assert_eq!(n_series, 513);
    assert!(page.contains("response_code=\"overflow\""));
}
