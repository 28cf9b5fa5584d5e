//! How long pods wait for their sidecars when many start at once, certificate and first picture of the mesh included.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Context, ensure};
use e2e::{Injection, Manifest, scenario};
use serde_json::json;

/// Pods that start together.
const N_PODS: usize = 20;
const METRIC: &str = "istio_agent_startup_duration_seconds";
/// Far more than it takes on a machine with nothing else to do; what is measured is printed.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn twenty_pods_that_start_at_once_are_soon_ready() {
    scenario("startup", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let replicas = json!({"spec": {"replicas": N_PODS}});
        namespace.apply(&Manifest::read("rolling.yaml")?.changed("Deployment", &replicas))?;
        namespace.run(&["rollout", "status", "deployment/rolling", "--timeout=240s"])?;
        let pods = namespace.pods("app=rolling")?;
        ensure!(pods.len() >= N_PODS, "{} pods", pods.len());
        let mut times = Vec::new();
        for pod in &pods {
            let took = pod.metrics()?.sum(METRIC, &[]);
            ensure!(took > 0.0, "{pod} does not tell how long its start took");
            times.push(Duration::from_secs_f64(took));
        }
        times.sort_unstable();
        let at = |part: usize| times.get((times.len() - 1) * part / 100).copied();
        let (half, last) = at(50).zip(at(99)).context("no pods")?;
        // Past the test's capture, so that it is seen when all is well.
        writeln!(
            io::stderr(),
            "start to ready of {} sidecars: p50 {} ms, p99 {} ms",
            times.len(),
            half.as_millis(),
            last.as_millis()
        )?;
        ensure!(last < LIMIT, "the slowest took {} ms", last.as_millis());
        Ok(())
    });
}
