//! Flags and variables of the installer.
//!
//! Called by the installer; pure. Names are those of Istio's `install-cni` where it has the same thing.

use std::{ffi::OsString, path::PathBuf};

use contract::cni::{BIN_DIR, CONF_DIR};

use crate::{
    args::{Problem, UsageError, boolean},
    log::Format,
};

/// What the installer is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The node's CNI programs.
    pub(super) bin_dir: PathBuf,
    /// The node's network configurations.
    pub(super) conf_dir: PathBuf,
    /// The configuration to use; the first one if there is none.
    pub(super) conf_name: Option<String>,
    /// Namespaces whose pods may start although the runtime passes no annotations.
    pub(super) exclude_namespaces: Vec<String>,
    /// Whether to take the plugin away at the end.
    pub(super) remove_on_exit: bool,
    /// What to do.
    pub(super) task: Task,
    /// How to log.
    pub(super) format: Format,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Put the plugin in place and keep it there until the end.
    Keep,
    /// Tell by the exit code whether it is in place.
    Check,
    /// Print how the installer is used.
    Help,
}

/// A flag, its variable, whether it stands alone, and what it is for.
struct Spec {
    flag: &'static str,
    env: &'static str,
    is_switch: bool,
    help: &'static str,
}

/// Declares a flag.
const fn spec(flag: &'static str, env: &'static str, is_switch: bool, help: &'static str) -> Spec {
    Spec {
        flag,
        env,
        is_switch,
        help,
    }
}

const BIN: Spec = spec(
    "--mounted-cni-bin-dir",
    "MOUNTED_CNI_BIN_DIR",
    false,
    "folder of the node's CNI programs, /host/opt/cni/bin",
);
const CONF: Spec = spec(
    "--mounted-cni-net-dir",
    "MOUNTED_CNI_NET_DIR",
    false,
    "folder of the node's network configurations, /host/etc/cni/net.d",
);
const CONF_NAME: Spec = spec(
    "--cni-conf-name",
    "CNI_CONF_NAME",
    false,
    "the configuration to use; the first one by name",
);
const EXCLUDE: Spec = spec(
    "--exclude-namespaces",
    "EXCLUDE_NAMESPACES",
    false,
    "comma list of namespaces whose pods may start although the runtime passes no annotations",
);
const REMOVE_ON_EXIT: Spec = spec(
    "--remove-on-exit",
    "REMOVE_ON_EXIT",
    true,
    "take the plugin away at the end",
);
const CHECK: Spec = spec(
    "--check",
    "",
    true,
    "exit with 0 if the plugin is in place, with 1 if not, and change nothing",
);
const LOG_AS_JSON: Spec = spec(
    "--log_as_json",
    "LOG_AS_JSON",
    true,
    "write log lines as JSON",
);
const HELP: Spec = spec("--help", "", true, "print this text");
const ALL: [&Spec; 8] = [
    &BIN,
    &CONF,
    &CONF_NAME,
    &EXCLUDE,
    &REMOVE_ON_EXIT,
    &CHECK,
    &LOG_AS_JSON,
    &HELP,
];

/// The text that `--help` prints.
pub(super) fn help() -> String {
    let mut text = "Puts the CNI plugin on this node and keeps it there until the end.\n\n\
                    Usage: istio-init install-cni [flags]\n\nFlags:\n"
        .to_owned();
    for spec in ALL {
        let value = if spec.is_switch { "" } else { " VALUE" };
        text.push_str(&format!("  {}{value}\n        {}", spec.flag, spec.help));
        if !spec.env.is_empty() {
            text.push_str(&format!(" (env {})", spec.env));
        }
        text.push('\n');
    }
    text
}

// === impl Options ===

