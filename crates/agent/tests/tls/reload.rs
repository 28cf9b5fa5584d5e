//! Credentials from files that change.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use agent::{
    files::{Metrics, Voice},
    tls::{
        Offer,
        credentials::Settings,
        reload::{Change, Reloader},
    },
};
use prometheus_client::registry::Registry;
use runtime::{error::chain, readiness::Readiness};
use testkit::{
    mount::Mount,
    pki::{Leaf, Root},
};

use crate::harness::{API, Client, WEB, credentials, ids, read, try_pair, write_all};

struct Fixture {
    reloader: Reloader,
    voice: Voice,
    readiness: Readiness,
    registry: Registry,
}

fn start(folder: PathBuf, required: bool) -> Result<Fixture, String> {
    start_with(folder, required, Settings::default)
}

fn start_with(
    folder: PathBuf,
    required: bool,
    settings: impl Fn() -> Settings + Send + 'static,
) -> Result<Fixture, String> {
    let reloader = Reloader::start(folder, required, Box::new(settings))
        .map_err(|error| chain(&error).to_string())?;
    let readiness = Readiness::new();
    let mut registry = Registry::default();
    let voice = Voice::new("certificates", Metrics::register(&mut registry), &readiness);
    registry.register_collector(Box::new(reloader.store().clone()));
    Ok(Fixture {
        reloader,
        voice,
        readiness,
        registry,
    })
}

impl Fixture {
    fn poll(&mut self) -> Change {
        self.reloader.poll(&self.voice, SystemTime::now())
    }

    fn serial(&self) -> Option<String> {
        let current = self.reloader.store().current()?;
        Some(current.serial().to_owned())
    }

    fn page(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }

    fn detail(&self) -> Option<String> {
        self.readiness.report().details.remove("certificates")
    }
}

#[test]
fn the_kubelets_swap_brings_new_credentials() {
    let root = Root::new("mesh");
    let mut mount = Mount::new(&root.workload(WEB).files());
    let mut fixture = start(mount.folder().to_owned(), true).unwrap();
    let first = fixture.reloader.store().current().unwrap();
    assert_eq!(fixture.poll(), Change::None);
    mount.swap(&root.workload(WEB).files());
    assert_eq!(fixture.poll(), Change::Accepted);
    let second = fixture.reloader.store().current().unwrap();
    assert!(second.generation() > first.generation());
    assert_ne!(second.serial(), first.serial());
    assert_eq!(second.id().as_str(), WEB);
    assert_eq!(second.root_fingerprints().count(), 1);
    let page = fixture.page();
    for name in ["default", "ROOTCA"] {
        let line = format!("istio_agent_cert_expiry_seconds{{resource_name=\"{name}\"}} 3");
        assert!(page.contains(&line), "{page}");
    }
}

#[test]
fn refused_files_leave_the_last_good_credentials_and_are_said_everywhere() {
    let root = Root::new("mesh");
    let good = root.workload(WEB);
    let mut mount = Mount::new(&good.files());
    let mut fixture = start(mount.folder().to_owned(), true).unwrap();
    let serial = fixture.serial();
    let mixed = Leaf {
        key: root.workload(WEB).key,
        ..good.clone()
    };
    mount.swap(&mixed.files());
    assert_eq!(fixture.poll(), Change::Refused);
    assert_eq!(fixture.poll(), Change::None);
    assert_eq!(fixture.serial(), serial);
    let detail = fixture.detail().unwrap();
    assert!(detail.contains("key.pem does not belong"), "{detail}");
    let refusal = fixture.reloader.store().refusal().unwrap();
    assert!(refusal.reason.contains("key.pem"), "{refusal:?}");
    let page = fixture.page();
    assert!(
        page.contains("minimesh_agent_files_refused{files=\"certificates\"} 1"),
        "{page}"
    );
    fs::remove_file(mount.path("key.pem")).unwrap();
    assert_eq!(fixture.poll(), Change::Refused);
    assert_eq!(fixture.serial(), serial);
    let mut mount = Mount::new(&good.files());
    let mut fixture = start(mount.folder().to_owned(), true).unwrap();
    mount.swap(
        &Leaf {
            chain: String::new(),
            ..good.clone()
        }
        .files(),
    );
    assert_eq!(fixture.poll(), Change::Refused);
    mount.swap(&root.workload(WEB).files());
    assert_eq!(fixture.poll(), Change::Accepted);
    assert_eq!(fixture.detail(), None);
    assert!(fixture.reloader.store().refusal().is_none());
}

