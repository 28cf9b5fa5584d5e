//! What the admin port answers: the agent's picture of the world, and the switches of its logs.
//!
//! `app` serves [`Admin`] on the loopback addresses through the same small server as the status port; `agent request` asks it. Paths and
//! forms are Envoy's where Envoy has the same thing, so that people and scripts find their way. Nothing here is secret, but none of it
//! is for anybody outside the pod: whoever asks must come from this pod and call it by a loopback name, which a page in a browser that
//! was sent here by a foreign name does not.

mod clusters;
mod dump;
mod host;
mod logging;

use std::{net::IpAddr, sync::Arc, time::Instant};

use contract::paths;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use runtime::{log, readiness::Readiness};
use serde_json::{Value, json};
use tracing::{debug, info};

use crate::{
    config::Config,
    data_plane::AccessLogControl,
    discovery::Status,
    mesh::MeshStore,
    status::{
        Control, Metrics, body::Body, is_own_pod, not_allowed, not_found, server::Handler, text,
    },
    tls,
};

/// The answers of the admin port.
pub struct Admin {
    parts: Parts,
    started: Instant,
}

/// What the answers are made of.
pub struct Parts {
    /// The agent's settings.
    pub config: Config,
    /// The picture of the mesh.
    pub mesh: MeshStore,
    /// Where discovery stands.
    pub discovery: Status,
    /// The own certificate of the moment, if there is one.
    pub credentials: tls::Store,
    /// Whether the agent is ready.
    pub readiness: Readiness,
    /// The agent's metrics.
    pub metrics: Metrics,
    /// The levels of the log.
    pub log: log::Handle,
    /// The switch of the access log.
    pub access_log: AccessLogControl,
    /// How the agent ends.
    pub control: Arc<dyn Control>,
}

/// A page: what it is called, how it is asked for, what it is.
type Page = (&'static str, Verbs, &'static str);

/// Which methods a page takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verbs {
    Read,
    Act,
    Both,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PAGES: [Page; 10] = [
    ("/help", Verbs::Read, "this page"),
    (
        "/certs",
        Verbs::Read,
        "the own certificate and the roots, as JSON",
    ),
    (
        "/clusters",
        Verbs::Read,
        "endpoints of every service, ?format=json",
    ),
    (
        "/config_dump",
        Verbs::Read,
        "settings and picture of the mesh as JSON, ?resource=settings|services|workloads|inbound|discovery",
    ),
    (
        "/drain_listeners",
        Verbs::Act,
        "let inbound connections end with the request at hand, and go on running",
    ),
    (
        "/logging",
        Verbs::Both,
        "show the log's levels; with POST change them: ?level=debug, ?level=default:info,agent:debug, ?access_log=off|text|json",
    ),
    (paths::QUIT, Verbs::Act, "end without draining"),
    (
        "/ready",
        Verbs::Read,
        "whether the agent is ready, and what is missing",
    ),
    (
        "/server_info",
        Verbs::Read,
        "version, state and age, as JSON",
    ),
    (paths::STATS_PROMETHEUS, Verbs::Read, "metrics"),
];

// === impl Admin ===

