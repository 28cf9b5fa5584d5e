//! Logs: flags, levels, formats.
//!
//! The programs flatten [`LogArgs`] into their own arguments and call [`init`] first of all; everything else logs through `tracing`.
//! Lines go to standard error as text or JSON, with RFC 3339 time stamps in UTC; panics are logged like everything else.
//! The [`Handle`] that comes of it changes levels while the program runs.

pub mod levels;

use std::{
    any::Any,
    panic,
    sync::{Arc, Mutex, PoisonError},
};

use clap::{ArgAction, Args, builder::BoolishValueParser};
use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt,
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use levels::Levels;

/// Flags of the log, with Istio's names.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Levels by scope: `default:info`, `default:warn,injector:debug`, or one level for all.
    #[arg(
        long = "log_output_level",
        env = "LOG_OUTPUT_LEVEL",
        value_name = "SCOPE:LEVEL,…",
        default_value = "default:info"
    )]
    pub output_level: Levels,

    /// Writes each line as a JSON object.
    #[arg(
        long = "log_as_json",
        env = "LOG_AS_JSON",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        action = ArgAction::Set
    )]
    pub as_json: bool,

    #[command(flatten)]
    ignored: IgnoredArgs,
}

/// Istio's other log flags. Templates and scripts pass them; logs go to standard error and are rotated by the container runtime,
/// so there is nothing for them to do.
#[derive(Args, Clone, Debug)]
struct IgnoredArgs {
    #[arg(long = "log_target", hide = true)]
    target: Vec<String>,
    #[arg(long = "log_caller", hide = true)]
    caller: Vec<String>,
    #[arg(long = "log_stacktrace_level", hide = true)]
    stacktrace_level: Vec<String>,
    #[arg(long = "log_rotate", hide = true)]
    rotate: Option<String>,
    #[arg(long = "log_rotate_max_age", hide = true)]
    rotate_max_age: Option<i64>,
    #[arg(long = "log_rotate_max_backups", hide = true)]
    rotate_max_backups: Option<i64>,
    #[arg(long = "log_rotate_max_size", hide = true)]
    rotate_max_size: Option<i64>,
}

/// Libraries that say too much, whatever the flags ask for.
const CAPPED: [(&str, LevelFilter); 2] = [
    // It quotes answers of the API server that it cannot read, and those may hold keys.
    ("kube_client::client", LevelFilter::OFF),
    // It warns at every attempt; who watches says once what is wrong, and when it is over.
    ("kube_runtime::watcher", LevelFilter::ERROR),
];

/// Shows and changes the levels of the log; clones share it.
#[derive(Clone, Debug)]
pub struct Handle {
    levels: Arc<Mutex<Levels>>,
    filter: reload::Handle<Targets, Registry>,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Something in this process logs already.
    #[error("logging has been set up already in this process")]
    AlreadySet(#[source] TryInitError),
}

/// Begins to log as `args` say; call it once, before anything logs.
///
/// # Errors
/// [`LogError::AlreadySet`] on the second call.
pub fn init(args: &LogArgs) -> Result<Handle, LogError> {
    let (filter, handle) = reload::Layer::new(filter(&args.output_level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = if args.as_json {
        lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed()
    } else {
        lines.with_filter(filter).boxed()
    };
    tracing_subscriber::registry()
        .with(lines)
        .try_init()
        .map_err(LogError::AlreadySet)?;
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        error!(
            message = panic_text(info.payload()),
            place = place.as_deref(),
            "panicked"
        );
    }));
    Ok(Handle {
        levels: Arc::new(Mutex::new(args.output_level.clone())),
        filter: handle,
    })
}

// === impl Handle ===

impl Handle {
    /// The levels at this moment.
    #[must_use]
    pub fn levels(&self) -> Levels {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.clone()
    }

    /// Logs at `levels` from now on.
    pub fn set(&self, levels: Levels) {
        let mut current = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails when nothing logs any more, and then there is nothing to change.
        let _ = self.filter.reload(filter(&levels));
        *current = levels;
    }
}

fn filter(levels: &Levels) -> Targets {
    let filter = Targets::from(levels);
    let capped = CAPPED.into_iter();
    capped.fold(filter, |filter, (target, level)| {
        filter.with_target(target, level)
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is not text")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        log: LogArgs,
    }

    fn parse(args: &[&str]) -> Result<LogArgs, String> {
        Program::try_parse_from([&["program"], args].concat())
            .map(|program| program.log)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_of_istios_templates_are_accepted() {
        let args = parse(&[
            "--log_output_level=default:debug",
            "--log_as_json",
            "--log_target=stdout",
            "--log_caller=default",
            "--log_stacktrace_level=default:none",
            "--log_rotate=/x",
            "--log_rotate_max_age=30",
            "--log_rotate_max_backups=5",
            "--log_rotate_max_size=100",
        ])
        .unwrap();
        assert!(args.as_json);
        assert_eq!(args.output_level, "default:debug".parse().unwrap());
    }

    #[test]
    fn the_switch_for_json_takes_a_value_after_an_equals_sign_only() {
        assert!(parse(&["--log_as_json=true"]).unwrap().as_json);
        assert!(!parse(&["--log_as_json=false"]).unwrap().as_json);
        assert!(!parse(&[]).unwrap().as_json);
        assert!(parse(&["--log_as_json", "true"]).is_err());
    }

    #[test]
    fn an_error_names_the_flag_and_the_level() {
        let error = parse(&["--log_output_level=default:loud"]).unwrap_err();
        assert!(error.contains("--log_output_level"), "{error}");
        assert!(error.contains("`loud`"), "{error}");
    }
}
