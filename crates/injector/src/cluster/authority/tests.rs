//! The keeper against an API server that fails in all the ways that API servers fail.

mod api;

use std::sync::atomic::{AtomicI64, Ordering};

use contract::control_plane::{
    CA_CERT_KEY, CA_PRIVATE_KEY, CA_SECRET_TYPE, ROOT_CERT_KEY, TLS_CERT_KEY,
};
use http::StatusCode;
use identity::{ServerPair, TrustBundle};
use k8s_openapi::api::core::v1::Secret;
use runtime::{readiness::Readiness, task::Group};
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    sign::CertifiedKey,
};
use time::Duration;
use tokio::time::Instant;

use super::*;
use crate::cluster::{
    events::{self, Object, Subjects},
    owner::Owner,
};
use api::FakeApi;

/// A replica of the injector, as far as its authority goes.
struct Replica {
    readiness: Readiness,
    certificate: ServingCertificate,
    bundle: Bundle,
    /// Seconds by which the clock on the wall is off.
    skew: Arc<AtomicI64>,
    began: Instant,
    tasks: Group,
}

impl Replica {
    fn start(api: &FakeApi) -> Self {
        Self::with_skew(api, 0)
    }

    fn with_skew(api: &FakeApi, skew: i64) -> Self {
        let client = api.client();
        let readiness = Readiness::new();
        let subjects = Subjects {
            pod: Object::core("Pod", "istio-system", "injector-1"),
            config_map: Object::core("ConfigMap", "istio-system", "istio-sidecar-injector"),
            workloads: false,
        };
        let (events, writer) =
            events::channel(client.clone(), subjects, events::Metrics::default());
        let context = Context {
            owner: Owner::new(&client, Some("injector-istio-system".to_owned())),
            client,
            namespace: "istio-system".into(),
            events,
            readiness: readiness.clone(),
        };
        let skew = Arc::new(AtomicI64::new(skew));
        let began = Instant::now();
        let clock_skew = Arc::clone(&skew);
        let settings = Settings {
            names: serving_names("istio-system", "", []).unwrap(),
            trust_domain: Arc::new(|| "cluster.local".to_owned()),
            periods: Periods {
                announcement: Duration::minutes(5),
                retirement: Duration::hours(25),
            },
            clock: Arc::new(move || wall(began, &clock_skew)),
        };
        let running = start(&context, settings, Metrics::default());
        let tasks = Group::new();
        tasks.spawn("keeper", running.task);
        tasks.spawn("events", writer.run());
        Self {
            readiness,
            certificate: running.certificate,
            bundle: running.bundle,
            skew,
            began,
            tasks,
        }
    }

    fn now(&self) -> OffsetDateTime {
        wall(self.began, &self.skew)
    }

    fn set_skew(&self, skew: Duration) {
        self.skew.store(skew.whole_seconds(), Ordering::Relaxed);
    }

    fn detail(&self) -> String {
        let report = self.readiness.report();
        report.details.get("authority").cloned().unwrap_or_default()
    }

    /// What is served, checked as the API server does: against the bundle, for the Service's name, now.
    fn serves(&self) -> Arc<CertifiedKey> {
        let served = self.certificate.borrow().clone().unwrap();
        let bundle = self.bundle.borrow().clone().unwrap();
        identity::verify::server(
            &served.cert,
            &TrustBundle::from_pem(bundle.as_bytes()).unwrap(),
            &serving_names("istio-system", "", []).unwrap()[0],
            self.now(),
        )
        .unwrap();
        served
    }

    fn stop(self) -> Arc<CertifiedKey> {
        self.tasks.cancel();
        self.serves()
    }
}

fn wall(began: Instant, skew: &AtomicI64) -> OffsetDateTime {
    let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    start + began.elapsed() + Duration::seconds(skew.load(Ordering::Relaxed))
}

/// What another replica makes.
fn foreign() -> Secret {
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    let authority = identity::Authority::generate("cluster.local", now).unwrap();
    let names = serving_names("istio-system", "", []).unwrap();
    secret::State {
        roots: authority.roots().clone(),
        pair: authority.issue_server(&names, now).unwrap(),
        authority,
        rotation: rotation::Rotation::default(),
    }
    .secret("istio-system", None)
}

