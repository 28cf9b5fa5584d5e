//! `kubectl` as a function: arguments in, text or JSON out.
//!
//! Everything that the harness does to the cluster passes here. A command that fails is an error with the command line and what
//! kubectl said; [`try_run`] is for where failing is what the test wants to see.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    thread,
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::environment::environment;

/// What a command said and whether it succeeded.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the exit code was 0.
    pub success: bool,
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// Standard output, with broken UTF-8 replaced.
    pub stdout: String,
    /// Standard error, alike.
    pub stderr: String,
}

/// A kubectl command with `args`, not yet started.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(&environment().kubectl);
    command.args(args);
    command
}

/// Standard output of kubectl.
///
/// # Errors
/// It cannot be started or fails.
pub fn run(args: &[&str]) -> anyhow::Result<String> {
    finish(command(args), None)?.into_stdout(|| shown(args))
}

/// Standard output of kubectl with `input` on its standard input.
///
/// # Errors
/// It cannot be started or fails.
pub fn run_with_input(args: &[&str], input: &str) -> anyhow::Result<String> {
    finish(command(args), Some(input))?.into_stdout(|| shown(args))
}

/// What kubectl said, whether it succeeded or not.
///
/// # Errors
/// It cannot be started.
pub fn try_run(args: &[&str], input: Option<&str>) -> anyhow::Result<Outcome> {
    finish(command(args), input)
}

/// What `kubectl get … -o json` prints.
///
/// # Errors
/// There is no such object, or kubectl fails otherwise.
pub fn get(args: &[&str]) -> anyhow::Result<Value> {
    let mut all = vec!["get", "-o", "json"];
    all.extend(args);
    serde_json::from_str(&run(&all)?).with_context(|| format!("{} printed no JSON", shown(&all)))
}

/// The items of a list that `kubectl get … -o json` prints.
///
/// # Errors
/// As [`get`].
pub fn list(args: &[&str]) -> anyhow::Result<Vec<Value>> {
    match get(args)?.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => bail!("kubectl get {} gave no list", args.join(" ")),
    }
}

/// Runs any command to its end.
///
/// # Errors
/// It cannot be started.
pub fn finish(mut command: Command, input: Option<&str>) -> anyhow::Result<Outcome> {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let pipe = child.stdin.take();
    let output = thread::scope(|scope| {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // A program that does not read all of it says itself why.
            scope.spawn(move || drop(pipe.write_all(input.as_bytes())));
        }
        child.wait_with_output()
    });
    Ok(Outcome::of(
        &output.with_context(|| format!("cannot wait for {program}"))?,
    ))
}

fn shown(args: &[&str]) -> String {
    format!("kubectl {}", args.join(" "))
}

// === impl Outcome ===

impl Outcome {
    fn of(output: &Output) -> Self {
        Self {
            success: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a success.
    ///
    /// # Errors
    /// The command failed; `what` names it.
    pub fn into_stdout(self, what: impl FnOnce() -> String) -> anyhow::Result<String> {
        if self.success {
            return Ok(self.stdout);
        }
        bail!(
            "{} failed: {}{}",
            what(),
            self.stderr.trim(),
            self.stdout.trim()
        )
    }
}
