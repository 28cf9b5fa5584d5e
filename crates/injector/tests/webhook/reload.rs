//! Files that change while the injector runs.

use std::fs;

use injector::{
    app::{App, AppError},
    config::Mode,
};
use runtime::task::Group;
use tokio::{net::TcpListener, time};

use crate::{
    client::{Client, HTTP_1},
    fixture::{Files, Fixture, LIMIT, patched, pod, review_of, shipped},
};

async fn injected(fixture: &Fixture) -> String {
    let mut client = fixture.client(HTTP_1).await;
    let (_, answer) = client.review("/inject", &review_of(&pod())).await;
    patched(&pod(), &answer).to_string()
}

/// The shipped values with another registry.
fn values(hub: &str) -> String {
    shipped("values").replace("minimesh", hub)
}

#[tokio::test]
async fn a_new_configuration_is_used_and_a_broken_one_is_not() {
    let mut fixture = Fixture::start().await;
    assert!(!injected(&fixture).await.contains("first.example"));

    fixture
        .files
        .swap(&shipped("config"), &values("first.example"));
    time::timeout(LIMIT, async {
        while !injected(&fixture).await.contains("first.example") {
            time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the new values are used");

    let broken = shipped("config").replace("{{- $native", "{{- $nati ve");
    fixture.files.swap(&broken, &values("second.example"));
    let report = fixture.until_ready_says("configuration: refused").await;
    assert!(report.starts_with("ready\n"), "{report}");
    assert!(
        report.contains("config") && report.contains("last good"),
        "{report}"
    );
    assert!(injected(&fixture).await.contains("first.example"));
    let refused = "minimesh_injector_files_refused{files=\"configuration\"}";
    assert_eq!(fixture.metric(refused).await, Some(1.0));

    fs::remove_file(fixture.files.path("mesh")).unwrap();
    fixture
        .files
        .swap(&shipped("config"), &values("third.example"));
    let report = fixture.until_ready_says("mesh").await;
    assert!(report.contains("cannot read"), "{report}");
    assert!(injected(&fixture).await.contains("first.example"));

    fixture.files.write("mesh", &shipped("mesh"));
    time::timeout(LIMIT, async {
        while !injected(&fixture).await.contains("third.example") {
            time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the mended configuration is used");
    assert_eq!(fixture.metric(refused).await, Some(0.0));
    fixture.until_ready_says("ready\n").await;
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_mismatch_is_not() {
    let fixture = Fixture::start().await;
    let mut kept = fixture.client(HTTP_1).await;

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fixture.files.write("tls.crt", &other.cert.pem());
    let report = fixture.until_ready_says("certificate: refused").await;
    assert!(report.contains("--tls-cert-file"), "{report}");

    let renewed = fixture.files.renew_certificate();
    time::timeout(LIMIT, async {
        while Client::connect(fixture.address, &renewed, HTTP_1)
            .await
            .is_err()
        {
            time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the renewed certificate is served");
    // Connections outlive the certificate they began with.
    assert_eq!(kept.get("/ready").await.text(), "ready\n");
}

#[tokio::test]
async fn a_secret_that_the_kubelet_swaps_is_shown_again_and_again() {
    let mut files = Files::new();
    let mut certificate = files.swap_certificate();
    let mut config = files.config(&[]);
    let Mode::Files(pair) = &mut config.mode else {
        panic!("no cluster was asked for");
    };
    pair.certificate.path = files.path("tls/tls.crt");
    pair.key.path = files.path("tls/tls.key");
    let app = App::build(config).await.expect("it starts");
    let (address, life) = (app.https_address(), app.life());
    let group = Group::new();
    group.spawn_essential("injector", app.run());
    for _ in 0..3 {
        time::timeout(LIMIT, async {
            while Client::connect(address, &certificate, HTTP_1)
                .await
                .is_err()
            {
                time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("the certificate of the swapped Secret is served");
        certificate = files.swap_certificate();
    }
    life.stop("the test is over");
    let _ = group.join(LIMIT).await;
}

#[tokio::test]
async fn what_is_wrong_at_the_start_is_named() {
    let files = Files::new();
    files.renew_certificate();
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("--https-addr={}", busy.local_addr().unwrap());
    let monitoring = format!("--monitoring-addr={}", busy.local_addr().unwrap());
    let missing = "--tls-cert-file=/nowhere/tls.crt";
    let key_as_certificate = format!("--tls-cert-file={}", files.path("tls.key").display());
    let table = [
        (
            address.as_str(),
            vec![
                address.trim_start_matches("--https-addr="),
                "(--https-addr)",
            ],
        ),
        (&monitoring, vec!["monitoring", "(--monitoring-addr)"]),
        (
            missing,
            vec!["/nowhere/tls.crt (--tls-cert-file)", "No such file"],
        ),
        (
            &key_as_certificate,
            vec!["--tls-cert-file", "holds no certificate"],
        ),
        (
            "--inject-dir=/nowhere",
            vec!["/nowhere/config (--inject-dir)"],
        ),
        (
            "--mesh-config=/",
            vec!["/ (--mesh-config)", "is not a file"],
        ),
    ];
    for (flag, expected) in table {
        let name = flag.split('=').next().unwrap();
        let error = start_error(&files, name, flag).await;
        for text in expected {
            assert!(error.contains(text), "{flag}: {error}");
        }
    }
    files.write("mesh", "a: [");
    let error = start_error(&files, "--log_as_json", "--log_as_json").await;
    assert!(error.contains("mesh") && error.contains('1'), "{error}");
}

async fn start_error(files: &Files, replaced: &str, flag: &str) -> String {
    let error: AppError = match App::build(files.config_with(replaced, flag)).await {
        Ok(_) => panic!("{flag}: it must not start"),
        Err(error) => error,
    };
    runtime::error::chain(&error).to_string()
}
