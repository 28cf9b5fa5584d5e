//! Traffic while nobody controls it.

use std::{
    thread,
    time::{Duration, Instant},
};

use contract::pod::PROXY_CONTAINER;
use e2e::{
    Injection, Manifest, Pod, Progress,
    control_plane::Scaled,
    load::{Connections, Load},
    node::Process,
    policy::of_namespace,
    scenario, wait_for,
};

/// How long there is no control plane.
const OUTAGE: Duration = Duration::from_secs(120);
/// What a sidecar's container may take to be started again.
const RESTART: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn without_a_control_plane_for_two_minutes_no_request_is_lost() {
    scenario("outage", |scene| {
        let namespace = scene.namespace(Injection::Enabled)?;
        let other = scene.namespace(Injection::Enabled)?;
        namespace.apply(&of_namespace("STRICT"))?;
        namespace.apply(&Manifest::read("server.yaml")?)?;
        let client = Manifest::read("client.yaml")?;
        other.apply(&client)?;
        other.apply(&client.named("restarted"))?;
        let (client, restarted) = (other.pod("client"), other.pod("restarted"));
        for pod in [&namespace.pod("server"), &client, &restarted] {
            pod.wait_ready()?;
        }
        let url = format!("http://server.{}/", namespace.name());
        for pod in [&client, &restarted] {
            pod.wait_to_reach(&url)?;
        }

        let begin = Instant::now();
        let kept = Load::start(&client, &url, Connections::Kept)?;
        let new = Load::start(&client, &url, Connections::PerRequest)?;
        let control_plane = Scaled::to_zero()?;
        // A sidecar that begins anew has what it kept, and nobody to ask.
        let n_starts = starts(&restarted)?;
        Process::sidecar(&restarted)?.signal("KILL")?;
        wait_for("the sidecar to be started again", RESTART, || {
            let now = starts(&restarted)?;
            Ok(Progress::when(now > n_starts, || format!("{now} starts")))
        })?;
        restarted.wait_ready()?;
        restarted.wait_to_reach(&url)?;
        // The whole outage is what the test is about; nothing happens that could be waited for.
        thread::sleep(OUTAGE.saturating_sub(begin.elapsed()));
        restarted.wait_to_reach(&url)?;
        control_plane.restore()?;
        for load in [kept, new] {
            load.expect_clean(1000)?;
        }
        Ok(())
    });
}

/// How often the sidecar's container was started again.
fn starts(pod: &Pod) -> anyhow::Result<u64> {
    let object = pod.object()?;
    let lists = ["initContainerStatuses", "containerStatuses"];
    let statuses = lists
        .into_iter()
        .flat_map(|list| object["status"][list].as_array().into_iter().flatten());
    Ok(statuses
        .filter(|status| status["name"] == PROXY_CONTAINER)
        .filter_map(|status| status["restartCount"].as_u64())
        .sum())
}
