//! One request of the container runtime: variables and standard input in, a checked [`Request`] out.
//!
//! Called first by [`cni`](super); what is read is bounded. A field is looked at when a command needs it, so that what does not matter for the end of a
//! pod cannot keep it from ending.

use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
};

use contract::cni::{EXCLUDE_NAMESPACES, POD_ANNOTATIONS};
use serde_json::{Map, Value, json};

use super::error::CniError;

/// What the runtime wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Set up a pod.
    Add,
    /// Take that back.
    Del,
    /// Tell whether it is still so.
    Check,
    /// Forget pods that are gone.
    Gc,
    /// Tell whether pods can be set up.
    Status,
    /// Tell which versions of the specification are spoken.
    Version,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) command: Command,
    version: &'static str,
    configuration: Map<String, Value>,
    namespace: Option<PathBuf>,
    pod_namespace: Option<String>,
    pod_name: Option<String>,
}

/// Versions of the specification, the oldest first. Older ones know no chains.
pub(super) const SUPPORTED: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The version in which errors are told where the request names none.
pub(super) const NEWEST: &str = "1.1.0";
/// Annotations have 256 KiB at most, which escaping can make six times as long; the rest is what other plugins return.
const LIMIT: u64 = 4 << 20;

// === impl Request ===

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it. The end of a pod takes any configuration, because nothing of it is needed.
    pub(super) fn read(
        variable: &dyn Fn(&str) -> Option<OsString>,
        input: &mut dyn Read,
    ) -> Result<Self, CniError> {
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        let command = Command::parse(text("CNI_COMMAND").as_deref())?;
        let configuration = configuration(input);
        let configuration = match command {
            Command::Del => configuration.unwrap_or_default(),
            Command::Version => configuration.or_else(|error| match error {
                CniError::Json {
                    source: Some(error),
                } if error.is_eof() && error.column() == 0 => Ok(Map::new()),
                error => Err(error),
            })?,
            Command::Add | Command::Check | Command::Gc | Command::Status => configuration?,
        };
        let version = version(&configuration);
        let arguments = text("CNI_ARGS").unwrap_or_default();
        let argument = |name: &str| {
            let mut pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
            let found = pairs.find(|(key, value)| *key == name && !value.is_empty());
            found.map(|(_, value)| value.to_owned())
        };
        let request = Self {
            command,
            version: match command {
                Command::Del | Command::Version => version.unwrap_or(NEWEST),
                Command::Add | Command::Check | Command::Gc | Command::Status => version?,
            },
            configuration,
            namespace: variable("CNI_NETNS")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            pod_namespace: argument("K8S_POD_NAMESPACE"),
            pod_name: argument("K8S_POD_NAME"),
        };
        if matches!(command, Command::Add | Command::Check) {
            for name in ["CNI_CONTAINERID", "CNI_IFNAME"] {
                if text(name).is_none_or(|value| value.is_empty()) {
                    let problem = "not set".to_owned();
                    return Err(CniError::Variable { name, problem });
                }
            }
            request.namespace()?;
        }
        Ok(request)
    }

    /// The version that the answer is in.
    pub(super) fn version(&self) -> &'static str {
        self.version
    }

    /// Path of the pod's network namespace.
    pub(super) fn namespace(&self) -> Result<&Path, CniError> {
        self.namespace.as_deref().ok_or_else(|| CniError::Variable {
            name: "CNI_NETNS",
            problem: "not set".to_owned(),
        })
    }

    /// The pod's name for people.
    pub(super) fn pod(&self) -> String {
        let or_unknown = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".to_owned());
        format!(
            "{}/{}",
            or_unknown(&self.pod_namespace),
            or_unknown(&self.pod_name)
        )
    }

    /// What the plugins before have returned.
    pub(super) fn previous_result(&self) -> Option<&Map<String, Value>> {
        self.configuration.get("prevResult")?.as_object()
    }

    /// The pod's annotations; nothing if the runtime did not pass them, which is not the same as passing none.
    pub(super) fn annotations(&self) -> Option<Result<&Map<String, Value>, CniError>> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        let passed = self
            .configuration
            .get("runtimeConfig")?
            .get(POD_ANNOTATIONS)?;
        Some(match passed {
            Value::Object(annotations) => Ok(annotations),
            // A map without entries, as Go writes one that was never made.
            Value::Null => Ok(&NONE),
            _ => Err(configuration_error(format!(
                "runtimeConfig[{POD_ANNOTATIONS:?}] is no object"
            ))),
        })
    }

    /// Whether the pod is in a namespace that is listed as never being of the mesh.
    pub(super) fn is_excluded(&self) -> Result<bool, CniError> {
        let listed = match self.configuration.get(EXCLUDE_NAMESPACES) {
            None | Some(Value::Null) => return Ok(false),
            Some(Value::Array(listed)) => listed,
            Some(_) => {
                return Err(configuration_error(format!(
                    "{EXCLUDE_NAMESPACES} is no list"
                )));
            }
        };
        let own = self.pod_namespace.as_deref();
        Ok(own.is_some_and(|own| listed.iter().any(|listed| listed.as_str() == Some(own))))
    }
}

