//! Peers whose certificates were called back.

use std::{sync::Mutex, time::SystemTime};

use agent::{
    files::{Metrics, Voice},
    tls::{
        Offer, TlsError,
        credentials::Settings,
        reload::{Change, Reloader},
        revoked::{Revoked, RevokedFile},
    },
};
use prometheus_client::registry::Registry;
use runtime::readiness::Readiness;
use testkit::{
    mount::Mount,
    pki::{
        Leaf, Root,
        rcgen::{CertificateParams, SerialNumber},
    },
};

use crate::harness::{API, Client, WEB, credentials, ids, try_credentials, try_pair};

/// The serial number of who is revoked.
const SERIAL: u64 = 4711;

fn numbered(root: &Root, id: &str) -> Leaf {
    root.issue(&[id], |params: &mut CertificateParams| {
        params.serial_number = Some(SerialNumber::from(SERIAL));
    })
}

fn settings(revoked: Revoked) -> Settings {
    Settings {
        revoked,
        ..Settings::default()
    }
}

/// A handshake from web to api; whose refusal it is, the client's first.
async fn met(
    web: &agent::tls::Credentials,
    api: &agent::tls::Credentials,
) -> (Result<(), TlsError>, Result<(), TlsError>) {
    let expected = ids(&[API]);
    let client = Client {
        credentials: web,
        expected: &expected,
        sni: None,
        offer: Offer::Tcp,
    };
    let (client, server) = try_pair(client, api).await;
    (client.map(drop), server.map(drop))
}

#[tokio::test]
async fn who_is_on_a_list_is_refused_at_both_ends_and_others_are_not() {
    let root = Root::new("mesh");
    let mount = Mount::new(&[("ca-crl.pem", &*root.revoke(&[SERIAL], |_| ()))]);
    let lists = RevokedFile::start(mount.path("ca-crl.pem")).look();
    let knowing = |leaf: &Leaf| try_credentials(leaf, &settings(lists.clone())).unwrap();
    let revoked_web = credentials(&numbered(&root, WEB));
    let (_, server) = met(&revoked_web, &knowing(&root.workload(API))).await;
    let refusal = format!("{:?}", server.unwrap_err());
    assert!(refusal.contains("InvalidCertificate(Revoked)"), "{refusal}");
    let revoked_api = credentials(&numbered(&root, API));
    let (client, _) = met(&knowing(&root.workload(WEB)), &revoked_api).await;
    let refusal = format!("{:?}", client.unwrap_err());
    assert!(refusal.contains("InvalidCertificate(Revoked)"), "{refusal}");
    let (client, server) = met(&knowing(&root.workload(WEB)), &knowing(&root.workload(API))).await;
    client.unwrap();
    server.unwrap();
}

#[tokio::test]
async fn lists_that_come_later_count_from_the_next_handshake_on_and_broken_ones_change_nothing() {
    let root = Root::new("mesh");
    let certs = Mount::new(&root.workload(API).files());
    // As in a pod where nobody has ever been revoked: the volume is optional, and empty.
    let mut crl = Mount::new(&[]);
    let file = Mutex::new(RevokedFile::start(crl.path("ca-crl.pem")));
    let ask = move || settings(file.lock().unwrap().look());
    let mut reloader = Reloader::start(certs.folder().to_owned(), true, Box::new(ask)).unwrap();
    let voice = Voice::new(
        "certificates",
        Metrics::register(&mut Registry::default()),
        &Readiness::new(),
    );
    let web = credentials(&numbered(&root, WEB));
    let list = root.revoke(&[SERIAL], |_| ());
    for (content, change, is_welcome) in [
        (None, Change::None, true),
        (Some(""), Change::None, true),
        (Some(&*list), Change::Accepted, false),
        (Some("nonsense"), Change::None, false),
        (Some(""), Change::Accepted, true),
        (Some(&list), Change::Accepted, false),
        (None, Change::Accepted, true),
    ] {
        match content {
            Some(content) => crl.swap(&[("ca-crl.pem", content)]),
            None => crl.swap(&[]),
        }
        assert_eq!(
            reloader.poll(&voice, SystemTime::now()),
            change,
            "{content:?}"
        );
        let api = reloader.store().current().unwrap();
        let (_, server) = met(&web, &api).await;
        assert_eq!(server.is_ok(), is_welcome, "{content:?}");
    }
}
