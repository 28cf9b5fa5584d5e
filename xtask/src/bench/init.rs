//! `cargo xtask bench init`: what `istio-init` costs a pod, from start to exit.
//!
//! Every contender runs twice in a fresh network namespace, so there is a first run and a re-run; they take turns, so that a busy machine is busy for all.
//! The floor is an empty static program: what the kernel and the loader take whatever the program does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use testkit::netns::{Node, Pod};

use super::machine_load;
use crate::{images, project};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Fresh namespaces for each contender.
    #[arg(long, default_value_t = 40)]
    rounds: u32,
    /// The program to measure, instead of building it as it is in the image.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Istio's program to compare with: one that takes the flags of `istio-iptables`.
    #[arg(long, value_name = "FILE")]
    istio: Option<PathBuf>,
}

/// What is measured.
struct Contender {
    name: &'static str,
    /// Programs that run one after the other, with the files that they read.
    steps: Vec<Step>,
    first: Vec<Duration>,
    again: Vec<Duration>,
}

struct Step {
    program: PathBuf,
    arguments: Vec<String>,
    input: Option<PathBuf>,
    /// Whether a second run may fail, as that of a program does which only adds.
    may_fail_again: bool,
}

/// What the shipped injection template passes.
const FLAGS: &str = "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020";

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => images::build_init()?,
    };
    let mut contenders = contenders(args, &program, folder.path())?;
    println!("load before: {}", machine_load()?);
    for _ in 0..args.rounds {
        let node = Node::new()?;
        for contender in &mut contenders {
            let pod = node.pod()?;
            contender.first.push(contender.measure(&pod, false)?);
            contender.again.push(contender.measure(&pod, true)?);
        }
    }
    println!("load after: {}", machine_load()?);
    report(&contenders);
    Ok(())
}

fn contenders(args: &Args, program: &Path, folder: &Path) -> anyhow::Result<Vec<Contender>> {
    let flags = || FLAGS.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let step = |program: &Path, arguments: Vec<String>| Step {
        program: program.to_owned(),
        arguments,
        input: None,
        may_fail_again: false,
    };
    let mut contenders = vec![
        Contender::new(
            "empty static program",
            vec![step(&empty(folder)?, Vec::new())],
        ),
        Contender::new("istio-init", vec![step(program, flags())]),
    ];
    let plan = |form: &str| print_plan(program, form);
    match project::find_program("nft") {
        Some(nft) => {
            let file = folder.join("plan.nft");
            fs::write(&file, plan("nft")?)?;
            let arguments = vec!["-f".to_owned(), file.display().to_string()];
            contenders.push(Contender::new("nft -f", vec![step(&nft, arguments)]));
        }
        None => println!("nft is not installed: apt-get install nftables"),
    }
    let restore = ["iptables-restore", "ip6tables-restore"].map(project::find_program);
    if let [Some(v4), Some(v6)] = restore {
        let text = plan("iptables")?;
        let (first, second) = text
            .split_once("# IPv6")
            .context("the plan has no part for IPv6")?;
        let steps = [(v4, first), (v6, second)].into_iter().enumerate();
        let steps = steps.map(|(position, (program, text))| {
            let file = folder.join(format!("plan-{position}.iptables"));
            // What is left of the line that was cut belongs to a comment.
            let comment = if position == 0 { "" } else { "#" };
            fs::write(&file, format!("{comment}{text}"))?;
            Ok(Step {
                input: Some(file),
                may_fail_again: true,
                ..step(&program, vec!["--noflush".to_owned()])
            })
        });
        let steps = steps.collect::<anyhow::Result<_>>()?;
        contenders.push(Contender::new("iptables-restore, ip6tables-restore", steps));
    } else {
        println!("iptables is not installed: apt-get install iptables");
    }
    match &args.istio {
        Some(istio) => {
            let mut step = step(istio, flags());
            step.arguments.insert(0, "istio-iptables".to_owned());
            step.may_fail_again = true;
            contenders.push(Contender::new("Istio's istio-iptables", vec![step]));
        }
        None => println!("Istio's program is not run: give --istio"),
    }
    Ok(contenders)
}

/// A program that does nothing, built as the images' programs are.
fn empty(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, program) = (folder.join("empty.rs"), folder.join("empty"));
    fs::write(&source, "fn main() {}\n")?;
    let mut command = Command::new("rustc");
    command
        .args(["--edition", "2024", "-C", "target-feature=+crt-static"])
        .args([
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        .arg("-o")
        .arg(&program)
        .arg(&source);
    project::run(&mut command)?;
    Ok(program)
}

/// The plan as text, made in a namespace that has both families as a pod does.
fn print_plan(program: &Path, form: &str) -> anyhow::Result<String> {
    let node = Node::new()?;
    let pod = node.pod()?;
    let mut command = Command::new(program);
    command
        .args(FLAGS.split(' '))
        .args(["--dry-run", "--output", form]);
    let output = pod.output(&mut command)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// In milliseconds, and beside the floor and `istio-init`.
fn report(contenders: &[Contender]) {
    let floor = contenders.first().map_or([0.0; 2], Contender::medians);
    let ours = contenders.get(1).map_or([0.0; 2], Contender::medians);
    println!(
        "\nmedian milliseconds from start to exit | first run | above the floor | re-run | above the floor | first run, times istio-init"
    );
    for contender in contenders {
        let [first, again] = contender.medians();
        let (above, above_again) = (first - floor[0], again - floor[1]);
        let times = first / ours[0];
        println!(
            "{:<38} | {first:>9.2} | {above:>15.2} | {again:>6.2} | {above_again:>15.2} | {times:>6.1}",
            contender.name
        );
    }
}

// === impl Contender ===

impl Contender {
    fn new(name: &'static str, steps: Vec<Step>) -> Self {
        Self {
            name,
            steps,
            first: Vec::new(),
            again: Vec::new(),
        }
    }

    fn measure(&self, pod: &Pod, is_again: bool) -> anyhow::Result<Duration> {
        pod.enter(|| {
            let start = Instant::now();
            for step in &self.steps {
                let mut command = Command::new(&step.program);
                command.args(&step.arguments).env_clear();
                command.stdout(Stdio::null()).stderr(Stdio::null());
                match &step.input {
                    Some(file) => command.stdin(fs::File::open(file)?),
                    None => command.stdin(Stdio::null()),
                };
                let status = command
                    .status()
                    .with_context(|| format!("cannot run {}", step.program.display()))?;
                ensure!(
                    status.success() || (is_again && step.may_fail_again),
                    "{} failed: {status}",
                    self.name
                );
            }
            Ok(start.elapsed())
        })
    }

    /// Of the first runs and of the re-runs, in milliseconds.
    fn medians(&self) -> [f64; 2] {
        [&self.first, &self.again].map(|samples| {
            let mut samples = samples.clone();
            samples.sort_unstable();
            let median = samples.get(samples.len() / 2);
            median.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        })
    }
}