// === impl Command ===

impl Command {
    fn parse(text: Option<&str>) -> Result<Self, CniError> {
        Ok(match text.unwrap_or_default() {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            "" => {
                let problem =
                    "not set: this is a CNI plugin, which a container runtime runs".to_owned();
                return Err(CniError::Variable {
                    name: "CNI_COMMAND",
                    problem,
                });
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                let problem = format!("{shown:?}, not ADD, DEL, CHECK, GC, STATUS or VERSION");
                return Err(CniError::Variable {
                    name: "CNI_COMMAND",
                    problem,
                });
            }
        })
    }
}

pub(super) fn configuration_error(problem: String) -> CniError {
    CniError::Configuration { problem }
}

/// The answer to [`Command::Version`].
pub(super) fn versions(version: &str) -> String {
    format!(
        "{}\n",
        json!({"cniVersion": version, "supportedVersions": SUPPORTED})
    )
}

fn configuration(input: &mut dyn Read) -> Result<Map<String, Value>, CniError> {
    let mut text = Vec::new();
    let read = input.take(LIMIT + 1).read_to_end(&mut text);
    let length = read.map_err(|source| CniError::Input { source })?;
    if u64::try_from(length).is_ok_and(|length| length > LIMIT) {
        return Err(CniError::TooLong { limit: LIMIT });
    }
    match serde_json::from_slice(&text) {
        Ok(Value::Object(configuration)) => Ok(configuration),
        Ok(_) => Err(CniError::Json { source: None }),
        Err(source) => Err(CniError::Json {
            source: Some(source),
        }),
    }
}

fn version(configuration: &Map<String, Value>) -> Result<&'static str, CniError> {
    let given = configuration
        .get("cniVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let known = SUPPORTED.into_iter().find(|version| *version == given);
    known.ok_or_else(|| CniError::Version {
        given: given.chars().take(40).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_request_makes_it_panic(
            command in "ADD|DEL|CHECK|GC|STATUS|VERSION|.{0,9}",
            arguments in ".{0,40}",
            version in "1\\.1\\.0|.{0,9}",
            more in ".{0,40}",
            text in any::<Vec<u8>>(),
        ) {
            let variable = |name: &str| {
                Some(OsString::from(if name == "CNI_COMMAND" { &command } else { &arguments }))
            };
            let object = json!({"cniVersion": version, "runtimeConfig": more, EXCLUDE_NAMESPACES: more}).to_string();
            for input in [text.as_slice(), object.as_bytes()] {
                if let Ok(request) = Request::read(&variable, &mut &*input) {
                    let _ = (request.pod(), request.annotations().is_some(), request.is_excluded());
                    prop_assert!(SUPPORTED.contains(&request.version()));
                }
            }
        }
    }
}
