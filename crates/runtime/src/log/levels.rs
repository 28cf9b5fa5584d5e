//! Which scope logs at which level, in Istio's notation.
//!
//! Parsed from `--log_output_level` and turned into the filter that the log's layer uses.
//! A scope is a crate or one of the names below; names that only Istio has are accepted, so that its annotations and scripts work.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Levels by scope; without an entry a scope logs at the level of `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    default: LevelFilter,
    scopes: BTreeMap<&'static str, LevelFilter>,
}

/// Why a text does not say levels.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelsError {
    /// No such level.
    #[error(
        "unknown log level `{level}`, give one of none, fatal, error, warn, info, debug, trace"
    )]
    Level {
        /// What was given.
        level: String,
    },
    /// No such scope.
    #[error("unknown log scope `{scope}`, give `all`, `default` or one of {}", OWN.join(", "))]
    Scope {
        /// What was given.
        scope: String,
    },
}

/// Scopes that we log under, each of them a prefix of module paths or the target of special lines.
const OWN: [&str; 11] = [
    "access", "agent", "h2", "hyper", "identity", "injector", "runtime", "rustls", "template",
    "tower", "wire",
];

/// Istio's own scopes, which have no counterpart here.
const ISTIO: &[&str] = &[
    "ads",
    "adsc",
    "analysis",
    "authn",
    "authorization",
    "ca",
    "cache",
    "citadelclient",
    "cli",
    "configmapcontroller",
    "conn",
    "controllers",
    "credentialfetcher",
    "delta",
    "dns",
    "gateway",
    "gcecred",
    "googleca",
    "googlecas",
    "grpcgen",
    "healthcheck",
    "iptables",
    "klog",
    "kube",
    "mockcred",
    "model",
    "monitoring",
    "ndsgen",
    "pkica",
    "pkira",
    "proxyconfig",
    "proxylog",
    "retry",
    "sds",
    "security",
    "serverca",
    "serviceentry",
    "simulation",
    "spiffe",
    "status",
    "stsclient",
    "stsserver",
    "telemetry",
    "token",
    "trustbundle",
    "tpath",
    "util",
    "validation",
    "validationcontroller",
    "validationserver",
    "wasm",
    "wle",
    "xdsproxy",
];

// === impl Levels ===

impl FromStr for Levels {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Self, LevelsError> {
        let mut levels = Self {
            default: LevelFilter::INFO,
            scopes: BTreeMap::new(),
        };
        let mut all = None;
        for entry in text.split(',').map(str::trim) {
            // Templates render an unset level as nothing.
            if entry.is_empty() {
                continue;
            }
            let (scope, level) = entry.split_once(':').unwrap_or(("default", entry));
            let level = parse_level(level.trim())?;
            let scope = scope.trim();
            if scope == "all" {
                all = Some(level);
            } else if scope == "default" {
                levels.default = level;
            } else if let Some(own) = OWN.iter().find(|own| **own == scope) {
                levels.scopes.insert(own, level);
            } else if !ISTIO.contains(&scope.to_ascii_lowercase().as_str()) {
                return Err(LevelsError::Scope {
                    scope: scope.to_owned(),
                });
            }
        }
        // As in Istio, `all` overrides whatever else was said.
        if let Some(default) = all {
            levels = Self {
                default,
                scopes: BTreeMap::new(),
            };
        }
        Ok(levels)
    }
}

/// In the notation that they are read in.
impl Display for Levels {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "default:{}", level_name(self.default))?;
        for (scope, level) in &self.scopes {
            write!(f, ",{scope}:{}", level_name(*level))?;
        }
        Ok(())
    }
}

impl From<&Levels> for Targets {
    fn from(levels: &Levels) -> Self {
        Self::new()
            .with_default(levels.default)
            .with_targets(levels.scopes.iter().map(|(scope, level)| (*scope, *level)))
    }
}

fn parse_level(level: &str) -> Result<LevelFilter, LevelsError> {
    match level {
        "none" => Ok(LevelFilter::OFF),
        // There is nothing above an error here.
        "fatal" | "error" => Ok(LevelFilter::ERROR),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(LevelsError::Level {
            level: level.to_owned(),
        }),
    }
}

fn level_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::OFF => "none",
        LevelFilter::ERROR => "error",
        LevelFilter::WARN => "warn",
        LevelFilter::INFO => "info",
        LevelFilter::DEBUG => "debug",
        LevelFilter::TRACE => "trace",
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Whether a line of `target` at `level` passes what `text` says.
    fn logs(text: &str, target: &str, level: Level) -> bool {
        Targets::from(&text.parse::<Levels>().unwrap()).would_enable(target, &level)
    }

    #[test]
    fn levels_apply_to_their_scope() {
        let table = [
            ("default:info", "agent::inbound", Level::INFO, true),
            ("default:info", "agent::inbound", Level::DEBUG, false),
            ("debug", "agent", Level::DEBUG, true),
            (
                "default:warn,agent:debug",
                "agent::inbound",
                Level::DEBUG,
                true,
            ),
            ("default:warn,agent:debug", "injector", Level::INFO, false),
            ("agent:debug", "injector", Level::INFO, true),
            ("all:error,agent:debug", "agent", Level::WARN, false),
            ("default:none", "agent", Level::ERROR, false),
            ("default:fatal", "agent", Level::ERROR, true),
            ("", "agent", Level::INFO, true),
            (
                " default : debug , access:none",
                "access",
                Level::ERROR,
                false,
            ),
            ("default:info,xdsproxy:debug", "agent", Level::DEBUG, false),
            ("default:info,trustBundle:debug", "agent", Level::INFO, true),
        ];
        for (text, target, level, expected) in table {
            assert_eq!(
                logs(text, target, level),
                expected,
                "{text} {target} {level}"
            );
        }
    }

    #[test]
    fn levels_are_shown_as_they_are_read() {
        for text in [
            "default:info",
            "default:none,access:trace,agent:debug",
            "default:warn,h2:error",
        ] {
            assert_eq!(text.parse::<Levels>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn unknown_names_are_errors_that_list_the_known() {
        let level = "default:loud".parse::<Levels>().unwrap_err().to_string();
        assert!(
            level.contains("`loud`") && level.contains("debug"),
            "{level}"
        );
        let scope = "agnet:info".parse::<Levels>().unwrap_err().to_string();
        assert!(
            scope.contains("`agnet`") && scope.contains("agent"),
            "{scope}"
        );
        for text in ["agent:", "a:b:c", ":info", "default:INFO"] {
            assert!(text.parse::<Levels>().is_err(), "{text}");
        }
    }
}
