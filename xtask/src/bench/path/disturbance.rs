//! What else a sidecar has to do while it carries requests.
//!
//! `figures` measures the same load in quiet and with each of these in turn: scrapes as fast as they are answered, and changes of a mesh
//! with thousands of services. Both are the housekeeping's work, so requests should not notice.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testkit::http;

use super::contender::Contender;
use crate::lab;

/// What goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    Nothing,
    /// Both sidecars are asked for their metrics, one scrape after the other.
    Scrapes,
    /// The mesh changes: so many services that have nothing to do with the load, and one more or less each time.
    Pushes,
}

/// How many services a push has.
const N_SERVICES: usize = 5000;
/// From one push to the next; a file is looked at about as often.
const BETWEEN: Duration = Duration::from_millis(500);

// === impl Disturbance ===

impl Disturbance {
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Scrapes, Self::Pushes];

    /// How the load is called then.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Nothing => "32 connections, in quiet",
            Self::Scrapes => "32 connections, while scraped",
            Self::Pushes => "32 connections, while 5000 services change",
        }
    }

    /// Whether it can be done to a contender.
    pub(super) fn concerns(self, contender: &Contender) -> bool {
        match self {
            Self::Nothing => contender.proxies().next().is_some(),
            Self::Scrapes => contender.metrics.is_some(),
            Self::Pushes => contender.mesh.is_some(),
        }
    }

    /// Runs `f` while it goes on, and fails where it could not.
    pub(super) fn during<T>(
        self,
        contender: &Contender,
        f: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let disturbing = scope.spawn(|| self.go_on(contender, &stop));
            let outcome = f();
            stop.store(true, Ordering::Relaxed);
            match disturbing.join() {
                Ok(disturbed) => disturbed?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            outcome
        })
    }

    fn go_on(self, contender: &Contender, stop: &AtomicBool) -> anyhow::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Scrapes => scrape(contender, stop),
            Self::Pushes => push(contender, stop),
        }
    }
}

fn scrape(contender: &Contender, stop: &AtomicBool) -> anyhow::Result<()> {
    let (port, path) = contender.metrics.context("it has no metrics")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while !stop.load(Ordering::Relaxed) {
        for side in [&contender.client, &contender.server] {
            let page = side
                .plain
                .pod
                .enter(|| http::get(address, path, lab::LIMIT))?;
            ensure!(page.status == 200, "a scrape was answered {}", page.status);
        }
    }
    Ok(())
}

fn push(contender: &Contender, stop: &AtomicBool) -> anyhow::Result<()> {
    let file = contender.mesh.as_ref().context("it has no mesh")?;
    let beginning = fs::read(file)?;
    let mesh: Value = serde_json::from_slice(&beginning)?;
    let next = file.with_extension("next");
    let pushes = [N_SERVICES, N_SERVICES - 1].map(|n| with_services(mesh.clone(), n));
    for text in pushes.iter().cycle() {
        fs::write(&next, text)?;
        fs::rename(&next, file)?;
        thread::park_timeout(BETWEEN);
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(fs::write(file, beginning)?)
}

fn with_services(mut mesh: Value, n: usize) -> String {
    let others = (0..n).map(|n| {
        json!({
            "name": format!("other-{n}"),
            "namespace": "default",
            "addresses": [format!("10.96.{}.{}", n / 250, n % 250 + 1)],
            "ports": [{ "servicePort": 80, "name": "http" }],
        })
    });
    if let Some(services) = mesh["services"].as_array_mut() {
        services.extend(others);
    }
    mesh.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_keeps_what_the_load_needs() {
        let text = with_services(json!({ "services": [{ "name": "client" }] }), 3);
        let mesh: Value = serde_json::from_str(&text).unwrap();
        let names = mesh["services"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|service| service["name"].as_str()).collect();
        assert_eq!(
            names,
            [
                Some("client"),
                Some("other-0"),
                Some("other-1"),
                Some("other-2")
            ]
        );
    }
}
