//! `agent request`: asks a local port of the sidecar and prints the answer.
//!
//! The image has no shell and no curl; preStop hooks and people with `kubectl exec` use this instead. Only the ports that are the
//! sidecar's own can be asked, so it is no way around the mesh.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use contract::ports;
use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{
    args::RequestArgs,
    client::{self, Version, exchange},
};

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A port of somebody else.
    #[error(
        "--debug-port (env AGENT_DEBUG_PORT): {port} is not one of 15000, 15004, 15020 and 15021"
    )]
    Port {
        /// What was given.
        port: u16,
    },
    /// Nothing that HTTP allows.
    #[error("`{method} {path}` is not an HTTP request")]
    Request {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// Tokio refused to start.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// Nobody listens.
    #[error("cannot connect to port {port} of the sidecar, is it running?")]
    Connect {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no HTTP answer from port {port}")]
    Http {
        /// The port.
        port: u16,
        /// What hyper says.
        source: hyper::Error,
    },
    /// It took too long.
    #[error("no whole answer from port {port} within {} s", LIMIT.as_secs())]
    Timeout {
        /// The port.
        port: u16,
    },
    /// The answer could not be printed.
    #[error("cannot print the answer")]
    Print(#[source] io::Error),
    /// The sidecar refused.
    #[error("port {port} answers {status}")]
    Status {
        /// The port.
        port: u16,
        /// Its answer.
        status: StatusCode,
    },
}

/// Istio's limit for the same command.
const LIMIT: Duration = Duration::from_secs(60);
/// Ports of the sidecar that answer requests; the second is istiod's debug interface in Istio.
const PORTS: [u16; 4] = [ports::ADMIN, 15004, ports::STATUS, ports::READINESS];

/// Sends the request to one of the sidecar's own ports and writes the answer's body to `out`, whatever its status.
///
/// # Errors
/// Any [`RequestError`]; an error status is one, after its body was written.
pub fn run(args: &RequestArgs, out: &mut dyn Write) -> Result<(), RequestError> {
    let port = args.debug_port;
    if PORTS.contains(&port) {
        send(args, out)
    } else {
        Err(RequestError::Port { port })
    }
}

/// As [`run`], for any local port.
///
/// # Errors
/// As [`run`], but for [`RequestError::Port`].
pub fn send(args: &RequestArgs, out: &mut dyn Write) -> Result<(), RequestError> {
    let port = args.debug_port;
    let request = request(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RequestError::Start)?;
    let asking = async {
        timeout(LIMIT, ask(port, request, out))
            .await
            .map_err(|_| RequestError::Timeout { port })?
    };
    let status = runtime.block_on(asking)?;
    if status.is_success() {
        Ok(())
    } else {
        Err(RequestError::Status { port, status })
    }
}

fn request(args: &RequestArgs) -> Result<Request<Full<Bytes>>, RequestError> {
    let wrong = || RequestError::Request {
        method: args.method.clone(),
        path: args.path.clone(),
    };
    let method = args.method.to_ascii_uppercase();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
    Request::builder()
        .method(method)
        .uri(format!("/{}", args.path.trim_start_matches('/')))
        .header(HOST, format!("localhost:{}", args.debug_port))
        .body(Full::from(args.body.clone().unwrap_or_default()))
        .map_err(|_| wrong())
}

async fn ask(
    port: u16,
    request: Request<Full<Bytes>>,
    out: &mut dyn Write,
) -> Result<StatusCode, RequestError> {
    let stream = client::connect("localhost", port)
        .await
        .map_err(|source| RequestError::Connect { port, source })?;
    let print = |response: Response<Incoming>| async move {
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if let Err(error) = out.write_all(&data) {
                return Ok(Err(error));
            }
        }
        Ok(out.flush().map(|()| status))
    };
    exchange(Version::Http1, stream, request, print)
        .await
        .map_err(|source| RequestError::Http { port, source })?
        .map_err(RequestError::Print)
}
