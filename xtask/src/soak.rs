//! `cargo xtask soak`: two pairs of pods under load and faults, for as long as is asked for.
//!
//! One pair speaks plaintext, the other mutual TLS and nothing else; the rules are the real ones. Clients and servers are threads of this
//! program inside the pods, so every request is accounted for: what was answered wrongly, not at all, or done twice, is an error, and so is
//! memory or a descriptor that a sidecar does not give back.

mod client;
mod disturb;
mod pair;
mod server;
mod tally;
mod tcp;
mod watch;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use self::{pair::Pair, tally::Tally, watch::Watch};
use crate::{
    lab::{Lab, secrets::Speech},
    manifest::Manifest,
    project::{self, Form},
    userns::{self, Rights},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the load lasts, in minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The same in seconds, for a short one.
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// Folder with the programs, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What every thread of a soak shares.
struct Stop(AtomicBool);

/// Threads that ask one after the other, in each pair; as many again carry opaque bytes, misbehave, or change what is around.
const N_CLIENTS: u64 = 6;
const N_TCP_CLIENTS: u64 = 2;
const N_ODD_CLIENTS: u64 = 2;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => project::build_programs(Form::Release)?,
    };
    let seconds = args.seconds.unwrap_or(args.minutes * 60);
    match userns::rights() {
        Rights::Own => soak(&programs, Duration::from_secs(seconds)),
        Rights::UserNamespace => userns::again(&[
            "soak",
            "--programs",
            &programs.to_string_lossy(),
            "--seconds",
            &seconds.to_string(),
        ]),
        Rights::None => bail!("the soak makes network namespaces, which needs root here"),
    }
}

/// The short form, for the tests, by programs without optimisation.
pub(crate) fn short() -> anyhow::Result<()> {
    run(&Args {
        minutes: 0,
        seconds: Some(25),
        programs: Some(project::build_programs(Form::Debug)?),
    })
}

fn soak(programs: &std::path::Path, length: Duration) -> anyhow::Result<()> {
    let lab = Lab::new(programs)?;
    let output = lab
        .inject_command(&project::root().join("e2e/manifests/nginx.yaml"))
        .output()?;
    let manifest = Manifest::parse(&String::from_utf8(output.stdout)?)?;
    let pairs = [
        Pair::start(&lab, &manifest, "plain", Speech::Plaintext)?,
        Pair::start(&lab, &manifest, "mtls", Speech::Strict)?,
    ];
    let watches: Vec<Watch> = pairs.iter().flat_map(Pair::watches).collect();
    let before: Vec<_> = watches.iter().map(Watch::descriptors).collect();
    let tallies = [Tally::default(), Tally::default()];
    // Servers stay until the last client is served.
    let [stop, leave] = [false, false].map(|asked| Stop(AtomicBool::new(asked)));
    let outcome = thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut begin = || {
            for (pair, tally) in pairs.iter().zip(&tallies) {
                pair.serve(scope, tally, &leave)?;
                threads.extend(pair.load(scope, tally, &stop));
            }
            watch::follow(&watches, length, &pairs)
        };
        let outcome = begin();
        stop.0.store(true, Ordering::Relaxed);
        let n_panicked = threads.into_iter().filter_map(|thread| thread.join().err());
        let n_panicked = n_panicked.count();
        leave.0.store(true, Ordering::Relaxed);
        ensure!(n_panicked == 0, "{n_panicked} threads of the load panicked");
        outcome
    });
    let problems = [
        pairs
            .iter()
            .zip(&tallies)
            .flat_map(|(pair, tally)| tally.problems(pair.name))
            .collect(),
        outcome?,
        watch::leftovers(&watches, &before),
        pairs.iter().flat_map(Pair::defects).collect::<Vec<_>>(),
    ]
    .concat();
    for (pair, tally) in pairs.iter().zip(&tallies) {
        println!("{}: {tally}", pair.name);
    }
    for watch in &watches {
        println!("{watch}");
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

// === impl Stop ===

impl Stop {
    fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits, and says whether to go on.
    fn pause(&self, length: Duration) -> bool {
        let end = Instant::now() + length;
        while !self.is_asked_for() && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            thread::park_timeout(left.min(Duration::from_millis(50)));
        }
        !self.is_asked_for()
    }
}
