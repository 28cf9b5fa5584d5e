//! What the injector does in a cluster where nothing goes wrong.

use std::{fs, time::Duration};

use http::Method;
use injector::{
    config::{Certificates, Mode, Pair},
    files::Source,
    webhook::tls::{CERT_FLAG, KEY_FLAG},
};
use serde_json::{Value, json};

use crate::fixture::{
    ROOT_CERT, Replica, SYSTEM, WEBHOOK, WEBHOOKS, build, bundle_in, ca_bundles, cluster_role,
    config, installed, mounted, namespace, node, reasons, until,
};

#[tokio::test]
async fn from_nothing_it_becomes_ready_with_everything_in_place() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let roots = bundle_in(&api, SYSTEM);
    until("every namespace has the bundle", || {
        ["default", "kube-system", SYSTEM]
            .iter()
            .all(|name| bundle_in(&api, name).is_some())
    })
    .await;
    let roots = roots.or_else(|| bundle_in(&api, SYSTEM)).unwrap();
    assert_eq!(bundle_in(&api, "kube-public"), None);
    assert_eq!(ca_bundles(&api), [roots.clone(), roots.clone()]);
    assert!(replica.injected(&roots).await.contains("istio-proxy"));

    let role = api
        .get("clusterroles", "", "injector-istio-system")
        .unwrap();
    let secret = api.get("secrets", SYSTEM, "istio-ca-secret").unwrap();
    for object in api.list("configmaps").iter().chain([&secret]) {
        let owners = object["metadata"]["ownerReferences"].as_array().unwrap();
        assert_eq!(owners.len(), 1, "{object}");
        assert_eq!(owners[0]["uid"], role["metadata"]["uid"]);
        assert_eq!(owners[0].get("blockOwnerDeletion"), None);
    }
    until("Events are written", || {
        reasons(&api).contains(&"WebhookPatched".to_owned())
    })
    .await;
    let event = &api.list("events")[0];
    assert_eq!(event["regarding"]["kind"], "Pod");
    assert_eq!(event["regarding"]["name"], "injector-1");
    assert_eq!(event["regarding"]["uid"], "the-pods-uid");
    replica.stop().await;
}

