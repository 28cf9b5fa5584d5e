//! The project's commands, run as `cargo xtask COMMAND`.
//!
//! Each command is a module with a `run`; what several need is in `project` and `lab`.
//! A command ends with exit status 0 only when everything that it says it did was done.
#![allow(
    clippy::print_stdout,
    reason = "a tool for people: standard output is its interface"
)]

mod bench;
mod chart;
mod codegen;
mod demo;
mod docker;
mod e2e;
mod fuzz;
mod images;
mod lab;
mod manifest;
mod netfilter;
mod project;
mod soak;
mod stand_in;
mod test;
mod tidy;
mod userns;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's commands.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that needs no cluster: formatting, lints, docs, unit, golden and kernel tests.
    Test(test::Args),
    /// Show the whole mesh on this machine, without a cluster: inject nginx, run two pods, watch their traffic.
    Demo(demo::Args),
    /// Build the container images: injector, istio-init, agent, and the server of the cluster tests.
    Images(images::Args),
    /// Install what `test`, `bench` and `e2e` need on a Debian machine, as root: nftables, iptables, iproute2, what the benches start, the Docker engine, kind, Helm, kubectl, a node image.
    Setup,
    /// Run the cluster tests: a kind cluster, the images and the chart of this tree, nginx with traffic interception.
    E2e(e2e::Args),
    /// Measure what the programs cost: requests through two sidecars, reviews by the injector.
    Bench(bench::Args),
    /// Run the fuzz targets, a minute each: reviews, templates, merges, YAML, URL paths, flags of istio-init and the kernel's answers to it,
    /// what peers tell the sidecar, HTTP/1 and protocol detection.
    Fuzz(fuzz::Args),
    /// Load two pairs of pods with faults for ten minutes, and account for every request, page of memory and descriptor.
    Soak(soak::Args),
    /// Write the code that is made of the .proto files in crates/wire/proto.
    Codegen,
    /// Check the rules of the tree that no compiler holds.
    Tidy,
    /// Serve a page over HTTP in place of nginx.
    #[command(hide = true)]
    Serve(stand_in::ServeArgs),
    /// Ask for a page as the application of a pod would.
    #[command(hide = true)]
    Get(stand_in::GetArgs),
    /// Serve what nginx does not: bodies of any size, requests that wait for each other.
    #[command(hide = true)]
    BenchServe(bench::peers::ServeArgs),
    /// Ask for what wrk does not.
    #[command(hide = true)]
    BenchCall(bench::peers::CallArgs),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Images(args) => images::run(&args),
        Command::Setup => netfilter::install()
            .and_then(|()| e2e::host::install_missing(&test::TOOLS))
            .and_then(|()| bench::install())
            .and_then(|()| e2e::setup::install(None)),
        Command::E2e(args) => e2e::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Codegen => codegen::run(),
        Command::Tidy => tidy::run(),
        Command::Serve(args) => stand_in::serve(&args),
        Command::Get(args) => stand_in::get(&args),
        Command::BenchServe(args) => bench::peers::serve(&args),
        Command::BenchCall(args) => bench::peers::call(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
