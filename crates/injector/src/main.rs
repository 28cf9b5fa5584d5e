//! Entry point.

use std::process::ExitCode;

use clap::Parser as _;
use injector::{app, args::Args, config::Config};
use mimalloc::MiMalloc;
use runtime::{error::chain, log};

/// A review is thousands of small allocations, made and freed by one thread; the C library's allocator takes a quarter to a third of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let log = args.log.clone();
    let config = match Config::try_from(args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{}", chain(&error));
            return ExitCode::from(contract::exit::USAGE);
        }
    };
    match log::init(&log)
        .map_err(anyhow::Error::from)
        .and_then(|_levels| app::main(config))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
