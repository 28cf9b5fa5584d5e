//! From settings to a [`Config`]: every value checked, every problem noted.
//!
//! Called by [`parse`](super::parse); pure but for names of owners. A value that is wrong is
//! replaced by a harmless one so that checking can go on; the caller throws the result away when a
//! problem was noted.

mod capture;

use ipnet::IpNet;

use super::{
    Config, Problem, Warning,
    options::{self as option, Spec},
    values::{self, Setting, Settings},
};
use crate::{
    accounts::Accounts,
    capture::{Interface, PortRange},
};

/// Reads typed values and collects what is wrong.
pub(super) struct Checker<'a> {
    pub(super) settings: &'a Settings,
    accounts: &'a dyn Accounts,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

/// All for one word, Istio's wildcard.
const ALL: &str = "*";

/// A list that is wrong in this many elements is wrong altogether.
const PROBLEMS_PER_LIST: usize = 10;

/// Checks everything.
pub(super) fn config(
    settings: &Settings,
    accounts: &dyn Accounts,
    problems: &mut Vec<Problem>,
) -> Config {
    let mut checker = Checker {
        settings,
        accounts,
        problems,
        warnings: Vec::new(),
    };
    checker.unsupported();
    checker.without_effect();
    let capture = checker.capture();
    let task = checker.task();
    let (backend, iptables) = checker.backend();
    let validation = checker.validation();
    let leftovers = checker.leftovers();
    Config {
        capture,
        task,
        backend,
        iptables,
        validation,
        leftovers,
        warnings: checker.warnings,
    }
}

/// A switch as far as it can be read, for what must be known even if the command line is wrong.
pub(super) fn switch_or_default(settings: &Settings, spec: &'static Spec) -> bool {
    values::boolean(settings.of(spec).value).unwrap_or(false)
}

/// Whether the log level lets informational lines through.
pub(super) fn is_verbose(settings: &Settings) -> bool {
    !matches!(
        level(settings.of(&option::LOG_OUTPUT_LEVEL).value),
        Ok(Some("none" | "fatal" | "error" | "warn"))
    )
}

/// The level of the scope that is ours: the default one. `info`, `default:info`,
/// `default:info,ads:debug`.
fn level(text: &str) -> Result<Option<&str>, String> {
    const LEVELS: [&str; 6] = ["none", "fatal", "error", "warn", "info", "debug"];
    let mut ours = None;
    for entry in text.split(',') {
        let (scope, level) = entry.split_once(':').unwrap_or(("default", entry));
        if !LEVELS.contains(&level) {
            return Err(format!(
                "levels such as default:info, each one of {}",
                LEVELS.join(", ")
            ));
        }
        if matches!(scope, "default" | "all" | "istio-init") {
            ours = Some(level);
        }
    }
    Ok(ours)
}

// === impl Checker ===

impl Checker<'_> {
    /// Refuses what is asked for and not there.
    fn unsupported(&mut self) {
        if self.switch(&option::CNI_MODE) {
            self.refuse(&option::CNI_MODE, "work for a CNI plugin");
        }
        let texts: [(&'static Spec, &'static str); 2] = [
            (
                &option::NETWORK_NAMESPACE,
                "another network namespace than that of the process",
            ),
            (
                &option::DRY_RUN_FILE_PATH,
                "a file for the plan, which goes to standard output,",
            ),
        ];
        for (spec, feature) in texts {
            if !self.settings.of(spec).value.is_empty() {
                self.refuse(spec, feature);
            }
        }
    }

    /// Reads what has no effect here too: a typing error should be found by whoever made it.
    fn without_effect(&mut self) {
        for spec in [
            &option::DUAL_STACK,
            &option::NATIVE_NFTABLES,
            &option::RECONCILE,
            &option::LOG_AS_JSON,
        ] {
            self.switch(spec);
        }
        for spec in [&option::HELP, &option::VERSION] {
            self.switch(spec);
        }
        self.value(&option::LOG_OUTPUT_LEVEL, (), |text| {
            level(text).map(|_| ())
        });
    }

    pub(super) fn switch(&mut self, spec: &'static Spec) -> bool {
        self.value(spec, false, values::boolean)
    }

    fn ports(&mut self, spec: &'static Spec) -> Vec<PortRange> {
        self.list(spec, values::port_range)
    }

    fn networks(&mut self, spec: &'static Spec) -> Vec<IpNet> {
        self.list(spec, values::network)
    }

    fn interfaces(&mut self, spec: &'static Spec) -> Vec<Interface> {
        self.list(spec, |name| {
            Interface::parse(name).map_err(|error| format!("an interface, and {error}"))
        })
    }

    fn owners(
        &mut self,
        spec: &'static Spec,
        kind: &str,
        find: &dyn Fn(&str) -> Option<u32>,
    ) -> Vec<u32> {
        self.list(spec, |text| match values::number(text) {
            // The highest number means "nobody" to the kernel.
            Some(number) if number < u32::MAX => Ok(number),
            None if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => find(text)
                .ok_or_else(|| {
                    format!("a known {kind}, and this one is not in the image: write its number")
                }),
            Some(_) | None => Err(format!(
                "a {kind}, by its number from 0 to 4294967294 or by its name"
            )),
        })
    }

    pub(super) fn value<T>(
        &mut self,
        spec: &'static Spec,
        fallback: T,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let setting = self.settings.of(spec);
        match read(setting.value) {
            Ok(value) => value,
            Err(expected) => {
                self.note(setting, setting.value, expected);
                fallback
            }
        }
    }

    /// A comma list; blanks around an element do no harm, an element that is missing is a mistake.
    fn list<T>(&mut self, spec: &'static Spec, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let setting = self.settings.of(spec);
        if setting.value.is_empty() {
            return Vec::new();
        }
        let mut values = Vec::new();
        let before = self.problems.len();
        for element in setting.value.split(',').map(str::trim) {
            match read(element) {
                Ok(value) => values.push(value),
                Err(_) if element.is_empty() => {
                    self.note(
                        setting,
                        setting.value,
                        "a comma list without empty elements".to_owned(),
                    );
                }
                Err(expected) => self.note(setting, element, expected),
            }
            if self.problems.len() - before >= PROBLEMS_PER_LIST {
                break;
            }
        }
        values
    }

    fn note(&mut self, setting: Setting<'_>, part: &str, expected: String) {
        let problem = Problem::Invalid {
            origin: setting.origin(part),
            expected,
        };
        // The same mistake is met more than once where a value is read for two purposes or repeated
        // in a list.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn refuse(&mut self, spec: &'static Spec, feature: &'static str) {
        let setting = self.settings.of(spec);
        let origin = setting.origin(setting.value);
        self.problems.push(Problem::Unsupported { origin, feature });
    }
}
