//! Load on one contender, and what it cost.
//!
//! Called by `path` for every contender in turn; starts wrk or the bench's own client in the client's pod and reads what the kernel
//! counted for the proxies meanwhile. Nothing that counts runs during what is timed: system calls have runs of their own.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::Signal;
use testkit::process::Process;

use super::{
    super::{cpu_us, wrk},
    contender::{Contender, PEER_PORT, Proxy},
};
use crate::{lab, project};

/// The programs that make load.
pub(super) struct Tools<'a> {
    pub(super) wrk: &'a Path,
    /// Script that has wrk print what it does not by itself.
    pub(super) script: &'a Path,
    /// This program, where every user may run it.
    pub(super) xtask: &'a Path,
}

/// What wrk does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) connections: u32,
    pub(super) seconds: u32,
    pub(super) port: u16,
    /// Whether every request has a connection of its own.
    pub(super) closes: bool,
}

/// What wrk and the kernel say of one run.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) run: wrk::Run,
    /// CPU microseconds a request, of each proxy.
    pub(super) cpu_us: Vec<f64>,
}

/// A transfer of bytes in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Down,
    Up,
}

/// What a transfer cost.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) bytes_per_second: f64,
    /// CPU seconds a GiB, of each proxy.
    pub(super) cpu_s_per_gib: Vec<f64>,
}

/// The kernel closes the connections of one run before the next begins.
const PAUSE: Duration = Duration::from_millis(200);
const GIB: f64 = (1_u64 << 30) as f64;

// === impl Tools ===

impl Tools<'_> {
    /// Requests through a contender.
    pub(super) fn requests(&self, contender: &Contender, shape: Shape) -> anyhow::Result<Sample> {
        let before = cpu(contender)?;
        let run = self.wrk(contender, shape, self.wrk.as_os_str().into(), &[])?;
        let after = cpu(contender)?;
        let each = after.iter().zip(&before);
        let sample = Sample {
            run,
            cpu_us: each
                .map(|(after, before)| (after - before) / run.n_requests)
                .collect(),
        };
        contender.forget_logs()?;
        thread::sleep(PAUSE);
        Ok(sample)
    }

    /// System calls that each proxy makes for a request.
    pub(super) fn system_calls(
        &self,
        contender: &Contender,
        shape: Shape,
        folder: &Path,
    ) -> anyhow::Result<Vec<f64>> {
        if contender.proxies().next().is_none() {
            return Ok(Vec::new());
        }
        // One perf starts the next, and the last one wrk: each counts for as long as wrk runs.
        let perf = project::find_program("perf")
            .context("perf is not installed: apt-get install linux-perf")?;
        let mut words = Vec::new();
        let mut files = Vec::new();
        for (position, proxy) in contender.proxies().enumerate() {
            let file = folder.join(format!("perf-{position}"));
            if position > 0 {
                words.push(perf.clone().into_os_string());
            }
            words.extend(["stat", "-x,", "-e", "raw_syscalls:sys_enter"].map(Into::into));
            words.extend(["-p".into(), proxy.process.id().to_string().into()]);
            words.extend(["-o".into(), file.clone().into_os_string(), "--".into()]);
            files.push(file);
        }
        words.push(self.wrk.as_os_str().into());
        let run = self.wrk(contender, shape, perf.into_os_string(), &words)?;
        contender.forget_logs()?;
        thread::sleep(PAUSE);
        let counts = files.iter().map(|file| count(&fs::read_to_string(file)?));
        let counts = counts.collect::<anyhow::Result<Vec<f64>>>()?;
        Ok(counts.iter().map(|count| count / run.n_requests).collect())
    }

    /// Runs wrk in the client's pod, by `program` with `words` before wrk's own arguments.
    fn wrk(
        &self,
        contender: &Contender,
        shape: Shape,
        program: std::ffi::OsString,
        words: &[std::ffi::OsString],
    ) -> anyhow::Result<wrk::Run> {
        let mut command = Command::new(program);
        command.args(words);
        wrk::configure(&mut command, shape.connections, shape.seconds);
        command.arg("--script").arg(self.script);
        if shape.closes {
            command.args(["--header", "Connection: close"]);
        }
        command.arg(format!("http://{}:{}/", contender.address(), shape.port));
        if words.is_empty() {
            // Only root may count another user's system calls; the rules capture both alike.
            command.uid(lab::APP_ID).gid(lab::APP_ID);
        }
        let output = contender.client.plain.pod.output(&mut command)?;
        ensure!(
            output.status.success(),
            "wrk failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        wrk::Run::parse(&String::from_utf8_lossy(&output.stdout))
            .with_context(|| format!("through {}", contender.named.name))
    }

    /// Moves bytes over one connection.
    pub(super) fn transfer(
        &self,
        contender: &Contender,
        direction: Direction,
        bytes: u64,
    ) -> anyhow::Result<Transfer> {
        let what = match direction {
            Direction::Down => "pull",
            Direction::Up => "push",
        };
        let mut command = self.caller(contender);
        command.args([what, &bytes.to_string()]);
        let before = cpu(contender)?;
        let output = contender.client.plain.pod.output(&mut command)?;
        let after = cpu(contender)?;
        if !output.status.success() {
            bail!(
                "no {what} through {}: {}",
                contender.named.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let seconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let bytes = bytes as f64;
        let each = after.iter().zip(&before);
        contender.forget_logs()?;
        thread::sleep(PAUSE);
        Ok(Transfer {
            bytes_per_second: bytes / seconds,
            cpu_s_per_gib: each
                .map(|(after, before)| (after - before) / 1e6 / (bytes / GIB))
                .collect(),
        })
    }

    /// Opens connections with a request on each, all at once, and runs `f` while they are idle.
    pub(super) fn hold<T>(
        &self,
        contender: &Contender,
        count: usize,
        f: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut command = self.caller(contender);
        command
            .args(["hold", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = contender.client.plain.pod.spawn(&mut command)?;
        let output = child.stdout.take().context("a pipe was asked for")?;
        let holder = Process::new("holder of connections", child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(
            line.trim() == "held",
            "{count} connections through {} are not all answered",
            contender.named.name
        );
        let outcome = f();
        holder.signal(Signal::SIGKILL)?;
        outcome
    }

    fn caller(&self, contender: &Contender) -> Command {
        let mut command = Command::new(self.xtask);
        command
            .args(["bench-call", "--ip", &contender.address().to_string()])
            .args(["--port", &PEER_PORT.to_string()])
            .uid(lab::APP_ID)
            .gid(lab::APP_ID);
        command
    }
}

/// CPU time of each proxy so far, in microseconds.
fn cpu(contender: &Contender) -> anyhow::Result<Vec<f64>> {
    contender
        .proxies()
        .map(|proxy: &Proxy| cpu_us(&proxy.process))
        .collect()
}

/// The number in what `perf stat -x,` wrote.
fn count(text: &str) -> anyhow::Result<f64> {
    text.lines()
        .find(|line| line.contains("raw_syscalls"))
        .and_then(|line| line.split(',').next()?.parse().ok())
        .with_context(|| format!("perf counted nothing:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_perf_is_read() {
        let text = "# started on Sat Nov 21\n\n11763,,raw_syscalls:sys_enter,8003,100.00,,\n";
        assert!((count(text).unwrap() - 11763.0).abs() < f64::EPSILON);
        assert!(count("<not counted>,,raw_syscalls:sys_enter,0,0.00,,").is_err());
    }
}
