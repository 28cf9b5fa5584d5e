//! Metrics of application and sidecar from one port.
//!
//! Called on the merged pod: what the author's annotations say about scraping moves into a variable of the sidecar, and the annotations point to the agent,
//! which serves both. Prometheus turns any annotation into a label by replacing odd characters, so every spelling that ends as the same label is meant.

use contract::{annotations, env, paths, pod::PROXY_CONTAINER, ports};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{error::Error, pod, validate, warning::Warning};

const PORT: &str = "prometheus_io_port";
const PATH: &str = "prometheus_io_path";
const SCRAPE: &str = "prometheus_io_scrape";
const TARGETS: &str = "prometheus_istio_io_scrape_targets";
const SECURE_PORT: &str = "prometheus_istio_io_secure_port";

/// Turns merging on or off for a pod, a Go boolean.
const MERGE: &str = "prometheus.istio.io/merge-metrics";

/// Ports of the sidecar itself, whose metrics it would then ask itself for.
const RESERVED: &[u16] = &[
    ports::ADMIN,
    ports::OUTBOUND,
    15004,
    ports::INBOUND,
    ports::HBONE,
    ports::STATUS,
    ports::READINESS,
    ports::DNS,
    ports::PROMETHEUS,
];

/// What the agent is told, as it expects it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Scrape {
    scrape: String,
    path: String,
    port: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Target {
    port: String,
    path: String,
}

/// Points scraping at the agent on `status_port`; `mesh_merges` is the mesh's wish where the pod has none.
///
/// # Errors
/// When the author's port is none, or one that the sidecar serves itself.
pub(crate) fn merge(
    pod: &mut Value,
    mesh_merges: bool,
    status_port: u16,
    warnings: &mut Vec<Warning>,
) -> Result<(), Error> {
    let none = Map::new();
    let annotations = pod::metadata_map(pod, "annotations").unwrap_or(&none);
    let wish = annotations
        .get(MERGE)
        .and_then(Value::as_str)
        .and_then(validate::boolean);
    let refused = texts(annotations)
        .any(|(key, text)| is_label(key, SCRAPE) && validate::boolean(text) == Some(false));
    let port = status_port.to_string();
    let is_done = texts(annotations).any(|(key, text)| text == port && is_label(key, PORT));
    if refused || is_done || !wish.unwrap_or(mesh_merges) || status_port == 0 {
        return Ok(());
    }
    let scrape = Scrape::read(annotations, warnings);
    scrape.check(status_port)?;
    if scrape != Scrape::default()
        && let Some(sidecar) = pod::find_mut(pod, PROXY_CONTAINER)
    {
        let text = serde_json::to_string(&scrape).expect("texts are plain data");
        pod::set_variable_last(sidecar, env::PROMETHEUS_ANNOTATIONS, &text);
    }
    let annotations = pod::metadata_map_mut(pod, "annotations");
    annotations.retain(|key, _| !is_about_scraping(key));
    for (key, value) in [
        (annotations::PROMETHEUS_PORT, status_port.to_string()),
        (
            annotations::PROMETHEUS_PATH,
            paths::STATS_PROMETHEUS.to_owned(),
        ),
        (annotations::PROMETHEUS_SCRAPE, "true".to_owned()),
    ] {
        annotations.insert(key.to_owned(), Value::String(value));
    }
    Ok(())
}

/// Takes away what an earlier injection wrote: annotations that point to the agent.
pub(crate) fn forget(annotations: &mut Map<String, Value>, status_port: u16) {
    let port = status_port.to_string();
    if texts(annotations).any(|(key, text)| text == port && is_label(key, PORT)) {
        annotations.retain(|key, _| !is_about_scraping(key));
    }
}

/// Announces the port of the metrics under mutual TLS, if the sidecar has one and the author did not.
pub(crate) fn announce_secure_port(pod: &mut Value) {
    let is_announced = pod::metadata_map(pod, "annotations")
        .is_some_and(|annotations| annotations.keys().any(|key| is_label(key, SECURE_PORT)));
    let port = pod::find(pod, PROXY_CONTAINER)
        .and_then(|sidecar| pod::variable(sidecar, env::SECURE_METRICS_PORT));
    if let Some(port) = port
        .filter(|port| !is_announced && !port.is_empty() && *port != "0")
        .map(str::to_owned)
    {
        pod::annotate(pod, annotations::PROMETHEUS_SECURE_PORT, port);
    }
}

// === impl Scrape ===

impl Scrape {
    fn read(annotations: &Map<String, Value>, warnings: &mut Vec<Warning>) -> Self {
        let mut scrape = Self::default();
        for (key, text) in texts(annotations) {
            match scraping_label(key).unwrap_or_default() {
                PORT => text.clone_into(&mut scrape.port),
                PATH => text.clone_into(&mut scrape.path),
                SCRAPE => text.clone_into(&mut scrape.scrape),
                TARGETS => match targets(text) {
                    Some(targets) => scrape.targets = targets,
                    None => warnings.push(Warning::ScrapeTargets {
                        value: text.to_owned(),
                    }),
                },
                _ => {}
            }
        }
        if let Some(first) = scrape.targets.first().cloned() {
            // Agents that know nothing of several targets scrape the first.
            scrape.port = first.port;
            scrape.path = first.path;
        }
        scrape
    }

    fn check(&self, status_port: u16) -> Result<(), Error> {
        let (annotation, ports): (_, Vec<&String>) = if self.targets.is_empty() {
            ("prometheus.io/port", vec![&self.port])
        } else {
            (
                "prometheus.istio.io/scrape-targets",
                self.targets.iter().map(|target| &target.port).collect(),
            )
        };
        let wrong = ports
            .into_iter()
            .filter(|port| !port.is_empty())
            .find_map(|port| {
                let reason = match port.parse::<u16>() {
                    Ok(number) if number == status_port => "which is the agent's own",
                    Ok(number) if RESERVED.contains(&number) => "which belongs to the sidecar",
                    Ok(1..) => return None,
                    _ => "which is not a port from 1 to 65535",
                };
                Some((port.clone(), reason))
            });
        match wrong {
            None => Ok(()),
            Some((port, reason)) => Err(Error::ScrapePort {
                port,
                annotation: annotation.to_owned(),
                reason,
            }),
        }
    }
}

/// `8080:/metrics,9090`; a path is `/metrics` where none is given.
fn targets(text: &str) -> Option<Vec<Target>> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (port, path) = entry.split_once(':').unwrap_or((entry, ""));
            let (port, path) = (port.trim(), path.trim());
            let path = if path.is_empty() { "/metrics" } else { path };
            (!port.is_empty()).then(|| Target {
                port: port.to_owned(),
                path: path.to_owned(),
            })
        })
        .collect()
}

fn texts(annotations: &Map<String, Value>) -> impl Iterator<Item = (&String, &str)> {
    annotations
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn is_about_scraping(key: &str) -> bool {
    scraping_label(key).is_some()
}

fn scraping_label(key: &str) -> Option<&'static str> {
    [PORT, PATH, SCRAPE, TARGETS]
        .into_iter()
        .find(|label| is_label(key, label))
}

/// Whether `label` is what Prometheus makes of an annotation's key.
fn is_label(key: &str, label: &str) -> bool {
    let replaced = |character: char| match character {
        plain if plain.is_ascii_alphanumeric() => plain,
        _ => '_',
    };
    key.chars().map(replaced).eq(label.chars())
}
