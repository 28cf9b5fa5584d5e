//! Saying why: `minimesh why` asks a real cluster, and kubectl shows the same as a warning.

use anyhow::{Context, ensure};
use contract::labels;
use e2e::{Injection, Manifest, Namespace, scenario};
use serde_json::{Value, json};

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn every_pod_can_be_asked_why_it_has_a_sidecar_or_not() {
    scenario("why", |scene| {
        let inside = scene.namespace(Injection::Enabled)?;
        let outside = scene.namespace(Injection::Unlabelled)?;
        let nginx = Manifest::read("nginx.yaml")?;
        let on_host = nginx
            .clone()
            .named("on-host")
            .with(&json!({"spec": {"hostNetwork": true}}));
        let opted_out = nginx
            .clone()
            .named("opted-out")
            .labelled(labels::INJECT, "false");
        let told = inside.try_create(&on_host)?;
        ensure!(told.success, "{}", told.stderr);
        ensure!(
            told.stderr.contains("Warning: ") && told.stderr.contains("host-network"),
            "kubectl does not say why the pod has no sidecar: {}",
            told.stderr
        );
        inside.apply(&nginx)?;
        inside.apply(&opted_out)?;
        outside.apply(&nginx)?;

        for (namespace, pod, status, verdict, reason) in [
            (&inside, "nginx", 0, "injected", None),
            (&inside, "on-host", 3, "not-injected", Some("host-network")),
            (
                &inside,
                "opted-out",
                3,
                "not-injected",
                Some("opted-out-by-label"),
            ),
            (&outside, "nginx", 3, "not-injected", Some("not-labelled")),
        ] {
            let report = why(namespace, pod, status)?;
            assert_eq!(report["verdict"], verdict, "{report}");
            assert_eq!(report["reason"].as_str(), reason, "{report}");
            let has_fix = report["fix"].as_str().is_some_and(|fix| !fix.is_empty());
            assert_eq!(has_fix, reason.is_some(), "{report}");
        }
        Ok(())
    });
}

/// What `minimesh why` says of one pod.
fn why(namespace: &Namespace, pod: &str, status: i32) -> anyhow::Result<Value> {
    let outcome = namespace.minimesh(&["why", pod, "-o", "json"])?;
    ensure!(
        outcome.code == Some(status),
        "exit status {:?} for {pod} instead of {status}: {}{}",
        outcome.code,
        outcome.stdout,
        outcome.stderr
    );
    serde_json::from_str(&outcome.stdout).with_context(|| format!("no JSON: {}", outcome.stdout))
}
