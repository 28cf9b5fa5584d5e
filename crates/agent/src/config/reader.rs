//! Reads settings from where they were given, and keeps what is wrong with them.
//!
//! `config` asks for one setting after the other; a wrong one becomes a problem and counts as not given, so that the next can be read.

use std::time::Duration;

use super::{
    problem::{Origin, Problem},
    proxy_config::ProxyConfig,
};

/// Settings and what is wrong with them so far.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) proxy_config: &'a ProxyConfig,
    pub(super) problems: Vec<Problem>,
}

/// A flag with its environment variable and what was given for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    flag: &'static str,
    env: &'static str,
    value: Option<&'a str>,
}

/// A value with the place where it was given.
pub(super) type Given<'a> = Option<(Origin, &'a str)>;

/// Longest duration that is accepted: far beyond any grace period, and safe to add to any clock.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Far more threads than any machine has cores for.
const MOST_THREADS: usize = 1024;

// === impl Setting ===

impl<'a> Setting<'a> {
    /// An empty value counts as not given: templates render unset values so.
    pub(super) fn new(flag: &'static str, env: &'static str, value: Option<&'a String>) -> Self {
        Self {
            flag,
            env,
            value: value.map(String::as_str).filter(|text| !text.is_empty()),
        }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::Flag {
            flag: self.flag,
            env: self.env,
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// What is given for `setting`, else what `proxyMetadata` says for its variable.
    pub(super) fn given(&self, setting: Setting<'a>) -> Given<'a> {
        match setting.value {
            Some(value) => Some((setting.origin(), value)),
            None => self
                .proxy_config
                .metadata(setting.env)
                .filter(|value| !value.is_empty())
                .map(|value| (Origin::ProxyConfig("proxyMetadata"), value)),
        }
    }

    pub(super) fn port(&mut self, given: Given<'_>) -> Option<u16> {
        self.parse(given, "a port number from 0 to 65535", |text| {
            text.parse().ok()
        })
    }

    pub(super) fn threads(&mut self, given: Given<'_>) -> Option<usize> {
        self.parse(given, "a number of threads from 0 to 1024", |text| {
            text.parse().ok().filter(|number| *number <= MOST_THREADS)
        })
    }

    pub(super) fn duration(&mut self, given: Given<'_>) -> Option<Duration> {
        let expected = "a duration with a unit, such as 5s, 1m30s or 100ms, of a week at most";
        self.parse(given, expected, |text| {
            let duration = runtime::duration::parse(text).ok()?;
            (duration <= LONGEST).then_some(duration)
        })
    }

    /// Go's booleans; false if nothing is given.
    pub(super) fn bool(&mut self, given: Given<'_>) -> bool {
        let value = self.parse(given, "true or false", |text| match text {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
            _ => None,
        });
        value.unwrap_or(false)
    }

    pub(super) fn parse<T>(
        &mut self,
        given: Given<'_>,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (origin, text) = given?;
        let value = parse(text);
        if value.is_none() {
            self.problems.push(Problem::Value {
                origin,
                value: text.chars().take(100).collect(),
                expected,
            });
        }
        value
    }
}
