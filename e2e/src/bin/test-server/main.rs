//! The other end of the cluster tests: servers that echo, clients that count, and somebody else's admission webhook.
//!
//! Runs as the image `minimesh/test-server`, in which there is no shell; tests call the clients by `kubectl exec` and read the JSON
//! that they print. Names are resolved by hickory, because the program is static and must not call libc's resolver.

mod capture;
mod client;
mod report;
mod serve;
mod target;
mod webhook;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Servers and clients for the cluster tests of minimesh.
#[derive(Debug, Parser)]
#[command(name = "test-server", version, max_term_width = 110)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP and WebSocket echo on one port and TCP echo on another, until SIGTERM.
    Serve(serve::Args),
    /// Be an admission webhook of somebody else: add a container with a probe to every pod.
    Webhook(webhook::Args),
    /// Listen on the links of a node, and tell whether a text can be read there.
    Capture(capture::Args),
    /// Send requests one after the other and report how they went.
    Get(client::http::GetArgs),
    /// Send requests for some time and report how they went.
    Load(client::http::LoadArgs),
    /// Upgrade to WebSocket, have messages echoed and report how it went.
    Websocket(client::websocket::Args),
    /// Have bytes echoed over TCP and report how it went.
    TcpEcho(client::tcp::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("test-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    // The first process of a container has no default action for signals, so it must ask for this one.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = perform(command) => result,
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
    }
}

async fn perform(command: Command) -> anyhow::Result<ExitCode> {
    let report = match command {
        Command::Serve(args) => return serve::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Webhook(args) => return webhook::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Capture(args) => return capture::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Get(args) => client::http::get(&args).await?,
        Command::Load(args) => client::http::load(&args).await?,
        Command::Websocket(args) => client::websocket::run(&args).await?,
        Command::TcpEcho(args) => client::tcp::run(&args).await?,
    };
    let is_clean = report.print()?;
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Parses `30s` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration such as 30s or 500ms");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_millis(u64::from(number) * unit))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["30", "s", "-1s", "1.5s", "1h", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
