//! A pod as a person sees it through kubectl: its state, its containers, its sidecar's words.
//!
//! Every error names namespace and pod. Metrics are scraped through the API server, so the scrape itself passes no sidecar.

use std::{fmt, time::Duration};

use anyhow::{Context, bail};
use contract::{paths, pod, ports};
use serde_json::Value;

use crate::{
    access_log,
    kubectl::{self, Outcome},
    metrics::Metrics,
    report::Report,
    wait::{Progress, wait_for},
};

/// A pod by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    namespace: String,
    name: String,
}

/// How long a pod may take from creation to readiness, on a busy machine.
pub const START: Duration = Duration::from_secs(90);
/// How often a program is run whose output may be lost.
const READS: usize = 3;
/// What counting and writing may take after an answer has arrived.
const SOON: Duration = Duration::from_secs(10);

// === impl Pod ===

impl Pod {
    /// The pod with this name, which need not exist yet.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace's name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pod as the API server has it.
    ///
    /// # Errors
    /// There is none.
    pub fn object(&self) -> anyhow::Result<Value> {
        kubectl::get(&["-n", &self.namespace, "pod", &self.name])
    }

    /// Waits until the pod is ready, and returns it.
    ///
    /// # Errors
    /// It is not in time; the message says in which state it is and what its last events were.
    pub fn wait_ready(&self) -> anyhow::Result<Value> {
        self.wait_for_condition("Ready", START)
    }

    /// Waits until a condition of the pod is true, and returns the pod.
    ///
    /// # Errors
    /// As [`Pod::wait_ready`].
    pub fn wait_for_condition(&self, condition: &str, limit: Duration) -> anyhow::Result<Value> {
        let (wait_for, timeout) = (
            format!("--for=condition={condition}"),
            format!("--timeout={}s", limit.as_secs()),
        );
        let args = [
            "-n",
            &self.namespace,
            "wait",
            "pod",
            &self.name,
            &wait_for,
            &timeout,
        ];
        let outcome = kubectl::try_run(&args, None)?;
        if outcome.success {
            return self.object();
        }
        bail!(
            "{self} is not {condition} after {limit:?}: {}\n{}{}",
            outcome.stderr.trim(),
            self.object()
                .map_or_else(|error| error.to_string(), |pod| state(&pod)),
            self.events()
        )
    }

    /// The last events about the pod, a line each; empty if they cannot be read.
    #[must_use]
    pub fn events(&self) -> String {
        let selector = format!("involvedObject.name={}", self.name);
        let columns = "custom-columns=REASON:.reason,MESSAGE:.message";
        let args = [
            "-n",
            &self.namespace,
            "get",
            "events",
            "--field-selector",
            &selector,
        ];
        let args = [
            &args[..],
            &["--no-headers", "--sort-by=.lastTimestamp", "-o", columns],
        ];
        kubectl::try_run(&args.concat(), None)
            .map_or_else(|_| String::new(), |outcome| outcome.stdout)
    }

    /// The pod's first address.
    ///
    /// # Errors
    /// It has none yet.
    pub fn ip(&self) -> anyhow::Result<String> {
        let object = self.object()?;
        let ip = object["status"]["podIP"].as_str();
        Ok(ip
            .with_context(|| format!("{self} has no address"))?
            .to_owned())
    }

    /// The beginning of the pod's own URLs, `http://10.244.0.7:8080`.
    ///
    /// # Errors
    /// It has no address yet.
    pub fn url(&self, port: u16) -> anyhow::Result<String> {
        let ip = self.ip()?;
        Ok(match ip.contains(':') {
            true => format!("http://[{ip}]:{port}"),
            false => format!("http://{ip}:{port}"),
        })
    }

    /// Standard output of a program in a container.
    ///
    /// # Errors
    /// It fails.
    pub fn exec(&self, container: &str, program: &[&str]) -> anyhow::Result<String> {
        self.try_exec(container, program)?
            .into_stdout(|| format!("in container {container} of {self}: {}", program.join(" ")))
    }

    /// Standard output of a program that prints something and may run twice.
    ///
    /// Now and then the container runtime loses the output of a program that has ended well; then it is asked again.
    ///
    /// # Errors
    /// It fails, or prints nothing time after time.
    pub fn read(&self, container: &str, program: &[&str]) -> anyhow::Result<String> {
        for _ in 0..READS {
            let output = self.exec(container, program)?;
            if !output.is_empty() {
                return Ok(output);
            }
        }
        bail!(
            "in container {container} of {self}: {} printed nothing, {READS} times",
            program.join(" ")
        )
    }

    /// Runs a program in a container where failing is what the test wants to see.
    ///
    /// # Errors
    /// kubectl cannot be started.
    pub fn try_exec(&self, container: &str, program: &[&str]) -> anyhow::Result<Outcome> {
        kubectl::try_run(&self.exec_args(&[], container, program), None)
    }

