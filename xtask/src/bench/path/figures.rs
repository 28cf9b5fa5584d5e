//! The figures of the path, each with the load that shows it.
//!
//! [`measure`] goes through what the course asks for and puts a sample for each contender and round into the report.
//! Contenders take turns within a round, forwards and backwards, so that a machine that gets busier is so for all.

use std::{fs, path::Path, thread, time::Duration};

use testkit::process::Process;

use super::{
    contender::Contender,
    disturbance::Disturbance,
    load::{Direction, Sample, Shape, Tools},
    table::Report,
};
use crate::lab;

/// What a run measures.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) figures: Vec<Figures>,
    pub(super) connections: Vec<u32>,
    pub(super) seconds: u32,
    pub(super) rounds: u32,
}

/// Figures that one kind of load shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Figures {
    /// Start to ready, and memory before any load.
    Start,
    /// Rate, latency and CPU of requests over connections that are kept.
    Requests,
    /// System calls of the same.
    SystemCalls,
    /// Requests on a connection each.
    Connections,
    /// One large body down, one up.
    Bulk,
    /// Latency while sidecars are scraped, and while their mesh changes, beside the same in quiet.
    Disturbed,
    /// Memory under load, with idle connections and afterwards.
    Memory,
}

type Figure = (&'static str, usize);

const RATE: Figure = ("requests/s", 0);
const P50: Figure = ("p50 µs", 0);
const P99: Figure = ("p99 µs", 0);
const P999: Figure = ("p99.9 µs", 0);
const CPU: Figure = ("CPU µs per request and proxy", 1);
const CALLS: Figure = ("system calls per request and proxy", 2);
const BULK: Figure = ("GB/s", 2);
const BULK_CPU: Figure = ("CPU s per GiB and proxy", 2);
const RESIDENT: Figure = ("VmRSS MB per proxy", 1);
const ANONYMOUS: Figure = ("RssAnon MB per proxy", 1);
const SOCKETS: Figure = ("descriptors per proxy", 0);
const READY: Figure = ("ms from start to ready", 0);

/// Group and figure of what `--quick` guards.
pub(super) const GUARDED: [(&str, &str); 2] =
    [("32 connections", CPU.0), ("32 connections", CALLS.0)];

/// Connections that are idle after a request on each, all at once.
const N_IDLE: usize = 1000;
/// How long after a burst its memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);
/// How much longer until sidecars have closed what they kept for the next requests.
const POOLED: Duration = Duration::from_secs(35);
const BULK_BYTES: u64 = 1 << 30;

/// Everything that measuring needs.
struct Bench<'a> {
    course: &'a Course,
    tools: &'a Tools<'a>,
    contenders: &'a [Contender],
    folder: &'a Path,
    report: &'a mut Report,
}

/// Follows the course.
pub(super) fn measure(
    course: &Course,
    tools: &Tools<'_>,
    contenders: &[Contender],
    folder: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut bench = Bench {
        course,
        tools,
        contenders,
        folder,
        report,
    };
    for figures in Figures::ALL {
        if !course.figures.contains(&figures) {
            continue;
        }
        match figures {
            Figures::Start => bench.start()?,
            Figures::Requests => bench.requests()?,
            Figures::SystemCalls => bench.system_calls()?,
            Figures::Connections => bench.connections()?,
            Figures::Bulk => bench.bulk()?,
            Figures::Disturbed => bench.disturbed()?,
            Figures::Memory => bench.memory()?,
        }
    }
    Ok(())
}

// === impl Figures ===

impl Figures {
    /// In the order in which they are measured: memory before load first, and what leaves traces last.
    pub(super) const ALL: [Self; 7] = [
        Self::Start,
        Self::Requests,
        Self::SystemCalls,
        Self::Connections,
        Self::Bulk,
        Self::Disturbed,
        Self::Memory,
    ];
}

// === impl Bench ===

impl<'a> Bench<'a> {
    /// Contenders by position, in the order of a round.
    fn turns(&self, round: u32) -> Vec<(usize, &'a Contender)> {
        let mut turns: Vec<_> = self.contenders.iter().enumerate().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        turns
    }

    fn start(&mut self) -> anyhow::Result<()> {
        for (position, contender) in self.contenders.iter().enumerate() {
            for proxy in contender.proxies() {
                let took = proxy.ready_took.as_secs_f64() * 1e3;
                self.report.add("start", READY, position, took);
            }
        }
        self.note_memory("idle")
    }