#[tokio::test]
async fn hand_edits_and_deletions_are_put_right() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    until("it is published", || bundle_in(&api, "default").is_some()).await;
    let roots = bundle_in(&api, "default").unwrap();

    let mut edited = api.get("configmaps", "default", ROOT_CERT).unwrap();
    edited["data"] = json!({"root-cert.pem": "nonsense", "theirs": "kept"});
    edited["metadata"]["ownerReferences"] = json!([]);
    api.put("configmaps", "default", edited);
    api.delete("configmaps", "kube-system", ROOT_CERT);
    let mut edited = api.get(WEBHOOKS, "", WEBHOOK).unwrap();
    edited["webhooks"][1]["clientConfig"]["caBundle"] = json!("bm9uc2Vuc2U=");
    api.put(WEBHOOKS, "", edited);
    until("all is as it was", || {
        bundle_in(&api, "default").as_ref() == Some(&roots)
            && bundle_in(&api, "kube-system").as_ref() == Some(&roots)
            && ca_bundles(&api) == [roots.clone(), roots.clone()]
    })
    .await;
    let mended = api.get("configmaps", "default", ROOT_CERT).unwrap();
    assert_eq!(mended["data"]["theirs"], "kept");
    assert_eq!(
        mended["metadata"]["ownerReferences"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    replica.stop().await;
}

#[tokio::test]
async fn new_namespaces_get_the_bundle_and_terminating_ones_do_not() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let mut ending = namespace("ending");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    api.put("namespaces", "", ending);
    api.put("namespaces", "", namespace("fresh"));
    until("the new one has it", || bundle_in(&api, "fresh").is_some()).await;
    assert_eq!(bundle_in(&api, "ending"), None);
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn thousands_of_namespaces_are_no_problem() {
    const MANY: usize = 2000;
    let api = installed();
    for idx in 0..MANY {
        api.put("namespaces", "", namespace(&format!("many-{idx}")));
    }
    let replica = Replica::start(&api).await;
    until("all have it", || api.list("configmaps").len() == MANY + 3).await;
    // One list in pages for each watch, one request for each namespace.
    assert_eq!(api.count(&Method::POST, "configmaps"), MANY + 3);
    assert!(api.count(&Method::GET, "configmaps") < 5);
    replica.stop().await;
}

#[tokio::test]
async fn two_replicas_agree_without_fighting() {
    let api = installed();
    let first = Replica::start(&api).await;
    let second = Replica::start(&api).await;
    first.ready().await;
    second.ready().await;
    until("it is published", || api.list("configmaps").len() == 3).await;
    let roots = bundle_in(&api, "default").unwrap();
    for replica in [&first, &second] {
        assert!(replica.injected(&roots).await.contains("istio-proxy"));
    }
    let writes = || {
        let of = |method, resource| api.count(&method, resource);
        of(Method::PUT, "configmaps") + of(Method::PATCH, WEBHOOKS) + of(Method::PUT, "secrets")
    };
    let before = writes();
    // Long enough for several rounds of a quarrel.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(writes(), before);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_chart_that_was_removed_and_installed_again_owns_everything_anew() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.well().await;
    until("it is published", || api.list("configmaps").len() == 3).await;
    // What the garbage collector does once the owner is gone.
    api.delete("clusterroles", "", "injector-istio-system");
    for space in ["default", "kube-system", SYSTEM] {
        api.delete("configmaps", space, ROOT_CERT);
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    api.put("clusterroles", "", cluster_role());
    for space in ["default", "kube-system", SYSTEM] {
        api.delete("configmaps", space, ROOT_CERT);
    }
    let role = api
        .get("clusterroles", "", "injector-istio-system")
        .unwrap();
    until("the new one owns them", || {
        let owned = |object: &Value| {
            object["metadata"]["ownerReferences"][0]["uid"] == role["metadata"]["uid"]
        };
        let objects = api.list("configmaps");
        objects.len() == 3 && objects.iter().all(owned)
    })
    .await;
    replica.well().await;
    // Nothing is left to be done, so nothing is done.
    let requests = || api.count(&Method::GET, "configmaps") + api.count(&Method::PUT, "configmaps");
    let metrics = replica.page("/metrics").await;
    assert!(metrics.contains("trust_bundle_pending 0\n"), "{metrics}");
    let before = requests();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(requests(), before);
    replica.stop().await;
}

#[tokio::test]
async fn native_sidecars_follow_the_nodes() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    until("it is published", || bundle_in(&api, "default").is_some()).await;
    let roots = bundle_in(&api, "default").unwrap();
    let native = "\"restartPolicy\":\"Always\"";
    assert!(replica.injected(&roots).await.contains(native));
    api.put("nodes", "", node("two", "v1.30.0"));
    while replica.injected(&roots).await.contains(native) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    api.delete("nodes", "", "two");
    while !replica.injected(&roots).await.contains(native) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn with_its_certificate_from_files_the_webhook_configuration_is_left_alone() {
    let api = installed();
    let files = mounted();
    let made = rcgen::generate_simple_self_signed([format!("{WEBHOOK}.{SYSTEM}.svc")]).unwrap();
    fs::write(files.path().join("crt"), made.cert.pem()).unwrap();
    fs::write(files.path().join("key"), made.signing_key.serialize_pem()).unwrap();
    let mut config = config(files.path(), &[]);
    let Mode::Cluster(settings) = &mut config.mode else {
        panic!("a cluster was asked for");
    };
    let source = |flag, file: &str| Source {
        flag,
        path: files.path().join(file),
    };
    settings.certificates = Certificates::Files(Pair {
        certificate: source(CERT_FLAG, "crt"),
        key: source(KEY_FLAG, "key"),
    });
    let app = build(&api, config).await.unwrap();
    let life = app.life();
    let tasks = runtime::task::Group::new();
    tasks.spawn_essential("injector", app.run());
    until("it is published", || bundle_in(&api, "default").is_some()).await;
    assert_eq!(ca_bundles(&api), ["", ""]);
    life.stop("the test is over");
    let _ = tasks.join(crate::fixture::LIMIT).await;
}

#[tokio::test]
async fn a_configuration_that_is_wrong_at_the_start_names_the_config_maps() {
    let api = installed();
    let files = mounted();
    fs::write(files.path().join("config"), "templates: [").unwrap();
    let Err(error) = build(&api, config(files.path(), &["--revision=canary"])).await else {
        panic!("it must not start");
    };
    let text = runtime::error::chain(&error).to_string();
    for expected in [
        "istio-sidecar-injector-canary",
        "istio-canary",
        "namespace istio-system",
        "/config",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_template_that_renders_to_nonsense_is_refused_and_told() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    until("it is published", || bundle_in(&api, "default").is_some()).await;
    let roots = bundle_in(&api, "default").unwrap();
    let file = replica.dir.path().join("config");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        "defaultTemplates: [sidecar]\ntemplates: {sidecar: 'spec: 7'}\n",
    )
    .unwrap();
    let report = replica.until_ready_says("configuration: refused").await;
    assert!(report.contains("plain pod"), "{report}");
    assert!(replica.injected(&roots).await.contains("istio-proxy"));
    until("Events say so on the pod and on the ConfigMap", || {
        let events = api.list("events").into_iter();
        let mut kinds: Vec<_> = events
            .filter(|event| event["reason"] == "ConfigurationRefused")
            .map(|event| event["regarding"]["kind"].clone())
            .collect();
        kinds.sort_by_key(Value::to_string);
        kinds == ["ConfigMap", "Pod"]
    })
    .await;
    fs::write(&file, good).unwrap();
    until("an Event takes it back", || {
        reasons(&api).contains(&"ConfigurationAccepted".to_owned())
    })
    .await;
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn each_mistake_is_named_by_config_map_key_line_and_column_everywhere() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    let map = "ConfigMap istio-system/istio-sidecar-injector, key";
    let table = [
        (
            "config",
            "templates:\n  sidecar: |\n    a: b\n    c: {{ nothing }}\n",
            format!("{map} config"),
            "nothing",
        ),
        (
            "values",
            "global:\n  hub: [\n",
            format!("{map} values"),
            "3",
        ),
        (
            "mesh",
            "a: b\n c: d\n",
            "ConfigMap istio-system/istio, key mesh".to_owned(),
            "2",
        ),
    ];
    for (file, broken, origin, what) in table {
        let path = replica.dir.path().join(file);
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, broken).unwrap();
        let report = replica.until_ready_says(&origin).await;
        assert!(report.starts_with("ready\n"), "{report}");
        let line = report.lines().find(|line| line.contains(&origin)).unwrap();
        let (_, place) = line.split_once(&origin).unwrap();
        assert!(place.contains(what), "{line}");
        let numbers = place.split(|letter: char| !letter.is_ascii_digit());
        let n_numbers = numbers.filter(|number| !number.is_empty()).count();
        assert!(n_numbers >= 2, "line and column: {line}");
        until("an Event on the ConfigMap has it", || {
            let events = api.list("events").into_iter();
            let mut notes = events
                .filter(|event| event["regarding"]["kind"] == "ConfigMap")
                .map(|event| event["note"].to_string());
            notes.any(|note| note.contains(&origin))
        })
        .await;
        replica
            .until_metrics_say("minimesh_injector_files_refused{files=\"configuration\"} 1\n")
            .await;
        fs::write(&path, good).unwrap();
        replica.well().await;
        replica
            .until_metrics_say("minimesh_injector_files_refused{files=\"configuration\"} 0\n")
            .await;
    }
    replica.stop().await;
}