    /// Runs a client of the test server in container `client`, whose exit code the report replaces.
    ///
    /// It runs again where its report was lost, as in [`Pod::read`].
    ///
    /// # Errors
    /// It prints no report.
    pub fn report(&self, args: &[&str]) -> anyhow::Result<Report> {
        let program = [&["test-server"], args].concat();
        let mut outcome = self.try_exec("client", &program)?;
        for _ in 1..READS {
            if !outcome.success || !outcome.stdout.is_empty() {
                break;
            }
            outcome = self.try_exec("client", &program)?;
        }
        Report::parse(&outcome.stdout).with_context(|| {
            format!(
                "in {self}: test-server {}: {}",
                args.join(" "),
                outcome.stderr.trim()
            )
        })
    }

    /// Waits until a page is got with a good status by curl in container `shell`.
    ///
    /// A Service refuses connections until its node has heard of the pods that became ready behind it, with a sidecar or without.
    ///
    /// # Errors
    /// It is not got soon.
    pub fn wait_to_reach(&self, url: &str) -> anyhow::Result<()> {
        let program = ["curl", "-sSf", "--max-time", "5", "-o", "/dev/null", url];
        wait_for(&format!("{self} to reach {url}"), SOON, || {
            let outcome = self.try_exec("shell", &program)?;
            Ok(Progress::when(outcome.success, || outcome.stderr.clone()))
        })
    }

    /// Arguments of `kubectl exec`, for programs that a test talks to while they run.
    #[must_use]
    pub fn exec_args<'a>(
        &'a self,
        flags: &[&'a str],
        container: &'a str,
        program: &[&'a str],
    ) -> Vec<&'a str> {
        let pod = ["-n", &self.namespace, "exec", &self.name, "-c", container];
        [&pod[..], flags, &["--"], program].concat()
    }

    /// The log of a container.
    ///
    /// # Errors
    /// There is no such container, or it has not started.
    pub fn logs(&self, container: &str) -> anyhow::Result<String> {
        kubectl::run(&["-n", &self.namespace, "logs", &self.name, "-c", container])
    }

    /// The lines of the sidecar's access log for requests with this path.
    ///
    /// # Errors
    /// The log cannot be read, or there is no such line soon.
    pub fn access_log(&self, path: &str) -> anyhow::Result<Vec<access_log::Line>> {
        wait_for(&format!("{path} in the access log of {self}"), SOON, || {
            let log = self.logs(pod::PROXY_CONTAINER)?;
            let mut lines = access_log::Line::all(&log);
            lines.retain(|line| line.path == path);
            Ok(if lines.is_empty() {
                Progress::Waiting(last_lines(&log, 5))
            } else {
                Progress::Done(lines)
            })
        })
    }

    /// The sidecar's metrics.
    ///
    /// # Errors
    /// They cannot be scraped.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        self.page(ports::STATUS, paths::STATS_PROMETHEUS)
            .map(|page| Metrics::parse(&page))
    }

    /// A page of the pod, through the API server.
    ///
    /// # Errors
    /// The API server does not get it with a good status in some seconds.
    pub fn page(&self, port: u16, path: &str) -> anyhow::Result<String> {
        let url = format!(
            "/api/v1/namespaces/{}/pods/{}:{port}/proxy{path}",
            self.namespace, self.name
        );
        kubectl::run(&["get", "--raw", &url, "--request-timeout=5s"])
    }

    /// Waits until a sum of the sidecar's metrics is at least `minimum`.
    ///
    /// # Errors
    /// It is not soon; the message shows the samples whose name begins alike.
    pub fn wait_for_metric(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        minimum: f64,
    ) -> anyhow::Result<()> {
        let what = format!("{name}{labels:?} of {self} to reach {minimum}");
        wait_for(&what, SOON, || {
            let metrics = self.metrics()?;
            let reached = metrics.sum(name, labels) >= minimum;
            Ok(Progress::when(reached, || metrics.shown(name)))
        })
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{}", self.namespace, self.name)
    }
}

/// Phase and containers of a pod, a line each.
fn state(pod: &Value) -> String {
    let status = &pod["status"];
    let mut text = format!("phase {}\n", status["phase"].as_str().unwrap_or("unknown"));
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            let (ready, restarts) = (&container["ready"], &container["restartCount"]);
            text.push_str(&format!(
                "  {name}: ready {ready}, {restarts} restarts, {}\n",
                container["state"]
            ));
        }
    }
    text
}

fn last_lines(text: &str, n: usize) -> String {
    let mut lines: Vec<_> = text.lines().rev().take(n).collect();
    lines.reverse();
    lines.join("\n")
}
