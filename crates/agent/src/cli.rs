//! From the command line to the part that does the work, and from errors to exit codes.
//!
//! `main` calls [`run`] with everything it got. Errors are printed here and nowhere else, one line each, before or without a log.

use std::{
    ffi::OsString,
    io::{self, Write},
    num::NonZeroUsize,
    process::ExitCode,
    thread,
};

use contract::exit;
use runtime::{
    error::chain,
    log::{self, LogArgs, LogError},
};
use tracing::warn;

use crate::{
    app::{self, AppError},
    args::{Cli, Command, ProxyArgs},
    config::{Config, problem::Problems},
    init::{self, InitError},
    pod_info, request,
    request::RequestError,
    wait,
    wait::WaitError,
};

/// Why the program ends without success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Settings are wrong.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// Logging could not begin.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The proxy could not start, or ended by itself.
    #[error(transparent)]
    App(#[from] AppError),
    /// The sidecar did not become ready.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The sidecar gave no good answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// istio-init could not be started.
    #[error(transparent)]
    Init(#[from] InitError),
    /// Nobody takes the output.
    #[error("cannot print")]
    Print(#[source] io::Error),
}

/// Runs the program with `args`, its own name first, and tells how it ended.
#[must_use]
pub fn run(args: Vec<OsString>) -> ExitCode {
    let (cli, unknown) = match Cli::read(args) {
        Ok(read) => read,
        Err(error) => {
            // A reader that is gone needs no help text.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match dispatch(cli, &unknown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("agent: {}", chain(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

// === impl Failure ===

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::Wait(WaitError::Url { .. })
            | Self::Request(RequestError::Port { .. } | RequestError::Request { .. }) => {
                exit::USAGE
            }
            Self::Log(_)
            | Self::App(_)
            | Self::Wait(_)
            | Self::Request(_)
            | Self::Init(_)
            | Self::Print(_) => exit::FAILED,
        }
    }
}

fn dispatch(cli: Cli, unknown: &[String]) -> Result<(), Failure> {
    match cli.command {
        Command::Proxy(args) => proxy(&args, unknown),
        Command::Wait(args) => {
            log::init(&args.log)?;
            Ok(wait::run(&args)?)
        }
        Command::Request(args) => {
            log::init(&args.log)?;
            Ok(request::run(&args, &mut io::stdout().lock())?)
        }
        Command::IstioIptables(args) => Err(init::run(&args.args).into()),
        Command::Version => {
            writeln!(io::stdout(), "agent {}", env!("CARGO_PKG_VERSION")).map_err(Failure::Print)
        }
    }
}

fn proxy(args: &ProxyArgs, unknown: &[String]) -> Result<(), Failure> {
    let log = start_log(&args.log, unknown)?;
    let [labels, annotations] = [&args.pod.labels_file, &args.pod.annotations_file].map(|path| {
        pod_info::read(path).unwrap_or_else(|error| {
            warn!(error = %chain(&error), "pod metadata unknown");
            pod_info::Pairs::new()
        })
    });
    let n_cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let config = Config::resolve(args, &labels, &annotations, n_cores)?;
    Ok(app::run(config, log)?)
}

fn start_log(args: &LogArgs, unknown: &[String]) -> Result<log::Handle, LogError> {
    let log = log::init(args)?;
    if !unknown.is_empty() {
        warn!(flags = unknown.join(" "), "unknown flags are passed over");
    }
    Ok(log)
}
