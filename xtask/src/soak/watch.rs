//! What sidecars take while they work, and whether they give it back.
//!
//! [`follow`] samples until the time is over. Memory that grows after the warm-up is a leak, and so is a descriptor that is still open once
//! every client and server is gone.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use testkit::process::eventually;

use super::pair::Pair;

/// One sidecar.
pub(super) struct Watch {
    name: String,
    id: u32,
    samples: Mutex<Vec<Sample>>,
}

/// What the kernel says of a process at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

/// Threads of the sidecar that write files and pages of metrics, and end when there is nothing to write.
const BLOCKING_THREADS: u64 = 3;
const PERIOD: Duration = Duration::from_millis(500);
/// By how much memory may be above what it was after the warm-up: a few pages of heap, and code that was not used before.
const SLACK_KIB: u64 = 1536;
/// Sidecars keep connections to each other for half a minute; whatever else is left is closed within a sweep.
const SETTLE: Duration = Duration::from_secs(40);

/// Samples for so long; what has grown is told.
pub(super) fn follow(
    watches: &[Watch],
    length: Duration,
    pairs: &[Pair],
) -> anyhow::Result<Vec<String>> {
    let start = Instant::now();
    while start.elapsed() < length {
        thread::park_timeout(PERIOD);
        for watch in watches {
            let sample = watch.sample();
            let sample = sample.with_context(|| {
                let defects = pairs.iter().flat_map(Pair::defects).collect::<Vec<_>>();
                format!("{} is gone: {}", watch.name, defects.join("\n"))
            })?;
            watch
                .samples
                .lock()
                .expect("nobody panics with it")
                .push(sample);
        }
    }
    ensure!(!watches.is_empty(), "nothing was watched");
    Ok(watches.iter().filter_map(Watch::growth).collect())
}

/// What is still open now that nobody is there.
pub(super) fn leftovers(watches: &[Watch], before: &[usize]) -> Vec<String> {
    let mut left = Vec::new();
    for (watch, before) in watches.iter().zip(before) {
        if !eventually(SETTLE, || watch.descriptors() <= *before) {
            let open = watch.open().join(", ");
            left.push(format!(
                "{}: of these descriptors {before} were open before: {open}",
                watch.name
            ));
        }
    }
    left
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(name: String, id: u32) -> Self {
        Self {
            name,
            id,
            samples: Mutex::default(),
        }
    }

    /// How many descriptors are open.
    pub(super) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id)).map_or(0, Iterator::count)
    }

    /// What is open, and where sockets are connected as the kernel writes addresses (proc_net_tcp).
    fn open(&self) -> Vec<String> {
        let read = |name| fs::read_to_string(format!("/proc/{}/net/{name}", self.id));
        let sockets = [read("tcp"), read("tcp6")].map(Result::unwrap_or_default);
        let known = |link: &str| {
            let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?;
            let mut lines = sockets.iter().flat_map(|table| table.lines());
            let line = lines.find(|line| line.split_whitespace().nth(9) == Some(inode))?;
            let words: Vec<_> = line.split_whitespace().skip(1).take(3).collect();
            Some(words.join(" "))
        };
        let entries = fs::read_dir(format!("/proc/{}/fd", self.id));
        let entries = entries.into_iter().flatten().flatten();
        let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        let links = links.map(|link| link.to_string_lossy().into_owned());
        links.map(|link| known(&link).unwrap_or(link)).collect()
    }

    fn sample(&self) -> anyhow::Result<Sample> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        };
        Ok(Sample {
            resident_kib: figure("VmRSS:").context("no VmRSS")?,
            descriptors: self.descriptors(),
            threads: usize::try_from(figure("Threads:").context("no Threads")?)?,
        })
    }

    /// Most of `figure` in the second fifth of the time, and in the last one.
    fn then_and_now(&self, figure: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let samples = self.samples.lock().expect("nobody panics with it");
        let fifth = samples.len() / 5;
        let most = |range| {
            let some: Option<&[Sample]> = samples.get(range);
            some.unwrap_or_default()
                .iter()
                .map(&figure)
                .max()
                .unwrap_or(0)
        };
        (
            most(fifth..2 * fifth),
            most(samples.len() - fifth..samples.len()),
        )
    }

    fn growth(&self) -> Option<String> {
        let (then, now) = self.then_and_now(|sample| sample.resident_kib);
        if now > then + then / 10 + SLACK_KIB {
            return Some(format!(
                "{}: {now} KiB resident, {then} after the warm-up",
                self.name
            ));
        }
        let (then, now) = self.then_and_now(|sample| sample.threads as u64);
        (now > then + BLOCKING_THREADS)
            .then(|| format!("{}: {now} threads, {then} after the warm-up", self.name))
    }
}

impl Display for Watch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (resident, resident_now) = self.then_and_now(|sample| sample.resident_kib);
        let (open, open_now) = self.then_and_now(|sample| sample.descriptors as u64);
        write!(
            f,
            "{}: most KiB resident {resident} after the warm-up, {resident_now} at the end; most descriptors {open}, {open_now}",
            self.name
        )
    }
}
