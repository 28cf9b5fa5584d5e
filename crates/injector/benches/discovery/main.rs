//! What discovery costs: 10 000 pods behind 5 000 Services, and 1 000 sidecars that each talk to 20 of them, all over TLS.
//!
//! Run by `cargo xtask bench discovery`. The program starts itself again as the server, so that memory and CPU time are those of the server alone:
//! gRPC with everything of it but the API server, whose objects are made up. Then one pod that all sidecars know changes, over and over.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

mod cluster;
mod server;
mod sidecar;

use std::{
    env, fs,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use runtime::task::Group;
use tokio::{sync::mpsc, time};

use server::Background;
use sidecar::Sidecar;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_SIDECARS: usize = 1_000;
const N_CHANGES: usize = 200;
/// What a change may take until the last sidecar has heard of it, before something is wrong with the bench.
const LIMIT: Duration = Duration::from_secs(60);
/// Makes the program the server.
const SERVE: &str = "--serve";

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if env::args().any(|arg| arg == SERVE) {
        return runtime.block_on(server::serve());
    }
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let mut server = Background::start()?;
    let tasks = Group::new();
    let (told, mut hears) = mpsc::channel(N_SIDECARS);
    let (began, idle) = (Instant::now(), server.memory()?);
    let mut n_bytes = 0;
    for number in 0..N_SIDECARS {
        let mut sidecar = Sidecar::open(number, &server, &tasks).await?;
        sidecar.ask(&sidecar::services_of(number)).await?;
        n_bytes += sidecar.n_bytes;
        let told = told.clone();
        tasks.spawn("sidecar", async move {
            while sidecar.next().await.is_ok() && told.send(()).await.is_ok() {}
        });
    }
    let open = server.memory()?;
    println!(
        "{N_SIDECARS} sidecars that ask for {} Services each: {open}, {:.1} KiB and {} bytes told for each, all within {:.1} s",
        sidecar::N_ASKED,
        (open.anonymous - idle.anonymous) / N_SIDECARS as f64,
        n_bytes / N_SIDECARS,
        began.elapsed().as_secs_f64(),
    );
    change(&mut server, &mut hears).await?;

    let began = Instant::now();
    let mut all = Sidecar::open(N_SIDECARS, &server, &tasks).await?;
    all.ask(&["*".to_owned()]).await?;
    println!(
        "one more that asks for everything: {}, {} bytes told within {:.0} ms",
        server.memory()?,
        all.n_bytes,
        began.elapsed().as_secs_f64() * 1e3,
    );
    tasks.cancel();
    server.end()
}

/// Changes a pod that every sidecar has been told of, and waits each time until all have heard.
async fn change(server: &mut Background, hears: &mut mpsc::Receiver<()>) -> anyhow::Result<()> {
    let mut last = Vec::new();
    let cpu = server.cpu()?;
    for _ in 0..N_CHANGES {
        let began = Instant::now();
        server.change()?;
        for _ in 0..N_SIDECARS {
            let heard = time::timeout(LIMIT, hears.recv());
            heard.await.context("a sidecar in time")?.context("one")?;
        }
        last.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let cpu = (server.cpu()? - cpu).as_secs_f64() / N_CHANGES as f64;
    last.sort_by(f64::total_cmp);
    println!(
        "{N_CHANGES} changes, each told to all of them: {}, the last has heard after p50 {:.0} ms, p99 {:.0} ms; {:.1} ms of CPU each",
        server.memory()?,
        last[N_CHANGES / 2],
        last[N_CHANGES * 99 / 100],
        cpu * 1e3,
    );
    Ok(())
}

/// What a process has in memory, in KiB.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    anonymous: f64,
}

impl Memory {
    fn of(process: &str) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok::<f64, anyhow::Error>(number.context("a line of the status")?.parse()?)
        };
        Ok(Self {
            resident: kib("VmRSS:")?,
            anonymous: kib("RssAnon:")?,
        })
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (resident, anonymous) = (self.resident / 1024.0, self.anonymous / 1024.0);
        write!(f, "VmRSS {resident:.1} MB, RssAnon {anonymous:.1} MB")
    }
}
