//! Changes of the logs while the agent runs.
//!
//! The query of `/logging` is read as a whole before anything changes, so that a wrong one changes nothing.

use runtime::log::{
    self,
    levels::{Levels, LevelsError},
};
use tracing::info;

use crate::data_plane::{AccessLogControl, Format};

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    levels: Option<Levels>,
    /// The format of lines; nothing for no lines.
    access_log: Option<Option<Format>>,
}

/// Why a query asks for nothing that can be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChangeError {
    #[error("level: {0}")]
    Levels(LevelsError),
    #[error("access_log: `{0}` is not off, text or json")]
    AccessLog(String),
    #[error("`{0}` is not possible, give level=… or access_log=…")]
    Unknown(String),
}

// === impl Change ===

impl Change {
    pub(super) fn parse(query: &str) -> Result<Self, ChangeError> {
        let mut change = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "level" => {
                    // Commas and colons of a query may be escaped.
                    let value = value.replace("%2C", ",").replace("%3A", ":");
                    let value = value.replace("%2c", ",").replace("%3a", ":");
                    change.levels = Some(value.parse().map_err(ChangeError::Levels)?);
                }
                "access_log" => {
                    change.access_log = Some(match value.to_ascii_lowercase().as_str() {
                        "off" => None,
                        "text" => Some(Format::Text),
                        "json" => Some(Format::Json),
                        _ => return Err(ChangeError::AccessLog(value.to_owned())),
                    });
                }
                _ => return Err(ChangeError::Unknown(key.to_owned())),
            }
        }
        Ok(change)
    }

    pub(super) fn apply(self, log: &log::Handle, access_log: &AccessLogControl) {
        if let Some(levels) = self.levels {
            info!(%levels, "log levels change");
            log.set(levels);
        }
        if let Some(format) = self.access_log {
            info!(?format, "access log changes");
            access_log.set(format);
        }
    }
}

/// The state of both logs, a line each.
pub(super) fn shown(log: &log::Handle, access_log: &AccessLogControl) -> String {
    let format = match access_log.format() {
        None => "off",
        Some(Format::Text) => "text",
        Some(Format::Json) => "json",
    };
    format!("level: {}\naccess_log: {format}\n", log.levels())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_a_whole() {
        let levels = |text: &str| Some(text.parse().unwrap());
        let table = [
            ("", None, None),
            ("level=debug", levels("debug"), None),
            (
                "level=default%3Awarn%2Cagent:debug&access_log=JSON",
                levels("default:warn,agent:debug"),
                Some(Some(Format::Json)),
            ),
            ("access_log=off&", None, Some(None)),
        ];
        for (query, levels, access_log) in table {
            let expected = Change { levels, access_log };
            assert_eq!(Change::parse(query), Ok(expected), "{query}");
        }
        for (query, expected) in [
            ("level=loud", "level: unknown log level `loud`"),
            ("access_log=maybe", "access_log: `maybe` is not off"),
            ("agent=debug", "`agent` is not possible"),
            ("level", "level: "),
        ] {
            match Change::parse(query) {
                Err(error) => assert!(error.to_string().starts_with(expected), "{error}"),
                // Templates render an unset level as nothing.
                Ok(change) => assert_eq!((query, change.access_log), ("level", None)),
            }
        }
    }
}