impl Admin {
    /// The answers of an agent of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            started: Instant::now(),
        }
    }

    fn answer(&self, path: &str, query: &str, is_act: bool) -> Response<Body> {
        let parts = &self.parts;
        match path {
            "/certs" => json_page(&self.certs()),
            "/clusters" => match parameter(query, "format") {
                None | Some("text") => text(StatusCode::OK, clusters::text(&parts.mesh.load())),
                Some("json") => json_page(&clusters::json(&parts.mesh.load())),
                Some(_) => wrong("give ?format=text or ?format=json"),
            },
            "/config_dump" => {
                let resource = parameter(query, "resource");
                let report = parts.discovery.report();
                match dump::dump(&parts.config, &parts.mesh.load(), &report, resource) {
                    Some(dump) => json_page(&dump),
                    None => wrong(
                        "give ?resource=settings, services, workloads, inbound or discovery, or nothing for all",
                    ),
                }
            }
            "/logging" => self.logging(query, is_act),
            "/ready" => self.ready(),
            "/server_info" => json_page(&self.server_info()),
            "/drain_listeners" => {
                info!(path, "asked over HTTP");
                parts.control.drain();
                text(StatusCode::OK, "OK\n")
            }
            paths::QUIT => {
                info!(path, "asked over HTTP");
                parts.control.quit();
                text(StatusCode::OK, "OK\n")
            }
            paths::STATS_PROMETHEUS => parts.metrics.page(),
            _ => text(StatusCode::OK, help()),
        }
    }

    fn logging(&self, query: &str, is_act: bool) -> Response<Body> {
        if !is_act && !query.is_empty() {
            return wrong("to change something, send POST");
        }
        match logging::Change::parse(query) {
            Ok(change) => {
                change.apply(&self.parts.log, &self.parts.access_log);
                let shown = logging::shown(&self.parts.log, &self.parts.access_log);
                text(StatusCode::OK, shown)
            }
            Err(error) => wrong(&error.to_string()),
        }
    }

    fn ready(&self) -> Response<Body> {
        let report = self.parts.readiness.report();
        let status = if report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        text(status, report.to_string())
    }

    /// Envoy's names for the same.
    fn server_info(&self) -> Value {
        let report = self.parts.readiness.report();
        let state = match (report.draining, report.ready) {
            (true, _) => "DRAINING",
            (false, true) => "LIVE",
            (false, false) => "PRE_INITIALIZING",
        };
        let age = format!("{}s", self.started.elapsed().as_secs());
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": state,
            "uptime_current_epoch": age,
            "uptime_all_epochs": age,
        })
    }

    fn certs(&self) -> Value {
        let current = self.parts.credentials.load();
        let certificates = current.as_deref().map(dump::certificate);
        let refusal = self.parts.credentials.refusal();
        json!({
            "certificates": certificates.into_iter().collect::<Vec<Value>>(),
            "refused": refusal.map(|refusal| dump::refusal(&refusal)),
        })
    }
}

impl Handler for Admin {
    async fn handle<B: Send + Sync>(&self, peer: IpAddr, request: Request<B>) -> Response<Body> {
        let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
        let authority = request
            .uri()
            .authority()
            .map(|host| host.as_str().as_bytes());
        let is_local = [host, authority]
            .into_iter()
            .flatten()
            .all(host::is_loopback);
        if !is_local || !is_own_pod(peer) {
            debug!(src.addr = %peer, "refused, only this pod may ask for it");
            return text(
                StatusCode::FORBIDDEN,
                "only processes of this pod may ask, by the name localhost or a loopback address\n",
            );
        }
        let path = match request.uri().path() {
            "/" => "/help",
            path => path,
        };
        let Some((_, verbs, _)) = PAGES.iter().find(|(name, ..)| *name == path) else {
            return not_found();
        };
        let is_act = request.method() == Method::POST;
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        match verbs {
            Verbs::Read if !is_read => not_allowed("GET, HEAD"),
            Verbs::Act if !is_act => not_allowed("POST"),
            Verbs::Both if !is_act && !is_read => not_allowed("GET, HEAD, POST"),
            Verbs::Read | Verbs::Act | Verbs::Both => {
                self.answer(path, request.uri().query().unwrap_or_default(), is_act)
            }
        }
    }
}

/// The value of `name` in a query; the last one if there are several.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.rsplit('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn json_page(value: &Value) -> Response<Body> {
    let mut response = text(StatusCode::OK, format!("{value:#}\n"));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn wrong(advice: &str) -> Response<Body> {
    text(StatusCode::BAD_REQUEST, format!("{advice}\n"))
}

fn help() -> String {
    let mut page = "admin commands are:\n".to_owned();
    for (name, verbs, what) in PAGES {
        let method = match verbs {
            Verbs::Read => "GET",
            Verbs::Act => "POST",
            Verbs::Both => "GET, POST",
        };
        page.push_str(&format!("  {name} ({method}): {what}\n"));
    }
    page
}
