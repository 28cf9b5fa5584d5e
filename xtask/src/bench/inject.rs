//! `cargo xtask bench inject`: what one review by the webhook costs.
//!
//! Starts the injector from files, without a cluster, and sends it the same review over and over on TLS connections that are kept.
//! With `--against`, another injector runs beside it, with `--istiod` Istio's control plane; they take turns, so that they compare.

mod scripts;
mod server;

use std::path::PathBuf;

use self::{
    scripts::Review,
    server::{Sample, Server},
};
use super::{machine_load, wrk};
use crate::{lab, project};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often each measurement is made.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The injector to measure, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// An injector to compare with, such as one built before a change.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Istio's control plane to compare with: the program `pilot-discovery`.
    #[arg(long, env = "ISTIOD", value_name = "FILE")]
    istiod: Option<PathBuf>,
}

const CONNECTIONS: [u32; 2] = [1, 8];
const PODS: [(&str, usize); 2] = [("typical pod", 1), ("pod with 2000 variables", 2000)];

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let wrk = wrk::find()?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let folder = scripts::folder()?;
    let mut servers = vec![Server::injector(&program, folder.path(), "this")?];
    if let Some(other) = &args.against {
        servers.push(Server::injector(other, folder.path(), "other")?);
    }
    match &args.istiod {
        Some(istiod) => servers.push(Server::istiod(istiod, folder.path())?),
        None => println!("istiod not run: give --istiod"),
    }
    println!("load before: {}", machine_load()?);
    memory("idle", &servers)?;
    for (name, n_variables) in PODS {
        let review = Review::write(folder.path(), n_variables)?;
        for server in &servers {
            server.check(&wrk, &review)?;
        }
        for n_connections in CONNECTIONS {
            let mut samples = vec![Vec::new(); servers.len()];
            for _ in 0..args.rounds {
                for (server, samples) in servers.iter().zip(&mut samples) {
                    samples.push(server.measure(&wrk, &review, n_connections, args.seconds)?);
                }
            }
            println!("\n{name}, {n_connections} connections");
            let samples: Vec<Sample> = samples.iter().map(|samples| median(samples)).collect();
            report(&servers, &samples);
        }
    }
    println!();
    memory("after load", &servers)?;
    println!("load after: {}", machine_load()?);
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    let mut command = project::cargo();
    project::run(command.args(["build", "--release", "--locked", "--package", "injector"]))?;
    Ok(project::target_folder()?.join("release/injector"))
}

fn memory(when: &str, servers: &[Server]) -> anyhow::Result<()> {
    for server in servers {
        println!(
            "resident {when}: {} KiB, {} ({})",
            lab::resident_kib(&server.process)?,
            server.name,
            server.process.name()
        );
    }
    Ok(())
}

/// The sample with the median time.
fn median(samples: &[Sample]) -> Sample {
    let mut samples = samples.to_vec();
    samples.sort_by(|a, b| a.run.p50_us.total_cmp(&b.run.p50_us));
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn report(servers: &[Server], samples: &[Sample]) {
    let names = servers.iter().map(|server| format!("{:>10}", server.name));
    let others = servers.iter().skip(1);
    let ratios = others.map(|server| format!("{:>14}", format!("this/{}", server.name)));
    println!("  {:<26}{}", "", names.chain(ratios).collect::<String>());
    let row = |name: &str, value: fn(&Sample) -> f64| println!("{}", line(name, samples, value));
    row("reviews/s", |sample| sample.run.requests_per_second);
    row("p50 microseconds", |sample| sample.run.p50_us);
    row("p99 microseconds", |sample| sample.run.p99_us);
    row("CPU microseconds a review", |sample| {
        sample.cpu_us_per_review
    });
}

/// The value of each, and the first one's share of each other.
fn line(name: &str, samples: &[Sample], value: fn(&Sample) -> f64) -> String {
    let values: Vec<f64> = samples.iter().map(value).collect();
    let first = values.first().copied().unwrap_or_default();
    let shown = values.iter().map(|value| format!("{value:>10.0}"));
    let ratios = values.iter().skip(1);
    let ratios = ratios.map(|other| format!("{:>14.3}", first / other));
    format!("  {name:<26}{}", shown.chain(ratios).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_each_value_and_the_ratios_to_the_first() {
        let sample = |cpu_us_per_review| Sample {
            cpu_us_per_review,
            ..Sample::default()
        };
        let samples = [sample(100.0), sample(200.0), sample(4000.0)];
        let line = line("CPU", &samples, |sample| sample.cpu_us_per_review);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["CPU", "100", "200", "4000", "0.500", "0.025"]);
    }
}
