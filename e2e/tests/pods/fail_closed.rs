//! Without a working sidecar a pod has no traffic: none passes by unseen.

use std::{panic::resume_unwind, thread, time::Duration};

use anyhow::{bail, ensure};
use contract::{pod, ports};
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

/// One way through the sidecar.
struct Direction<'a> {
    name: &'static str,
    from: &'a Pod,
    to: &'a Pod,
    url: &'a str,
}

/// What a sidecar may take to be back: the kubelet's back-off, and a start.
const RECOVERY: Duration = Duration::from_secs(60);

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

            pair.both_directions_fail_while_frozen()?;
            pair.both_directions_work("thawed")?;

            pair.both_directions_fail_while_dead()?;
            pair.member.wait_ready()?;
            pair.both_directions_work("restarted")
        },
    );
}

/// The kubelet restarts a container at once the first time, and after ten seconds the second; those are long enough to look.
fn kill_until_the_kubelet_backs_off(pod: &Pod) -> anyhow::Result<()> {
    let limit = Duration::from_secs(60);
    let what = format!("the sidecar of {pod} to stay dead");
    wait_for(&what, limit, || {
        if is_dead(pod)? && is_backed_off(pod)? {
            return Ok(Progress::Done(()));
        }
        if let Ok(process) = Process::sidecar(pod) {
            // It may have ended since.
            let _ = process.signal("KILL");
        }
        Ok(Progress::Waiting("it runs again".to_owned()))
    })
}

/// What the API server says of a container may be old by seconds, what the kernel says is not.
fn is_dead(pod: &Pod) -> anyhow::Result<bool> {
    let application = Process::of_container(pod, "client")?;
    Ok(!application.is_port_open(ports::INBOUND)?)
}

fn is_backed_off(pod: &Pod) -> anyhow::Result<bool> {
    let object = pod.object()?;
    Ok(["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| object["status"][list].as_array().into_iter().flatten())
        .filter(|status| status["name"] == pod::PROXY_CONTAINER)
        .any(|status| status["state"]["waiting"]["reason"] == "CrashLoopBackOff"))
}

// === impl Pair ===

impl Pair {
    fn directions(&self) -> [Direction<'_>; 2] {
        [
            Direction {
                name: "in",
                from: &self.stranger,
                to: &self.member,
                url: &self.member_url,
            },
            Direction {
                name: "out",
                from: &self.member,
                to: &self.stranger,
                url: &self.stranger_url,
            },
        ]
    }

    /// Tries both directions at the same time, because what is to be seen may not last.
    fn both(
        &self,
        when: &str,
        one: impl Fn(&Direction<'_>, &str) -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<()> {
        let one = &one;
        thread::scope(|scope| {
            let tries: Vec<_> = self
                .directions()
                .into_iter()
                .map(|direction| {
                    let path = format!("/{when}-{}", direction.name);
                    scope.spawn(move || one(&direction, &path))
                })
                .collect();
            tries.into_iter().try_for_each(|one| match one.join() {
                Ok(result) => result,
                Err(panic) => resume_unwind(panic),
            })
        })
    }

    fn both_directions_work(&self, when: &str) -> anyhow::Result<()> {
        self.both(when, |Direction { from, to, url, .. }, path| {
            let what = format!("{path} from {from} to arrive at {to}");
            wait_for(&what, RECOVERY, || {
                let outcome = ask(from, url, path)?;
                Ok(Progress::when(outcome.success, || outcome.stderr.clone()))
            })?;
            ensure!(
                has_seen(to, path)?,
                "{path} worked, but {to} has not seen it"
            );
            Ok(())
        })
    }

    fn both_directions_fail(&self, when: &str) -> anyhow::Result<()> {
        self.both(when, |Direction { from, to, url, .. }, path| {
            let outcome = ask(from, url, path)?;
            ensure!(
                !outcome.success && outcome.stderr.contains("curl"),
                "{path} from {from} should have failed in curl, saw {outcome:?}"
            );
            ensure!(!has_seen(to, path)?, "{path} failed, but {to} has seen it");
            Ok(())
        })
    }

    /// Somebody else may wake the process before both directions were tried; what was seen then says nothing.
    fn both_directions_fail_while_frozen(&self) -> anyhow::Result<()> {
        for attempt in ["frozen", "frozen-again", "frozen-once-more"] {
            let frozen = Process::sidecar(&self.member)?.freeze()?;
            let result = self.both_directions_fail(attempt);
            if frozen.holds()? {
                frozen.thaw()?;
                return result;
            }
        }
        bail!("the sidecar of {} does not stay frozen", self.member)
    }

    /// On a busy machine the kubelet may have started the sidecar again before both directions were tried. What was seen then says
    /// nothing, and the next time is longer: the kubelet doubles it.
    fn both_directions_fail_while_dead(&self) -> anyhow::Result<()> {
        for attempt in ["dead", "dead-again", "dead-once-more"] {
            kill_until_the_kubelet_backs_off(&self.member)?;
            let result = self.both_directions_fail(attempt);
            if is_dead(&self.member)? {
                return result;
            }
        }
        bail!(
            "the sidecar of {} was never dead for long enough",
            self.member
        )
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
