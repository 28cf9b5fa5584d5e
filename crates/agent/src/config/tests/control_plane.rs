//! Where the control plane is, and what certificates are asked for.

use std::{path::Path, time::Duration};

use super::{resolve, resolve_with};
use crate::ca::{KeyKind, Ratio, Renewal};

const POD: [&str; 4] = ["--pod-namespace", "shop", "--service-account", "web"];

fn with_pod<'a>(args: &[&'a str]) -> Vec<&'a str> {
    POD.iter().chain(args).copied().collect()
}

#[test]
fn the_control_plane_is_where_somebody_says_that_it_is() {
    let default = Some("istiod.istio-system.svc:15012");
    let canary = r#"{"discoveryAddress": "istiod-canary.istio-system.svc:15012"}"#;
    let canary_address = Some("istiod-canary.istio-system.svc:15012");
    let ca = ["--ca-address", "ca.example.org:443"];
    let table: [(&[&str], Option<&str>, Option<&str>); 6] = [
        (&[], None, None),
        (&["--proxy-config", "{}"], None, None),
        (&ca, default, Some("ca.example.org:443")),
        (&["--proxy-config", canary], canary_address, canary_address),
        (
            &["--proxy-config", canary, "--ca-address", "istiod:15010"],
            canary_address,
            Some("istiod:15010"),
        ),
        (
            &["--proxy-config", canary, "--local-mesh", "/mesh.yaml"],
            None,
            canary_address,
        ),
    ];
    for (args, discovery, authority) in table {
        let found = resolve(&with_pod(args)).control_plane;
        let text = |endpoint: Option<crate::control_plane::Endpoint>| {
            endpoint.map(|endpoint| endpoint.to_string())
        };
        assert_eq!(text(found.discovery).as_deref(), discovery, "{args:?}");
        assert_eq!(text(found.authority).as_deref(), authority, "{args:?}");
    }
}

#[test]
fn each_server_may_have_roots_of_its_own() {
    let args = with_pod(&[
        "--ca-address",
        "istiod:15012",
        "--root-cert-file",
        "/mesh.pem",
        "--ca-root-file",
        "/ca.pem",
    ]);
    let found = resolve(&args).control_plane;
    assert_eq!(found.roots, Path::new("/mesh.pem"));
    assert_eq!(found.authority.unwrap().roots(), Path::new("/ca.pem"));
    assert_eq!(found.discovery.unwrap().roots(), Path::new("/mesh.pem"));
}

#[test]
fn an_authority_needs_somebody_to_certify() {
    let problems = resolve_with(&["--ca-address", "istiod:15012"], "").unwrap_err();
    assert!(
        problems[0].contains("POD_NAMESPACE") && problems[0].contains("SERVICE_ACCOUNT"),
        "{problems:?}"
    );
    let id = resolve(&with_pod(&["--ca-address", "istiod:15012"])).certificates;
    assert_eq!(
        id.id.unwrap().as_str(),
        "spiffe://cluster.local/ns/shop/sa/web"
    );
    resolve(&["--ca-address", "istiod:15012", "--file-mounted-certs"]);
}

#[test]
fn keys_are_ecdsa_unless_rsa_is_asked_for_alone() {
    let table: [(&[&str], KeyKind); 5] = [
        (&[], KeyKind::P256),
        (&["--ecc-curve", "P384"], KeyKind::P384),
        (&["--workload-rsa-key-size", "2048"], KeyKind::Rsa2048),
        (
            &[
                "--workload-rsa-key-size",
                "4096",
                "--ecc-signature-algorithm",
                "ECDSA",
            ],
            KeyKind::P256,
        ),
        (
            &["--workload-rsa-key-size", "2048", "--ecc-curve", "P384"],
            KeyKind::P384,
        ),
    ];
    for (args, expected) in table {
        assert_eq!(resolve(args).certificates.key, expected, "{args:?}");
    }
}

#[test]
fn lifetime_and_renewal_are_istios_unless_given() {
    let certificates = resolve(&[]).certificates;
    assert_eq!(certificates.lifetime, Duration::from_secs(86_400));
    assert_eq!(certificates.renewal, Renewal::default());
    let certificates = resolve(&[
        "--secret-ttl",
        "1h",
        "--secret-grace-period-ratio",
        "0.25",
        "--secret-grace-period-ratio-jitter",
        "0",
    ])
    .certificates;
    assert_eq!(certificates.lifetime, Duration::from_secs(3600));
    let ratio = |text| Ratio::parse(text).unwrap();
    assert_eq!(certificates.renewal.grace, ratio("0.25"));
    assert_eq!(certificates.renewal.jitter, ratio("0"));
}

#[test]
fn a_socket_that_is_named_has_to_be_there() {
    let table = [
        ("", "/var/run/secrets/workload-spiffe-uds/socket", false),
        (
            "socket",
            "/var/run/secrets/workload-spiffe-uds/socket",
            false,
        ),
        (
            "spire.sock",
            "/var/run/secrets/workload-spiffe-uds/spire.sock",
            true,
        ),
        ("/run/spire/api.sock", "/run/spire/api.sock", true),
    ];
    for (name, path, is_required) in table {
        let certificates = resolve(&["--workload-identity-socket", name]).certificates;
        assert_eq!(certificates.socket, Path::new(path), "{name}");
        assert_eq!(certificates.socket_is_required, is_required, "{name}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_flag() {
    let table: [(&[&str], &str); 8] = [
        (&["--ca-address", "istiod"], "--ca-address (env CA_ADDR)"),
        (
            &["--proxy-config", r#"{"discoveryAddress": "x:y"}"#],
            "PROXY_CONFIG, field discoveryAddress",
        ),
        (
            &["--control-plane-name", "not a name"],
            "--control-plane-name (env ISTIOD_SAN)",
        ),
        (
            &["--ca-root-file", "SYSTEM"],
            "--ca-root-file (env CA_ROOT_CA)",
        ),
        (
            &["--secret-grace-period-ratio", "50%"],
            "--secret-grace-period-ratio",
        ),
        (
            &["--workload-rsa-key-size", "1024"],
            "WORKLOAD_RSA_KEY_SIZE",
        ),
        (&["--ecc-curve", "P521"], "ECC_CURVE"),
        (&["--secret-ttl", "24"], "SECRET_TTL"),
    ];
    for (args, expected) in table {
        let problems = resolve_with(&with_pod(args), "").unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expected), "{problems:?}");
    }
}
