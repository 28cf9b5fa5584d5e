//! What happens to a pod while it works: certificates, a changing mesh, scrapes, rotated logs, switched levels.
//!
//! A thread for each sidecar, inside its pod; nothing of this may cost a request.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, ensure};
use contract::{paths, ports};
use nix::sys::signal::Signal;
use serde_json::json;
use testkit::http;

use super::{
    Stop,
    pair::{Pair, Side},
    tally::Tally,
};

const PERIOD: Duration = Duration::from_millis(300);
const LIMIT: Duration = Duration::from_secs(20);

/// Disturbs until the soak is over.
pub(super) fn run(pair: &Pair, side: &Side, tally: &Tally, stop: &Stop) {
    for round in 0_u64.. {
        if !stop.pause(PERIOD) {
            return;
        }
        let outcome = match round % 6 {
            0 | 3 => scrape(),
            1 => rotate(side),
            2 => change_mesh(pair, round),
            4 => switch_levels(round),
            _ => renew(pair),
        };
        match outcome {
            Ok(()) => tally.disturbed(),
            Err(error) => tally.wrong(format!("{}: {error:#}", side.captured.name)),
        }
    }
}

fn scrape() -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::STATUS));
    let page = http::get(address, paths::STATS_PROMETHEUS, LIMIT).context("no scrape")?;
    ensure!(
        page.status == 200 && page.body.contains("minimesh_active_connections"),
        "a scrape gave {}",
        page.status
    );
    Ok(())
}

/// As logrotate does.
fn rotate(side: &Side) -> anyhow::Result<()> {
    fs::rename(&side.access_log, side.access_log.with_extension("1"))?;
    side.sidecar.signal(Signal::SIGUSR1)?;
    let is_anew = testkit::process::eventually(LIMIT, || side.access_log.exists());
    ensure!(is_anew, "the access log was not opened anew");
    Ok(())
}

/// Services come and go; those of the pair stay. Both sides change the same file, each time as a whole.
fn change_mesh(pair: &Pair, round: u64) -> anyhow::Result<()> {
    let mut mesh = pair.mesh.beginning.clone();
    let services = mesh["services"].as_array_mut().context("no services")?;
    for n in 0..(round * 7) % 300 {
        services.push(json!({
            "name": format!("other-{n}"),
            "namespace": "default",
            "addresses": [format!("10.96.{}.{}", n / 250, n % 250 + 1)],
            "ports": [{ "servicePort": 80, "name": "http" }],
        }));
    }
    let own = pair
        .mesh
        .file
        .with_extension(format!("{:?}", std::thread::current().id()));
    fs::write(&own, mesh.to_string())?;
    Ok(fs::rename(own, &pair.mesh.file)?)
}

fn switch_levels(round: u64) -> anyhow::Result<()> {
    let level = ["info", "debug", "warn"][usize::try_from(round / 6 % 3)?];
    let format = ["text", "json"][usize::try_from(round / 6 % 2)?];
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, ports::ADMIN))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "POST /logging?level={level}&access_log={format} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "/logging: {answer:?}");
    Ok(())
}

/// New keys and certificates for both sides, file by file, so that some do not belong together for a moment.
fn renew(pair: &Pair) -> anyhow::Result<()> {
    if let Some(issuer) = &pair.issuer {
        issuer.lock().expect("nobody panics with it").issue()?;
    }
    Ok(())
}