impl Options {
    /// Reads flags and, where there is none, variables; a variable that is empty is not there.
    pub(super) fn parse(
        arguments: Vec<OsString>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, UsageError> {
        let mut problems = Vec::new();
        let given = flags(arguments, &mut problems);
        let text = |spec: &Spec| -> String {
            let flag = given.iter().rev().find(|(flag, _)| *flag == spec.flag);
            let flag = flag.map(|(_, value)| value.clone());
            flag.or_else(|| Some(variable(spec.env)?.to_string_lossy().into_owned()))
                .unwrap_or_default()
        };
        let mut is_on = |spec: &Spec| {
            let value = text(spec);
            let read = if value.is_empty() {
                Ok(false)
            } else {
                boolean(&value)
            };
            read.unwrap_or_else(|expected| {
                let origin = format!("{} {value:?}", spec.flag);
                problems.push(Problem::Invalid { origin, expected });
                false
            })
        };
        let (remove_on_exit, is_json) = (is_on(&REMOVE_ON_EXIT), is_on(&LOG_AS_JSON));
        let task = match (is_on(&HELP), is_on(&CHECK)) {
            (true, _) => Task::Help,
            (false, true) => Task::Check,
            (false, false) => Task::Keep,
        };
        let or = |spec, default: &str| {
            Some(text(spec))
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| default.to_owned())
        };
        let conf_name = Some(text(&CONF_NAME)).filter(|name| !name.is_empty());
        if let Some(name) = conf_name.as_ref().filter(|name| name.contains('/')) {
            let origin = format!("{} {name:?}", CONF_NAME.flag);
            let expected = "the name of a file, without its folder".to_owned();
            problems.push(Problem::Invalid { origin, expected });
        }
        let options = Self {
            bin_dir: or(&BIN, BIN_DIR).into(),
            conf_dir: or(&CONF, CONF_DIR).into(),
            conf_name,
            exclude_namespaces: text(&EXCLUDE)
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
            remove_on_exit,
            task,
            format: if is_json { Format::Json } else { Format::Plain },
        };
        if problems.is_empty() {
            Ok(options)
        } else {
            Err(UsageError { problems })
        }
    }
}

/// `--flag value`, `--flag=value`, `--switch` and `--switch=false`.
fn flags(arguments: Vec<OsString>, problems: &mut Vec<Problem>) -> Vec<(&'static str, String)> {
    let mut words = arguments
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned());
    let mut given = Vec::new();
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let Some(spec) = ALL.iter().find(|spec| spec.flag == flag) else {
            problems.push(if flag.starts_with('-') {
                Problem::UnknownFlag { given: flag }
            } else {
                Problem::UnexpectedArgument { given: flag }
            });
            continue;
        };
        let value = value.or_else(|| {
            if spec.is_switch {
                Some("true".to_owned())
            } else {
                words.next()
            }
        });
        match value {
            Some(value) => given.push((spec.flag, value)),
            None => problems.push(Problem::MissingValue { flag }),
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str, variables: &[(&str, &str)]) -> Result<Options, UsageError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Options::parse(
            words.split_whitespace().map(OsString::from).collect(),
            &variable,
        )
    }

    #[test]
    fn flags_beat_variables_and_both_beat_defaults() {
        let options = parse("", &[]).unwrap();
        assert_eq!(options.bin_dir, PathBuf::from(BIN_DIR));
        assert_eq!(options.conf_dir, PathBuf::from(CONF_DIR));
        assert!(
            !options.remove_on_exit
                && options.exclude_namespaces.is_empty()
                && options.conf_name.is_none()
        );
        let variables = [
            ("MOUNTED_CNI_NET_DIR", "/v"),
            ("EXCLUDE_NAMESPACES", "a, b,"),
            ("REMOVE_ON_EXIT", "true"),
            ("CNI_CONF_NAME", ""),
        ];
        let options = parse(
            "--mounted-cni-net-dir=/f --check --mounted-cni-bin-dir /b",
            &variables,
        )
        .unwrap();
        assert_eq!(
            (options.conf_dir, options.bin_dir),
            ("/f".into(), "/b".into())
        );
        assert_eq!(options.exclude_namespaces, ["a", "b"]);
        assert!(options.remove_on_exit && options.task == Task::Check);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let error = parse(
            "--check=maybe --frob --cni-conf-name a/b.conflist word --mounted-cni-bin-dir",
            &[],
        )
        .unwrap_err();
        let text = error.to_string();
        for part in [
            "--check \"maybe\"",
            "--frob",
            "a/b.conflist",
            "word",
            "--mounted-cni-bin-dir needs a value",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
