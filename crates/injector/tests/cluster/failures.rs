//! What the injector does when the API server refuses, breaks or goes away.

use http::Method;

use crate::fixture::{
    Replica, SYSTEM, WEBHOOK, WEBHOOKS, bundle_in, ca_bundles, installed, namespace, reasons,
    until, webhook,
};

#[tokio::test]
async fn a_missing_webhook_configuration_keeps_it_from_being_ready_until_it_is_there() {
    let api = installed();
    api.delete(WEBHOOKS, "", WEBHOOK);
    let replica = Replica::start(&api).await;
    let report = replica.until_ready_says("is not there").await;
    assert!(
        report.contains("--webhook-config") && report.starts_with("not ready"),
        "{report}"
    );
    until("an Event says so", || {
        reasons(&api).contains(&"WebhookConfigurationMissing".to_owned())
    })
    .await;
    api.put(WEBHOOKS, "", webhook());
    replica.well().await;
    let metrics = replica.page("/metrics").await;
    let failure = "webhook_patch_failures_total{name=\"istio-sidecar-injector\",reason=\"webhook_config_not_found\"}";
    assert!(metrics.contains(failure), "{metrics}");

    // Later it is only reported: running pods go on, and there is nothing that another replica could do better.
    api.delete(WEBHOOKS, "", WEBHOOK);
    let report = replica.until_ready_says("is not there").await;
    assert!(report.starts_with("ready"), "{report}");
    replica.stop().await;
}

#[tokio::test]
async fn missing_rights_are_named_and_come_back_without_a_restart() {
    let api = installed();
    let denied = "mutatingwebhookconfigurations is forbidden: cannot patch";
    api.fail(Method::PATCH, WEBHOOKS, 403, denied);
    api.fail(Method::POST, "configmaps", 403, "configmaps is forbidden");
    api.fail(Method::GET, "nodes", 403, "nodes is forbidden");
    let replica = Replica::start(&api).await;
    for text in [
        denied,
        "configmaps is forbidden",
        "nodes is forbidden",
        "the chart's ClusterRole",
    ] {
        replica.until_ready_says(text).await;
    }
    until("Events say so", || {
        let reasons = reasons(&api);
        [
            "WebhookPatchFailed",
            "TrustBundleNotPublished",
            "WatchForbidden",
        ]
        .iter()
        .all(|reason| reasons.iter().any(|known| known == reason))
    })
    .await;
    api.mend();
    replica.ready().await;
    until("all have it", || api.list("configmaps").len() == 3).await;
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    let api = installed();
    api.go_down();
    let replica = Replica::start(&api).await;
    let report = replica.until_ready_says("connection refused").await;
    assert!(
        report.starts_with("not ready: waiting for")
            && report.contains("serving certificate")
            && report.contains("webhook configuration"),
        "{report}"
    );
    api.come_back();
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn what_happened_while_the_api_server_was_away_is_noticed() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    until("it is published", || api.list("configmaps").len() == 3).await;
    let roots = bundle_in(&api, SYSTEM).unwrap();

    api.go_down();
    replica
        .until_ready_says("cannot watch the namespaces")
        .await;
    assert!(replica.injected(&roots).await.contains("istio-proxy"));
    api.put("namespaces", "", namespace("fresh"));
    api.delete("configmaps", "default", "istio-ca-root-cert");
    api.put(WEBHOOKS, "", webhook());
    api.come_back();
    until("all is in step", || {
        bundle_in(&api, "fresh").as_ref() == Some(&roots)
            && bundle_in(&api, "default").as_ref() == Some(&roots)
            && ca_bundles(&api) == [roots.clone(), roots.clone()]
    })
    .await;
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn watches_that_end_are_resumed() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    for name in ["first", "second"] {
        api.cut_watches();
        api.put("namespaces", "", namespace(name));
        until("it is noticed", || bundle_in(&api, name).is_some()).await;
    }
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn an_api_server_in_trouble_is_tried_again() {
    let api = installed();
    for (method, resource) in [
        (Method::POST, "configmaps"),
        (Method::PATCH, WEBHOOKS),
        (Method::GET, "clusterroles"),
    ] {
        api.fail(method, resource, 500, "etcd is not well");
    }
    let replica = Replica::start(&api).await;
    replica.until_ready_says("etcd is not well").await;
    api.mend();
    replica.ready().await;
    until("all have it", || api.list("configmaps").len() == 3).await;
    replica.stop().await;
}
