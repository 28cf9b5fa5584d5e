//! Flags and environment: text in, a checked [`Config`] out, or all that is wrong with it at once.
//!
//! Called first by [`app`](crate::app) with the process's arguments and variables as values; pure
//! but for names of users, which it asks an [`Accounts`] for. The grammar is that of Go's pflag,
//! because injection templates are written for it, and a table rather than a derive because an
//! unknown flag must not hide a wrong port, and because the whole program has half a millisecond.

mod check;
mod flags;
mod help;
mod options;
mod task;
#[cfg(test)]
mod tests;
mod values;

use std::{ffi::OsString, fmt};

use contract::paths;

use crate::{
    accounts::Accounts, apply::Leftovers, capture::Capture, log::Format, plan::Backend, probe,
    restore::Variant,
};

pub use help::help;
pub(crate) use values::boolean;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print how the program is used.
    Help,
    /// Print the program's version.
    Version,
    /// Do the work.
    Run(Box<Config>),
}

/// What to do, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is to be captured.
    pub capture: Capture,
    /// What to do with it.
    pub task: Task,
    /// By which interface of the kernel.
    pub backend: Backend,
    /// Which iptables programs must be used, if that matters.
    pub iptables: Option<Variant>,
    /// How to probe afterwards, if that is wanted.
    pub validation: Option<probe::Options>,
    /// What of Istio's is to be removed at the same time.
    pub leftovers: Option<Leftovers>,
    /// What the user should know although it is not wrong.
    pub warnings: Vec<Warning>,
}

/// What to do with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Bring them into force; rewrite them even if they are if `force` is set.
    Apply {
        /// `--force-apply`.
        force: bool,
    },
    /// Remove them.
    Cleanup,
    /// Print what [`Task::Apply`] would do, in the words of this tool.
    ShowPlan(Backend),
    /// Print what [`Task::Cleanup`] would do.
    ShowCleanup,
    /// Leave everything as it is: somebody else sets the rules.
    Nothing,
}

/// Something odd that is not wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A port is asked for by one flag and excluded by another; it is excluded.
    Excluded {
        /// The excluded range that overlaps.
        ports: String,
        /// The flag that includes it.
        included_by: &'static str,
        /// The flag that excludes it.
        excluded_by: &'static str,
    },
    /// Questions to the container's DNS servers are to be captured, and it has none in any family
    /// that the pod speaks.
    NoDnsServer,
    /// The choice of an iptables program, where none is used.
    NoIptables,
}

/// How the program speaks, read even where the rest of the command line is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Plain lines or JSON.
    pub format: Format,
    /// Whether lines that are no warnings are wanted.
    pub verbose: bool,
}

/// All that is wrong with the command line and the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", one_line(problems))]
pub struct UsageError {
    /// One or more.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No such flag.
    #[error("unknown flag {given}")]
    UnknownFlag {
        /// As it was written, without a value.
        given: String,
    },
    /// An argument that is no flag.
    #[error(
        "unexpected argument {given:?}: there are only flags, and a switch takes its value as --flag=false"
    )]
    UnexpectedArgument {
        /// As it was written.
        given: String,
    },
    /// A flag at the end of the line that needs a value.
    #[error("{flag} needs a value")]
    MissingValue {
        /// As it was written.
        flag: String,
    },
    /// A value that is not what the flag is for.
    #[error("{origin}: expected {expected}")]
    Invalid {
        /// The flag and the variable with the value, `--envoy-port "0"`.
        origin: String,
        /// What it should be.
        expected: String,
    },
    /// Something that Istio's program does and this one does not yet do; it is refused because
    /// ignoring it could let traffic escape.
    #[error("{origin}: {feature} is not supported, remove it")]
    Unsupported {
        /// The flag and the variable with the value.
        origin: String,
        /// What was asked for.
        feature: &'static str,
    },
}

/// Reads the command line, without the program's own name, and the environment.
///
/// Flags beat variables; of a repeated flag the last one counts; an empty variable is an absent
/// one.
pub fn parse(
    arguments: Vec<OsString>,
    variables: &dyn Fn(&str) -> Option<OsString>,
    accounts: &dyn Accounts,
) -> (LogOptions, Result<Invocation, UsageError>) {
    let mut problems = Vec::new();
    let given = flags::parse(arguments, &mut problems);
    let settings = values::Settings::new(given, variables);
    let log = LogOptions {
        format: match check::switch_or_default(&settings, &options::LOG_AS_JSON) {
            true => Format::Json,
            false => Format::Plain,
        },
        verbose: check::is_verbose(&settings),
    };
    if check::switch_or_default(&settings, &options::HELP) {
        return (log, Ok(Invocation::Help));
    }
    if check::switch_or_default(&settings, &options::VERSION) {
        return (log, Ok(Invocation::Version));
    }
    let config = check::config(&settings, accounts, &mut problems);
    let outcome = match problems.is_empty() {
        true => Ok(Invocation::Run(Box::new(config))),
        false => Err(UsageError { problems }),
    };
    (log, outcome)
}

// === impl Warning ===

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded {
                ports,
                included_by,
                excluded_by,
            } => write!(
                f,
                "port {ports} is included by --{included_by} and excluded by --{excluded_by}; it is excluded"
            ),
            Self::NoDnsServer => write!(
                f,
                "--redirect-dns captures nothing because {} names no DNS server that the pod can reach; --capture-all-dns captures questions to any server",
                paths::RESOLV_CONF
            ),
            Self::NoIptables => f.write_str(
                "--force-iptables-binary has no effect: the rules are set without iptables unless --backend is iptables",
            ),
        }
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            format: Format::Plain,
            verbose: true,
        }
    }
}

fn one_line(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
