//! Without a working sidecar a pod has no traffic: none passes by unseen.

use std::time::Duration;

use anyhow::ensure;
use contract::pod;
use e2e::{
    Injection, Manifest, Pod, Progress, kubectl::Outcome, node::Process, scenario, wait_for,
};

use super::sidecar::Sidecar;

/// A pod of the mesh, one outside, and the URLs at which they reach each other.
struct Pair {
    member: Pod,
    stranger: Pod,
    member_url: String,
    stranger_url: String,
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn nothing_passes_by_a_sidecar_that_is_frozen_or_dead() {
    nothing_passes_by(Sidecar::Native);
}

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn nothing_passes_by_an_ordinary_sidecar_that_is_frozen_or_dead() {
    nothing_passes_by(Sidecar::Ordinary);
}

fn nothing_passes_by(sidecar: Sidecar) {
    scenario(
        sidecar.suffix("fail-closed", "fail-closed-ordinary"),
        |scene| {
            let inside = scene.namespace(Injection::Enabled)?;
            let outside = scene.namespace(Injection::Unlabelled)?;
            inside.apply(&sidecar.asked_by(Manifest::read("client.yaml")?))?;
            outside.apply(&Manifest::read("client.yaml")?)?;
            let (member, stranger) = (inside.pod("client"), outside.pod("client"));
            member.wait_ready()?;
            stranger.wait_ready()?;
            let pair = Pair {
                member_url: member.url(8080)?,
                stranger_url: stranger.url(8080)?,
                member,
                stranger,
            };
            pair.both_directions_work("before")?;

            let frozen = Process::sidecar(&pair.member)?.freeze()?;
            pair.both_directions_fail("frozen")?;
            frozen.thaw()?;
            pair.both_directions_work("thawed")?;

            kill_until_the_kubelet_backs_off(&pair.member)?;
            pair.both_directions_fail("dead")?;
            pair.member.wait_ready()?;
            pair.both_directions_work("restarted")
        },
    );
}

/// The kubelet restarts a container at once the first time, and after ten seconds the second; those are long enough to look.
fn kill_until_the_kubelet_backs_off(pod: &Pod) -> anyhow::Result<()> {
    let limit = Duration::from_secs(30);
    wait_for(&format!("the sidecar of {pod} to stay dead"), limit, || {
        let object = pod.object()?;
        let state = ["initContainerStatuses", "containerStatuses"]
            .into_iter()
            .flat_map(|list| object["status"][list].as_array().into_iter().flatten())
            .find(|status| status["name"] == pod::PROXY_CONTAINER)
            .map(|status| status["state"].clone())
            .unwrap_or_default();
        if state["waiting"]["reason"] == "CrashLoopBackOff" {
            return Ok(Progress::Done(()));
        }
        if let Ok(process) = Process::sidecar(pod) {
            // It may have ended since.
            let _ = process.signal("KILL");
        }
        Ok(Progress::Waiting(state.to_string()))
    })
}

// === impl Pair ===

impl Pair {
    fn directions(&self) -> [(&'static str, &Pod, &Pod, &str); 2] {
        [
            ("in", &self.stranger, &self.member, &self.member_url),
            ("out", &self.member, &self.stranger, &self.stranger_url),
        ]
    }

    fn both_directions_work(&self, when: &str) -> anyhow::Result<()> {
        for (direction, from, to, url) in self.directions() {
            let path = format!("/{when}-{direction}");
            let what = format!("{path} from {from} to arrive at {to}");
            wait_for(&what, Duration::from_secs(10), || {
                let outcome = ask(from, url, &path)?;
                Ok(Progress::when(outcome.success, || outcome.stderr.clone()))
            })?;
            ensure!(
                has_seen(to, &path)?,
                "{path} worked, but {to} has not seen it"
            );
        }
        Ok(())
    }

    fn both_directions_fail(&self, when: &str) -> anyhow::Result<()> {
        for (direction, from, to, url) in self.directions() {
            let path = format!("/{when}-{direction}");
            let outcome = ask(from, url, &path)?;
            ensure!(
                !outcome.success && outcome.stderr.contains("curl"),
                "{path} from {from} should have failed in curl, saw {outcome:?}"
            );
            ensure!(!has_seen(to, &path)?, "{path} failed, but {to} has seen it");
        }
        Ok(())
    }
}

fn has_seen(pod: &Pod, path: &str) -> anyhow::Result<bool> {
    Ok(pod
        .logs("client")?
        .lines()
        .any(|line| line == format!("GET {path}")))
}

fn ask(from: &Pod, url: &str, path: &str) -> anyhow::Result<Outcome> {
    let url = format!("{url}{path}");
    from.try_exec("shell", &["curl", "-sSf", "--max-time", "2", &url])
}
