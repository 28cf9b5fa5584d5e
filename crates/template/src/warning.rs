//! What a pod's author should know though the pod was injected.
//!
//! Collected by the steps of the pipeline; the command line prints warnings on stderr, the webhook hands them to kubectl.

/// A surprise that is no error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// `sidecar.istio.io/inject` has a value that means nothing.
    #[error(
        "sidecar.istio.io/inject is {value:?}, which is neither \"true\" nor \"false\"; the configured policy decides instead"
    )]
    UnclearWish {
        /// Its value.
        value: String,
    },
    /// A probe names a port that its container does not have.
    #[error(
        "{field} of container {container} names port {port:?}, which the container does not declare; the probe stays as it is"
    )]
    UnknownPort {
        /// The container.
        container: String,
        /// Such as `readinessProbe`.
        field: &'static str,
        /// The name.
        port: String,
    },
    /// There is no status server that could answer for the application.
    #[error(
        "the agent's status port is 0, by annotation status.sidecar.istio.io/port or by configuration, so nothing can answer rewritten probes; they stay as they are"
    )]
    NoStatusPort,
    /// `prometheus.istio.io/scrape-targets` cannot be read.
    #[error(
        "annotation prometheus.istio.io/scrape-targets is {value:?}, where PORT:PATH,… is expected; it is ignored"
    )]
    ScrapeTargets {
        /// Its value.
        value: String,
    },
}

// === impl Warning ===

impl Warning {
    /// One of each kind; names and values in them are empty.
    #[must_use]
    pub fn all() -> [Self; 4] {
        let empty = String::new;
        [
            Self::UnclearWish { value: empty() },
            Self::UnknownPort {
                container: empty(),
                field: "",
                port: empty(),
            },
            Self::NoStatusPort,
            Self::ScrapeTargets { value: empty() },
        ]
    }

    /// The stable code, for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnclearWish { .. } => "unclear-wish",
            Self::UnknownPort { .. } => "unknown-probe-port",
            Self::NoStatusPort => "no-status-port",
            Self::ScrapeTargets { .. } => "scrape-targets",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::UnclearWish { .. } => "write \"true\" or \"false\", in quotes and lower case",
            Self::UnknownPort { .. } => "declare the port in the container, or give its number",
            Self::NoStatusPort => {
                "give the annotation status.sidecar.istio.io/port another port, or remove it"
            }
            Self::ScrapeTargets { .. } => "write PORT:PATH,… such as 9090:/metrics",
        }
    }
}
