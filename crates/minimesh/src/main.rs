//! Entry point of `minimesh`: parses the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use minimesh::{args::Args, run};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