#[test]
fn a_proxy_without_files_speaks_plainly_until_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("certs");
    let error = start(folder.clone(), true).err().unwrap();
    assert!(error.contains("cert-chain.pem (--certs-dir)"), "{error}");
    let mut fixture = start(folder.clone(), false).unwrap();
    assert_eq!(fixture.serial(), None);
    assert!(!fixture.page().contains("cert_expiry"));
    assert_eq!(fixture.poll(), Change::None);
    fs::create_dir(&folder).unwrap();
    Root::new("mesh").workload(WEB).write_to(&folder).unwrap();
    assert_eq!(fixture.poll(), Change::Accepted);
    assert!(fixture.serial().is_some());
}

#[test]
fn files_that_are_there_in_part_are_no_start() {
    let mount = Mount::new(&Root::new("mesh").workload(WEB).files());
    fs::remove_file(mount.path("root-cert.pem")).unwrap();
    let error = start(mount.folder().to_owned(), false).err().unwrap();
    assert!(error.contains("root-cert.pem (--certs-dir)"), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn new_trust_domains_count_without_new_files() {
    let root = Root::new("mesh");
    let mount = Mount::new(&root.workload(API).files());
    let settings = Arc::new(Mutex::new(Settings::default()));
    let asked = Arc::clone(&settings);
    let mut fixture = start_with(mount.folder().to_owned(), true, move || {
        asked.lock().unwrap().clone()
    })
    .unwrap();
    let foreigner = credentials(&root.workload("spiffe://elsewhere/ns/default/sa/web"));
    for known in [false, true] {
        if known {
            settings.lock().unwrap().trust_domains = vec!["elsewhere".parse().unwrap()];
            assert_eq!(fixture.poll(), Change::Accepted);
        }
        assert_eq!(fixture.poll(), Change::None);
        let expected = ids(&[API]);
        let client = Client {
            credentials: &foreigner,
            expected: &expected,
            sni: None,
            offer: Offer::Tcp,
        };
        let current = fixture.reloader.store().current().unwrap();
        let (_, server) = try_pair(client, &current).await;
        assert_eq!(server.is_ok(), known);
    }
}

#[test]
fn credentials_near_their_end_are_said_once_and_until_they_are_renewed() {
    let root = Root::new("mesh");
    let mut mount = Mount::new(&root.workload(WEB).files());
    let mut fixture = start(mount.folder().to_owned(), true).unwrap();
    let late = SystemTime::now() + Duration::from_secs(3000);
    assert_eq!(fixture.reloader.poll(&fixture.voice, late), Change::None);
    let detail = fixture.detail().unwrap();
    assert!(detail.contains("was not renewed"), "{detail}");
    mount.swap(&root.workload(WEB).files());
    assert_eq!(fixture.poll(), Change::Accepted);
    assert_eq!(fixture.detail(), None);
}

/// Old connections go on with what they were secured by, new ones are made all the time, and each of them carries its bytes.
#[tokio::test(flavor = "current_thread")]
async fn rotation_loses_no_connection() {
    let root = Root::new("mesh");
    let mut web = Mount::new(&root.workload(WEB).files());
    let mut api = Mount::new(&root.workload(API).files());
    let mut client = start(web.folder().to_owned(), true).unwrap();
    let mut server = start(api.folder().to_owned(), true).unwrap();
    let expected = ids(&[API]);
    let mut open = Vec::new();
    for _ in 0..20 {
        let current = client.reloader.store().current().unwrap();
        let side = Client {
            credentials: &current,
            expected: &expected,
            sni: None,
            offer: Offer::Tcp,
        };
        let (left, right) = try_pair(side, &server.reloader.store().current().unwrap()).await;
        open.push((left.unwrap(), right.unwrap()));
        web.swap(&root.workload(WEB).files());
        api.swap(&root.workload(API).files());
        assert_eq!(client.poll(), Change::Accepted);
        assert_eq!(server.poll(), Change::Accepted);
        for (left, right) in &mut open {
            write_all(left, b"question").await.unwrap();
            assert_eq!(read(right, 100).await.unwrap(), b"question");
            write_all(right, b"answer").await.unwrap();
            assert_eq!(read(left, 100).await.unwrap(), b"answer");
        }
    }
}
