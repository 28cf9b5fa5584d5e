//! What a certificate costs: the injector with an API server that lives in the bench, and sidecars that ask over gRPC and TLS.
//!
//! Run by `cargo xtask bench ca`. CPU time is that of the injector's own threads of gRPC as the kernel counts it, handshakes and reviews
//! included where sidecars are new; the sidecars run in the same process on another thread and do not count.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "../tests/cluster/api.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod api;
#[path = "../tests/cluster/fixture.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod fixture;
#[path = "../tests/cluster/grpc.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod grpc;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use runtime::task::Group;
use serde_json::json;
use wire::ca::IstioCertificateRequest;

use api::Api;
use fixture::{Replica, bundle_in, installed};
use grpc::Channel;

/// Certificates of each measurement.
const N_CERTIFICATES: usize = 4000;
/// Connections that they are asked over, each with one call at a time.
const N_CONNECTIONS: usize = 16;
/// Sidecars that start at once.
const N_SIDECARS: usize = 1000;

fn main() {
    let (sender, ready) = std::sync::mpsc::channel();
    let api = installed();
    for number in 0..N_SIDECARS {
        api.know(&token(number), "istio-ca", account(number));
    }
    let cluster = api.clone();
    thread::spawn(move || {
        on_this_thread(async {
            let replica = Replica::start(&cluster).await;
            replica.ready().await;
            let _ = sender.send(replica.grpc[0]);
            std::future::pending::<()>().await;
        });
    });
    let address = ready.recv().expect("the injector starts");
    on_this_thread(async {
        let roots = root(&api).await;
        for (name, csr) in [
            ("P-256", csr(&KeyPair::generate().expect("a key"))),
            ("RSA-2048", csr(&rsa())),
        ] {
            sustained(name, address, &roots, &csr).await;
        }
        storm(address, &roots, &csr(&KeyPair::generate().expect("a key"))).await;
    });
}

fn on_this_thread(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future);
}

async fn root(api: &Api) -> String {
    fixture::until("the root is published", || {
        bundle_in(api, "default").is_some()
    })
    .await;
    bundle_in(api, "default").expect("it was there")
}

fn token(number: usize) -> String {
    format!("sidecar.number.{number}")
}

fn account(number: usize) -> serde_json::Value {
    json!({
        "username": format!("system:serviceaccount:shop:web-{number}"),
        "groups": ["system:serviceaccounts"],
    })
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

fn csr(key: &KeyPair) -> IstioCertificateRequest {
    let request = CertificateParams::default().serialize_request(key);
    IstioCertificateRequest {
        csr: request.expect("a request").pem().expect("PEM"),
        validity_duration: 86_400,
        metadata: None,
    }
}

/// Sidecars that keep asking over connections that are there.
async fn sustained(
    name: &str,
    address: std::net::SocketAddr,
    roots: &str,
    csr: &IstioCertificateRequest,
) {
    let tasks = Group::new();
    let mut channels = Vec::new();
    for _ in 0..N_CONNECTIONS {
        channels.push(Channel::connect(address, roots, &tasks).await);
    }
    let (began, cpu) = (Instant::now(), cpu());
    let asking = channels
        .iter()
        .enumerate()
        .map(|(number, channel)| async move {
            for _ in 0..N_CERTIFICATES / N_CONNECTIONS {
                let answer = channel.certify(Some(&token(number)), csr.clone()).await;
                answer.expect("a certificate");
            }
        });
    join_all(asking).await;
    let (elapsed, cpu) = (began.elapsed(), self::cpu() - cpu);
    let each = cpu / u32::try_from(N_CERTIFICATES).expect("a small number");
    println!(
        "{name}: {N_CERTIFICATES} certificates, {:.0} a second here, {:.0} µs of CPU each, {:.0} a second and core",
        N_CERTIFICATES as f64 / elapsed.as_secs_f64(),
        each.as_secs_f64() * 1e6,
        1.0 / each.as_secs_f64(),
    );
}

/// Sidecars that start at the same moment: a connection, a token that nobody has seen, a certificate.
async fn storm(address: std::net::SocketAddr, roots: &str, csr: &IstioCertificateRequest) {
    // What was reviewed before is forgotten.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let tasks = Group::new();
    let (began, cpu) = (Instant::now(), cpu());
    let starting = (0..N_SIDECARS).map(|number| {
        let tasks = &tasks;
        async move {
            let channel = Channel::connect(address, roots, tasks).await;
            let answer = channel.certify(Some(&token(number)), csr.clone()).await;
            answer.map(|_| began.elapsed())
        }
    });
    let answers = join_all(starting).await;
    let mut times = answers.iter().flatten().copied().collect::<Vec<_>>();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map(Duration::as_millis);
    println!(
        "{N_SIDECARS} sidecars at once: {} without a certificate, p50 {} ms, p99 {} ms, {:.0} ms of CPU",
        N_SIDECARS - times.len(),
        at(50).unwrap_or_default(),
        at(99).unwrap_or_default(),
        (self::cpu() - cpu).as_secs_f64() * 1e3,
    );
}

/// CPU time so far of the threads whose name begins with `grpc`.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let first = text.split(' ').next()?.parse::<u64>().ok()?;
        name.starts_with("grpc").then_some(first)
    });
    Duration::from_nanos(nanoseconds.sum())
}
