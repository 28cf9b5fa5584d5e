//! Webhook configurations of tags, which come, move and go while the injector runs.

use http::Method;
use serde_json::{Value, json};

use crate::{
    api::Api,
    fixture::{Replica, WEBHOOKS, bundle_in, ca_bundles_of, installed, until, webhook},
};

const TAG: &str = "istio-revision-tag-prod";

/// The configuration of the tag, pointing to `revision`.
fn tag(revision: &str) -> Value {
    let mut object = webhook();
    object["metadata"] = json!({
        "name": TAG,
        "labels": {"istio.io/tag": "prod", "istio.io/rev": revision},
    });
    object
}

fn with_bundle(api: &Api, bundle: &str) -> Value {
    let mut object = api.get(WEBHOOKS, "", TAG).expect("it is there");
    object["webhooks"][0]["clientConfig"]["caBundle"] = json!(bundle);
    object
}

#[tokio::test]
async fn a_tag_has_the_bundle_for_as_long_as_it_points_here() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    until("it is published", || bundle_in(&api, "default").is_some()).await;
    let roots = bundle_in(&api, "default").expect("it is published");
    let both = [roots.clone(), roots];

    api.put(WEBHOOKS, "", tag("default"));
    until("the new tag has it", || ca_bundles_of(&api, TAG) == both).await;
    let edited = with_bundle(&api, "bm9uc2Vuc2U=");
    api.put(WEBHOOKS, "", edited);
    until("it is put right", || ca_bundles_of(&api, TAG) == both).await;

    // Moved, it is the other revision's affair.
    let mut moved = with_bundle(&api, "dGhlaXJz");
    moved["metadata"]["labels"]["istio.io/rev"] = json!("canary");
    let before = api.count(&Method::PATCH, WEBHOOKS);
    api.put(WEBHOOKS, "", moved);
    // And back again, which shows that the change was seen.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(api.count(&Method::PATCH, WEBHOOKS), before);
    assert_eq!(ca_bundles_of(&api, TAG)[0], "theirs");
    let mut back = api.get(WEBHOOKS, "", TAG).expect("it is there");
    back["metadata"]["labels"]["istio.io/rev"] = json!("default");
    api.put(WEBHOOKS, "", back);
    until("it is put right again", || ca_bundles_of(&api, TAG) == both).await;
    replica.well().await;
    replica.stop().await;
}

#[tokio::test]
async fn a_tag_that_may_not_be_written_is_told_and_holds_up_nothing() {
    let api = installed();
    let replica = Replica::start(&api).await;
    replica.ready().await;
    api.fail(Method::PATCH, WEBHOOKS, 403, "cannot patch");
    api.put(WEBHOOKS, "", tag("default"));
    let report = replica.until_ready_says("revision tags: ").await;
    assert!(
        report.starts_with("ready\n") && report.contains(TAG),
        "{report}"
    );
    api.mend();
    replica.well().await;
    assert_ne!(ca_bundles_of(&api, TAG)[1], "");
    replica.stop().await;
}