fn value(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_empty_cluster_gets_a_secret_that_the_chart_owns() {
    let api = FakeApi::default();
    let replica = Replica::start(&api);
    assert!(!replica.readiness.is_ready());
    replica.readiness.ready().await;

    let secret = api.lock().secret.clone().unwrap();
    assert_eq!(secret.type_.as_deref(), Some(CA_SECRET_TYPE));
    let owners = secret.metadata.owner_references.as_ref().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0].uid, "role-uid");
    assert_eq!(owners[0].block_owner_deletion, None);

    let served = replica.serves();
    let pair = ServerPair::from_pem(
        value(&secret, "tls.crt").as_bytes(),
        value(&secret, "tls.key").as_bytes(),
    )
    .unwrap();
    assert_eq!(served.cert, pair.certified_key().cert);
    let bundle = replica.bundle.borrow().clone();
    assert_eq!(bundle.as_deref(), Some(&*value(&secret, ROOT_CERT_KEY)));
    api.until(|inner| inner.events.contains(&"AuthorityCreated".to_owned()))
        .await;
    assert_eq!(api.lock().n_writes, 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_made_first_is_used() {
    let api = FakeApi::default();
    let theirs = foreign();
    api.lock().faster = Some(theirs.clone());
    let mut replica = Replica::start(&api);
    replica.certificate.changed().await.unwrap();
    let bundle = replica.bundle.borrow().clone();
    assert_eq!(bundle.as_deref(), Some(&*value(&theirs, ROOT_CERT_KEY)));
    replica.serves();
    assert_eq!(api.lock().n_writes, 1);
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_together_agree() {
    let api = FakeApi::default();
    let replicas = [(); 3].map(|()| Replica::start(&api));
    for replica in &replicas {
        replica.readiness.ready().await;
    }
    let [one, two, three] = replicas.map(Replica::stop);
    assert_eq!(one.cert, two.cert);
    assert_eq!(two.cert, three.cert);
}

#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing() {
    let api = FakeApi::default();
    let first = Replica::start(&api);
    first.readiness.ready().await;
    let before = first.stop();
    let second = Replica::start(&api);
    second.readiness.ready().await;
    assert_eq!(second.serves().cert, before.cert);
    assert_eq!(api.lock().n_writes, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_the_secret_is_undone() {
    let api = FakeApi::default();
    let replica = Replica::start(&api);
    replica.readiness.ready().await;
    let good = api.lock().secret.clone().unwrap().data;
    let served = replica.serves();

    api.delete();
    api.until(|inner| inner.secret.is_some()).await;
    for (key, reason) in [
        (CA_PRIVATE_KEY, "AuthoritySecretRestored"),
        (CA_CERT_KEY, "AuthoritySecretRestored"),
        (ROOT_CERT_KEY, "TrustBundleRepaired"),
        (TLS_CERT_KEY, "ServingCertificateRepaired"),
    ] {
        api.edit(key, "nonsense");
        api.until(|inner| {
            inner
                .secret
                .as_ref()
                .is_some_and(|secret| secret.data == good)
        })
        .await;
        api.until(|inner| inner.events.iter().any(|event| event == reason))
            .await;
    }
    assert_eq!(replica.serves().cert, served.cert);
    assert!(replica.readiness.is_ready());
    assert_eq!(replica.detail(), "");
    let owners = api.lock().secret.clone().unwrap().metadata.owner_references;
    assert_eq!(owners.unwrap()[0].uid, "role-uid");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_goes_while_it_is_put_right_comes_back() {
    let api = FakeApi::default();
    let replica = Replica::start(&api);
    replica.readiness.ready().await;
    let good = api.lock().secret.clone().unwrap().data;
    api.edit(CA_PRIVATE_KEY, "nonsense");
    api.delete();
    api.until(|inner| {
        inner
            .secret
            .as_ref()
            .is_some_and(|secret| secret.data == good)
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(replica.detail(), "");
    let events = api.lock().events.clone();
    assert!(
        !events.contains(&"AuthoritySecretNotWritten".to_owned()),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_nonsense_at_the_start_waits_for_a_person() {
    let api = FakeApi::default();
    api.put(foreign());
    api.edit(CA_PRIVATE_KEY, "nonsense");
    let broken = api.lock().secret.clone();
    let replica = Replica::start(&api);
    api.until(|inner| inner.events == ["AuthoritySecretUnreadable"])
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert!(!replica.readiness.is_ready());
    assert_eq!(api.lock().secret, broken);
    assert_eq!(api.lock().n_writes, 0);
    // Said once, not every few seconds.
    assert_eq!(api.lock().events.len(), 1);
    let detail = replica.detail();
    assert!(detail.contains("kubectl delete secret"), "{detail}");

    api.delete();
    replica.readiness.ready().await;
    replica.serves();
    api.until(|inner| inner.events.contains(&"AuthorityRecovered".to_owned()))
        .await;
    assert_eq!(replica.detail(), "");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_a_person_repairs_is_used() {
    let api = FakeApi::default();
    let good = foreign();
    api.put(good.clone());
    api.edit(CA_CERT_KEY, "");
    let replica = Replica::start(&api);
    api.until(|inner| !inner.events.is_empty()).await;
    api.put(good.clone());
    replica.readiness.ready().await;
    let bundle = replica.bundle.borrow().clone();
    assert_eq!(bundle.as_deref(), Some(&*value(&good, ROOT_CERT_KEY)));
    assert_eq!(api.lock().n_writes, 0);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    let api = FakeApi::default();
    api.go_away();
    let replica = Replica::start(&api);
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    assert!(!replica.readiness.is_ready());
    let report = replica.readiness.report().to_string();
    assert!(report.contains("503"), "{report}");
    api.lock().outage = None;
    replica.readiness.ready().await;
    replica.serves();
    // The other watch has a pause of its own.
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    let report = replica.readiness.report().to_string();
    assert_eq!(report, "ready\n");
}

#[tokio::test(start_paused = true)]
async fn certificates_are_renewed_without_the_api_server_and_written_when_it_is_back() {
    let api = FakeApi::default();
    let mut replica = Replica::start(&api);
    replica.readiness.ready().await;
    let before = replica.serves();
    replica.certificate.mark_unchanged();
    api.go_away();
    replica.set_skew(Duration::days(46));
    replica.certificate.changed().await.unwrap();
    let renewed = replica.serves();
    assert_ne!(renewed.cert, before.cert);
    // It is one renewal, however often it cannot be written.
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert_eq!(replica.serves().cert, renewed.cert);
    assert!(replica.detail().contains("503"), "{}", replica.detail());

    api.lock().outage = None;
    let is_written = |text: String| {
        let chain = CertificateDer::pem_slice_iter(text.as_bytes());
        chain.collect::<Result<Vec<_>, _>>().unwrap() == renewed.cert
    };
    api.until(|inner| inner.text(TLS_CERT_KEY).is_some_and(is_written))
        .await;
    api.until(|_| replica.detail().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn replicas_that_renew_at_the_same_moment_agree() {
    let api = FakeApi::default();
    let replicas = [(); 3].map(|()| Replica::start(&api));
    for replica in &replicas {
        replica.readiness.ready().await;
    }
    let before = replicas[0].serves();
    let n_writes = api.lock().n_writes;
    for replica in &replicas {
        replica.set_skew(Duration::days(46));
    }
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let [one, two, three] = replicas.map(Replica::stop);
    assert_ne!(one.cert, before.cert);
    assert_eq!(one.cert, two.cert);
    assert_eq!(two.cert, three.cert);
    assert!(api.lock().n_writes - n_writes <= 3);
}

#[tokio::test(start_paused = true)]
async fn replicas_whose_clocks_disagree_each_serve_what_is_valid_for_them() {
    let api = FakeApi::default();
    let right = Replica::start(&api);
    right.readiness.ready().await;
    let ahead = Replica::with_skew(&api, Duration::days(200).whole_seconds());
    ahead.readiness.ready().await;
    for _ in 0..10 {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        right.serves();
        ahead.serves();
    }
    let n_writes = api.lock().n_writes;
    assert!(n_writes < 80, "{n_writes}");
    assert!(api.lock().events.contains(&"ClockWrong".to_owned()));

    ahead.set_skew(Duration::ZERO);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(right.stop().cert, ahead.stop().cert);
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_named_and_the_program_goes_on_once_it_is_there() {
    let api = FakeApi::default();
    api.lock().no_writes = Some(StatusCode::FORBIDDEN);
    let replica = Replica::start(&api);
    api.until(|inner| inner.events == ["AuthoritySecretNotWritten"])
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    assert!(!replica.readiness.is_ready());
    assert!(replica.certificate.borrow().is_none());
    let detail = replica.detail();
    for part in ["cannot create Secret istio-system/istio-ca-secret", "Role"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(api.lock().events.len(), 1);
    api.lock().no_writes = None;
    replica.readiness.ready().await;
    replica.serves();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_repeated_and_the_good_state_served() {
    let api = FakeApi::default();
    let replica = Replica::start(&api);
    replica.readiness.ready().await;
    let good = api.lock().secret.clone().unwrap().data;
    api.lock().no_writes = Some(StatusCode::INTERNAL_SERVER_ERROR);
    api.edit(CA_PRIVATE_KEY, "nonsense");
    api.until(|inner| inner.n_writes > 3).await;
    assert!(replica.readiness.is_ready());
    assert!(replica.detail().contains("500"), "{}", replica.detail());
    replica.serves();
    api.lock().no_writes = None;
    api.until(|inner| {
        inner
            .secret
            .as_ref()
            .is_some_and(|secret| secret.data == good)
    })
    .await;
    api.until(|_| replica.detail().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_renews_root_and_pair_with_the_same_key() {
    let api = FakeApi::default();
    let mut replica = Replica::start(&api);
    replica.readiness.ready().await;
    let old = api.lock().text(ROOT_CERT_KEY).unwrap();
    replica.bundle.mark_unchanged();
    replica.set_skew(Duration::days(9 * 365));
    replica.bundle.changed().await.unwrap();
    let served = replica.serves();
    api.until(|inner| inner.text(ROOT_CERT_KEY).is_some_and(|now| now != old))
        .await;
    // Who still trusts the old root goes on as before.
    identity::verify::server(
        &served.cert,
        &TrustBundle::from_pem(old.as_bytes()).unwrap(),
        &serving_names("istio-system", "", []).unwrap()[0],
        replica.now(),
    )
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_is_told_with_both_times_and_signs_nothing() {
    let api = FakeApi::default();
    api.put(foreign());
    let replica = Replica::with_skew(&api, Duration::days(-400).whole_seconds());
    replica.readiness.ready().await;
    assert!(replica.certificate.borrow().is_some());
    let detail = replica.detail();
    assert!(
        detail.contains("valid from 2027-01-15T07:55:00Z but the clock says 2025-12-11T08:0"),
        "{detail}"
    );
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert_eq!(api.lock().events, ["ClockWrong"]);
    assert_eq!(api.lock().n_writes, 0);
    replica.set_skew(Duration::ZERO);
    api.until(|_| replica.detail().is_empty()).await;
    replica.serves();
}

#[tokio::test(start_paused = true)]
async fn a_quarrel_is_no_storm() {
    let api = FakeApi::default();
    let replica = Replica::start(&api);
    replica.readiness.ready().await;
    let mut other = api.lock().secret.clone().unwrap();
    other.data.as_mut().unwrap().remove(TLS_CERT_KEY);
    api.lock().quarrel = Some(other.clone());
    api.put(other);
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    let n_writes = api.lock().n_writes;
    assert!((10..40).contains(&n_writes), "{n_writes}");
    assert!(replica.readiness.is_ready());
}

/// A Secret `cacerts` with an authority below a root, and the root.
fn given() -> (Secret, String) {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let subject = &mut params.distinguished_name;
        subject.push(rcgen::DnType::CommonName, name);
        params
    };
    let root = params("root");
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = rcgen::Issuer::from_params(&root, &root_key);
    let certificate = params("mesh").signed_by(&key, &issuer).unwrap().pem();
    let data = [
        (CA_CERT_KEY, certificate),
        (CA_PRIVATE_KEY, key.serialize_pem()),
        (ROOT_CERT_KEY, root_pem.clone()),
    ];
    let data = data.map(|(key, text)| {
        let text = k8s_openapi::ByteString(text.into_bytes());
        (key.to_owned(), text)
    });
    let secret = Secret {
        data: Some(data.into()),
        ..Secret::default()
    };
    (secret, root_pem)
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_the_user_gives_is_there_from_the_beginning() {
    let api = FakeApi::default();
    let (secret, root) = given();
    api.lock().given = Some(secret);
    let replica = Replica::start(&api);
    replica.readiness.ready().await;
    assert_eq!(replica.bundle.borrow().as_deref(), Some(&*root));
    let pair = replica.stop();
    assert_eq!(pair.cert.len(), 2, "the intermediate is shown too");
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_the_user_gives_later_takes_over_in_order() {
    let api = FakeApi::default();
    api.put(foreign());
    let (secret, root) = given();
    api.lock().given = Some(secret);
    let replica = Replica::start(&api);
    replica.readiness.ready().await;
    let sleep = |seconds| tokio::time::sleep(std::time::Duration::from_secs(seconds));
    sleep(60).await;
    let bundle = |replica: &Replica| replica.bundle.borrow().as_deref().unwrap().to_owned();
    let n_roots = |text: &str| text.matches("BEGIN CERTIFICATE").count();
    assert_eq!(n_roots(&bundle(&replica)), 2);
    assert_eq!(replica.certificate.borrow().as_ref().unwrap().cert.len(), 1);
    sleep(300).await;
    assert_eq!(replica.certificate.borrow().as_ref().unwrap().cert.len(), 2);
    assert_eq!(n_roots(&bundle(&replica)), 2);
    sleep(26 * 3600).await;
    assert_eq!(bundle(&replica), root);
    let events = api.lock().events.clone();
    for reason in ["RootAnnounced", "RootInUse", "RootRetired"] {
        assert!(events.iter().any(|event| event == reason), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_of_the_users_that_cannot_be_used_is_told_and_replaced_by_none() {
    let api = FakeApi::default();
    let (mut secret, _) = given();
    let data = secret.data.as_mut().unwrap();
    data.insert(
        ROOT_CERT_KEY.to_owned(),
        k8s_openapi::ByteString(value(&foreign(), ROOT_CERT_KEY).into_bytes()),
    );
    api.lock().given = Some(secret);
    let replica = Replica::start(&api);
    api.until(|inner| inner.events == ["GivenAuthorityRefused"])
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(!replica.readiness.is_ready());
    assert_eq!(api.lock().n_writes, 0, "nothing is made in its place");
}
