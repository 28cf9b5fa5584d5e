//! The whole program, told of the mesh by a control plane that the test plays.

use std::fs;

use testkit::{http::get, process::eventually};
use tokio::task::spawn_blocking;

use crate::{
    harness::{Plane, settings, web},
    start::{Agent, LIMIT},
};
use agent::discovery::client::Kind;

/// Starts the program in a folder of the plane's, beside whatever the test does.
fn start(plane: &Plane) -> impl Future<Output = Agent> + use<> {
    let address = plane.address();
    let path = |name| plane.file(name).display().to_string();
    let args = [
        format!("--discovery-address={address}"),
        "--control-plane-name=istiod.istio-system.svc".to_owned(),
        format!("--root-cert-file={}", path("root-cert.pem")),
        format!("--token-file={}", path("istio-token")),
        format!("--state-dir={}", path("")),
        format!("--certs-dir={}", path("certs")),
        "--file-mounted-certs".to_owned(),
        "--instance-ip=10.0.0.1".to_owned(),
        "--pod-namespace=shop".to_owned(),
        "--service-account=client".to_owned(),
    ];
    plane.write_certificates("certs");
    async move {
        let started = spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            Agent::start(&args)
        });
        started.await.unwrap()
    }
}

#[tokio::test]
async fn the_program_is_ready_by_its_control_plane_and_later_by_its_cache() {
    let mut plane = Plane::start().await;
    let (first, stream) = tokio::join!(start(&plane), async {
        let mut stream = plane.stream().await;
        stream.begin().await;
        stream.send(Kind::Address, &[web()], &[]).await;
        stream
    });
    let cache = plane.file("discovery-cache");
    let looking = spawn_blocking(move || {
        let dump = get(first.admin, "/config_dump?resource=discovery", LIMIT).unwrap();
        assert!(
            dump.body.contains("\"identifier\": \"minimesh test\""),
            "{}",
            dump.body
        );
        assert!(dump.body.contains("\"/10.0.0.1\""), "{}", dump.body);
        let page = get(first.prometheus, "/metrics", LIMIT).unwrap().body;
        assert!(
            page.contains("minimesh_agent_discovery_connected 1"),
            "{page}"
        );
        let is_written = || fs::read(&cache).is_ok_and(|bytes| !bytes.is_empty());
        assert!(eventually(LIMIT, is_written));
    });
    looking.await.unwrap();
    drop(stream);
    plane.stop().await;
    let second = start(&plane).await;
    let ready = spawn_blocking(move || get(second.status, "/healthz/ready", LIMIT).unwrap());
    let ready = ready.await.unwrap();
    assert_eq!(ready.status, 200);
    assert!(
        ready.body.contains("what the cache of 20"),
        "{}",
        ready.body
    );
}

#[tokio::test]
async fn the_access_log_follows_the_settings_of_the_mesh() {
    let mut plane = Plane::start().await;
    let (agent, mut stream) = tokio::join!(start(&plane), async {
        let mut stream = plane.stream().await;
        stream.begin().await;
        stream
    });
    let logged = settings("2", |settings| {
        settings.access_log_file = Some("/dev/stdout".to_owned());
    });
    stream.send(Kind::Settings, &[logged], &[]).await;
    let looking = spawn_blocking(move || {
        let is_on = || {
            let page = get(agent.admin, "/logging", LIMIT).unwrap().body;
            page.contains("access_log: text")
        };
        assert!(eventually(LIMIT, is_on));
    });
    looking.await.unwrap();
}