    fn requests(&mut self) -> anyhow::Result<()> {
        for &connections in &self.course.connections {
            let group = counted(connections);
            for round in 0..self.course.rounds {
                for (position, contender) in self.turns(round) {
                    let shape = self.shape(connections);
                    let sample = self.tools.requests(contender, shape)?;
                    self.note(&group, position, &sample);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, group: &str, position: usize, sample: &Sample) {
        let mut add = |figure, value| self.report.add(group, figure, position, value);
        add(RATE, sample.run.requests_per_second);
        add(P50, sample.run.p50_us);
        add(P99, sample.run.p99_us);
        if let Some(p999) = sample.run.p999_us {
            add(P999, p999);
        }
        if let Some(cpu) = mean(&sample.cpu_us) {
            add(CPU, cpu);
        }
    }

    fn disturbed(&mut self) -> anyhow::Result<()> {
        for round in 0..self.course.rounds {
            for (position, contender) in self.turns(round) {
                for disturbance in Disturbance::ALL {
                    if !disturbance.concerns(contender) {
                        continue;
                    }
                    let load = || self.tools.requests(contender, self.shape(32));
                    let sample = disturbance.during(contender, load)?;
                    self.note(disturbance.group(), position, &sample);
                }
            }
        }
        Ok(())
    }

    fn system_calls(&mut self) -> anyhow::Result<()> {
        for &connections in self.course.connections.iter().filter(|count| **count < 256) {
            for round in 0..self.course.rounds {
                for (position, contender) in self.turns(round) {
                    let shape = Shape {
                        seconds: 1,
                        ..self.shape(connections)
                    };
                    let calls = self.tools.system_calls(contender, shape, self.folder)?;
                    if let Some(calls) = mean(&calls) {
                        self.report
                            .add(&counted(connections), CALLS, position, calls);
                    }
                }
            }
        }
        Ok(())
    }

    fn connections(&mut self) -> anyhow::Result<()> {
        for (port, group) in [
            (lab::APP_PORT, "a connection each, HTTP"),
            (lab::OPAQUE_PORT, "a connection each, TCP"),
        ] {
            for round in 0..self.course.rounds {
                for (position, contender) in self.turns(round) {
                    let shape = Shape {
                        closes: true,
                        port,
                        ..self.shape(32)
                    };
                    let sample = self.tools.requests(contender, shape)?;
                    let rate = sample.run.requests_per_second;
                    self.report.add(group, RATE, position, rate);
                    if let Some(cpu) = mean(&sample.cpu_us) {
                        self.report.add(group, CPU, position, cpu);
                    }
                }
            }
        }
        Ok(())
    }

    fn bulk(&mut self) -> anyhow::Result<()> {
        for (direction, group) in [(Direction::Down, "1 GiB down"), (Direction::Up, "1 GiB up")] {
            for round in 0..self.course.rounds {
                for (position, contender) in self.turns(round) {
                    let transfer = self.tools.transfer(contender, direction, BULK_BYTES)?;
                    let rate = transfer.bytes_per_second / 1e9;
                    self.report.add(group, BULK, position, rate);
                    if let Some(cpu) = mean(&transfer.cpu_s_per_gib) {
                        self.report.add(group, BULK_CPU, position, cpu);
                    }
                }
            }
        }
        Ok(())
    }

    fn memory(&mut self) -> anyhow::Result<()> {
        for contender in self.contenders {
            self.tools.requests(contender, self.shape(256))?;
        }
        self.note_memory("after 256 connections")?;
        let tools = self.tools;
        for (position, contender) in self.turns(0) {
            if contender.proxies().next().is_none() {
                continue;
            }
            tools.hold(contender, N_IDLE, || {
                self.note_memory_of("1000 requests at once", position)?;
                thread::sleep(SETTLE);
                let group = "1000 idle connections";
                for proxy in contender.proxies() {
                    let folder = format!("/proc/{}/fd", proxy.process.id());
                    let n = u32::try_from(fs::read_dir(folder)?.count())?;
                    self.report.add(group, SOCKETS, position, f64::from(n));
                }
                self.note_memory_of(group, position)
            })?;
        }
        thread::sleep(SETTLE);
        self.note_memory("5 s after they ended")?;
        thread::sleep(POOLED);
        self.note_memory("40 s after they ended")
    }

    fn note_memory(&mut self, group: &str) -> anyhow::Result<()> {
        for position in 0..self.contenders.len() {
            self.note_memory_of(group, position)?;
        }
        Ok(())
    }

    fn note_memory_of(&mut self, group: &str, position: usize) -> anyhow::Result<()> {
        let contender = self.contenders.get(position);
        for proxy in contender.into_iter().flat_map(Contender::proxies) {
            let process = &proxy.process;
            let resident = megabytes(process, "VmRSS")?;
            self.report.add(group, RESIDENT, position, resident);
            let anonymous = megabytes(process, "RssAnon")?;
            self.report.add(group, ANONYMOUS, position, anonymous);
        }
        Ok(())
    }

    fn shape(&self, connections: u32) -> Shape {
        Shape {
            connections,
            seconds: self.course.seconds,
            port: lab::APP_PORT,
            closes: false,
        }
    }
}

fn counted(connections: u32) -> String {
    match connections {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    let n = u32::try_from(values.len()).ok().filter(|n| *n > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(n))
}

fn megabytes(process: &Process, figure: &str) -> anyhow::Result<f64> {
    let kib = u32::try_from(lab::memory_kib(process, figure)?)?;
    Ok(f64::from(kib) * 1024.0 / 1e6)
}
