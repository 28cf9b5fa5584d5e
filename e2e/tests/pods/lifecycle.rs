//! Pods end as they should: Jobs complete, and a rolling restart loses no request.

use anyhow::{Context, ensure};
use contract::pod;
use e2e::{
    Injection, Manifest,
    load::{Connections, Load},
    scenario,
};

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_job_with_a_sidecar_completes() {
    scenario("job", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        namespace.apply(&Manifest::read("server.yaml")?)?;
        namespace.pod("server").wait_ready()?;
        namespace.apply(&Manifest::read("job.yaml")?)?;
        let completed = [
            "wait",
            "job/job",
            "--for=condition=Complete",
            "--timeout=60s",
        ];
        let outcome = namespace.try_run(&completed, None)?;
        let pods = namespace.pods("app=job")?;
        let pod = pods.first().context("the Job made no pod")?;
        ensure!(
            outcome.success,
            "the Job did not complete: {}\n{:#}\n{}",
            outcome.stderr,
            pod.object()?["status"],
            pod.events()
        );
        let lines = pod.access_log("/")?;
        ensure!(lines.len() == 10, "expected ten lines, saw {lines:?}");
        let phase = pod.object()?["status"]["phase"].clone();
        ensure!(
            phase == "Succeeded",
            "{pod} has {} and phase {phase}",
            pod::PROXY_CONTAINER
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn a_rolling_restart_loses_no_request() {
    scenario("rolling", |scene| {
        let inside = scene.namespace(Injection::Enabled)?;
        let outside = scene.namespace(Injection::Unlabelled)?;
        inside.apply(&Manifest::read("rolling.yaml")?)?;
        let client = Manifest::read("client.yaml")?;
        inside.apply(&client)?;
        outside.apply(&client)?;
        let clients = [inside.pod("client"), outside.pod("client")];
        for client in &clients {
            client.wait_ready()?;
        }
        let status = ["rollout", "status", "deployment/rolling", "--timeout=90s"];
        inside.run(&status)?;
        let old = inside.pods("app=rolling")?;
        ensure!(old.len() == 2, "expected two pods of nginx, saw {old:?}");

        let url = format!("http://rolling.{}/", inside.name());
        let loads: Vec<_> = clients
            .iter()
            .map(|client| Load::start(client, &url, Connections::PerRequest))
            .collect::<Result<_, _>>()?;
        inside.run(&["rollout", "restart", "deployment/rolling"])?;
        inside.run(&status)?;
        for pod in &old {
            let name = format!("pod/{}", pod.name());
            inside.run(&["wait", "--for=delete", &name, "--timeout=60s"])?;
        }
        for load in loads {
            load.expect_clean(100)?;
        }
        Ok(())
    });
}
