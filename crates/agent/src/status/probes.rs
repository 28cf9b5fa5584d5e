//! The application's own probes and lifecycle handlers, as injection recorded them.
//!
//! Injection points the kubelet at the status server and hands the originals over as JSON; `config` reads them here once, and
//! [`Prober`](prober::Prober) carries them out on request.
//! Only what is listed can be asked for, and only the application's own ports: the status server is no open proxy.

pub mod dial;
pub mod grpc;
pub mod http_get;
mod idle;
pub mod prober;
pub mod redirect;

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use contract::paths;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

/// Probes by the URL path under which the kubelet asks for them, `/app-health/web/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes(BTreeMap<String, Probe>);

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What to do.
    pub action: Action,
    /// How long it may take in all.
    pub timeout: Duration,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks for a page.
    HttpGet(HttpGet),
    /// Connects.
    TcpSocket {
        /// The application's port.
        port: NonZeroU16,
    },
    /// Asks the standard gRPC health service, version 1.
    Grpc {
        /// The application's port.
        port: NonZeroU16,
        /// The service to ask about; empty for the whole server.
        service: String,
    },
}

/// What page a probe asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    /// Whether to speak TLS; the certificate is not verified, as the kubelet does not either.
    pub tls: bool,
    /// The application's port.
    pub port: NonZeroU16,
    /// Path and query, with the first slash, fit for a request line.
    pub path: String,
    /// Replaces the `Host` that the kubelet sends.
    pub host: Option<HeaderValue>,
    /// Replace what the kubelet sends under the same names.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why the probes cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbesError {
    /// The text is not JSON of the right shape.
    #[error("not the JSON of probes")]
    Json(#[source] serde_json::Error),
    /// One probe makes no sense.
    #[error("probe {path}: {reason}")]
    Probe {
        /// Its URL path.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProbe {
    http_get: Option<RawHttpGet>,
    tcp_socket: Option<RawPort>,
    grpc: Option<RawGrpc>,
    timeout_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHttpGet {
    port: Port,
    path: Option<String>,
    scheme: Option<String>,
    http_headers: Option<Vec<RawHeader>>,
}

#[derive(Deserialize)]
struct RawHeader {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct RawPort {
    port: Port,
}

#[derive(Deserialize)]
struct RawGrpc {
    port: Port,
    service: Option<String>,
}

/// Kubernetes' `IntOrString`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a port, as a number or a text")]
enum Port {
    Number(i64),
    Text(String),
}

/// Kubernetes' default for `timeoutSeconds`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Lifecycle handlers have no timeout of their own: the kubelet ends them with the grace period. This only bounds what an
/// application that never answers can hold.
const LIFECYCLE_TIMEOUT: Duration = Duration::from_secs(600);
/// No more is granted to a probe: the kubelet has long gone away.
const LONGEST_TIMEOUT: u64 = 3600;

// === impl Probes ===

impl Probes {
    /// Reads the JSON of `ISTIO_KUBE_APP_PROBERS`; an empty text gives no probes.
    ///
    /// # Errors
    /// Everything that is wrong: one error for text that is not JSON, else one for each probe that makes no sense.
    pub fn parse(text: &str) -> Result<Self, Vec<ProbesError>> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let raw: Option<BTreeMap<String, RawProbe>> =
            serde_json::from_str(text).map_err(|error| vec![ProbesError::Json(error)])?;
        let mut probes = BTreeMap::new();
        let mut errors = Vec::new();
        for (path, raw) in raw.unwrap_or_default() {
            match Probe::new(&path, raw) {
                Ok(probe) => drop(probes.insert(path, probe)),
                Err(reason) => errors.push(ProbesError::Probe { path, reason }),
            }
        }
        if errors.is_empty() {
            Ok(Self(probes))
        } else {
            Err(errors)
        }
    }

    /// The probe for a URL path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Probe> {
        self.0.get(path)
    }

    /// How many probes there are.
    #[must_use]
    pub fn n_probes(&self) -> usize {
        self.0.len()
    }
}

// === impl Probe ===

impl Probe {
    fn new(path: &str, raw: RawProbe) -> Result<Self, &'static str> {
        let below = |prefix| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let default = if below(paths::APP_HEALTH) {
            PROBE_TIMEOUT
        } else if below(paths::APP_LIFECYCLE) {
            LIFECYCLE_TIMEOUT
        } else {
            return Err("the path lies neither below /app-health nor below /app-lifecycle");
        };
        let timeout = match raw.timeout_seconds {
            None | Some(0) => default,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) => Duration::from_secs(seconds.min(LONGEST_TIMEOUT)),
                Err(_) => return Err("timeoutSeconds is negative"),
            },
        };
        let action = match (raw.http_get, raw.tcp_socket, raw.grpc) {
            (Some(http_get), None, None) => Action::HttpGet(HttpGet::new(http_get)?),
            (None, Some(tcp), None) => Action::TcpSocket {
                port: tcp.port.number()?,
            },
            (None, None, Some(grpc)) => Action::Grpc {
                port: grpc.port.number()?,
                service: grpc.service.unwrap_or_default(),
            },
            _ => return Err("give exactly one of httpGet, tcpSocket and grpc"),
        };
        Ok(Self { action, timeout })
    }
}

// === impl HttpGet ===

impl HttpGet {
    fn new(raw: RawHttpGet) -> Result<Self, &'static str> {
        let tls = match raw.scheme.as_deref().unwrap_or("HTTP") {
            "" => false,
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err("the scheme is neither HTTP nor HTTPS"),
        };
        let mut host = None;
        let mut headers = Vec::new();
        for RawHeader { name, value } in raw.http_headers.unwrap_or_default() {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| "a value of httpHeaders holds characters that no header may hold")?;
            if name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority") {
                host = Some(value);
            } else {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| "a name of httpHeaders is not the name of a header")?;
                headers.push((name, value));
            }
        }
        Ok(Self {
            tls,
            port: raw.port.number()?,
            path: redirect::request_target(raw.path.as_deref().unwrap_or_default()),
            host,
            headers,
        })
    }
}

// === impl Port ===

impl Port {
    fn number(&self) -> Result<NonZeroU16, &'static str> {
        match self {
            Self::Number(number) => u16::try_from(*number).ok(),
            Self::Text(text) => text.parse().ok(),
        }
        .and_then(NonZeroU16::new)
        .ok_or("the port is not a number from 1 to 65535")
    }
}

#[cfg(test)]
mod tests;
