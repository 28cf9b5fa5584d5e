//! `minimesh certs`: which pod holds which certificate, and until when.
//!
//! Called by `run`. Each sidecar tells it on its metrics port, which the API server reaches for us; nothing is changed and no key is seen. A pod that cannot
//! be asked has a line as well, with the reason.

use std::{
    fmt::Write as _,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use contract::{pod, ports};
use serde::Serialize;
use serde_json::Value;

use crate::{
    args::{CertsArgs, Format},
    cluster::{Cluster, KindOfObject},
    output,
};

/// One sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    namespace: String,
    pod: String,
    /// `None` where there is none, or where that cannot be found out.
    certificate: Option<Held>,
    /// Why it cannot be found out.
    problem: Option<String>,
}

/// What a sidecar shows to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Held {
    identity: String,
    serial: String,
    /// End of its time, in seconds since 1970.
    not_after: i64,
    /// Seconds until then, negative afterwards.
    expires_in: i64,
}

const PODS: KindOfObject = KindOfObject {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
};
/// The series that tells it.
const SERIES: &str = "minimesh_agent_certificate_not_after_seconds{";

/// Asks every sidecar that was asked for; the exit status is 1 if one of them holds no certificate that counts.
///
/// # Errors
/// The cluster cannot be asked, or there is no such pod.
pub fn run(args: &CertsArgs) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&args.cluster)?;
    let namespace = match args.namespace.as_deref() {
        Some(name) if !name.is_empty() => name,
        _ => cluster.default_namespace(),
    };
    let mut pods = Vec::new();
    match &args.pod {
        Some(name) => {
            let found = cluster.object(&PODS, namespace, name)?;
            pods.push(found.ok_or_else(|| {
                anyhow!("there is no pod {namespace}/{name} in {cluster}: is it in another namespace (--namespace)?")
            })?);
        }
        None => {
            let scope = (!args.all_namespaces).then_some(namespace);
            cluster.each_page(&PODS, scope, |page| {
                pods.extend(page.into_iter().filter(runs_a_sidecar));
                Ok(())
            })?;
        }
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let now = i64::try_from(now.as_secs())?;
    let mut rows: Vec<_> = pods.iter().map(|pod| ask(&cluster, pod, now)).collect();
    rows.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    let text = match args.output.format {
        Format::Json => serde_json::to_string_pretty(&rows)? + "\n",
        Format::Text => table(&rows),
    };
    output::write(None, &text)?;
    let is_good = |row: &Row| matches!(&row.certificate, Some(held) if held.expires_in > 0);
    Ok(if rows.iter().all(is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn ask(cluster: &Cluster, pod: &Value, now: i64) -> Row {
    let text = |pointer: &str| {
        let value = pod.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let asked = cluster.ask_pod(&namespace, &name, ports::PROMETHEUS, "/stats/prometheus");
    let (certificate, problem) = match asked {
        Ok(page) => (held(&page, now), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Row {
        namespace,
        pod: name,
        certificate,
        problem,
    }
}

/// Whether `pod` runs and has a sidecar, native or not.
fn runs_a_sidecar(pod: &Value) -> bool {
    let is_running = pod.pointer("/status/phase").and_then(Value::as_str) == Some("Running");
    let has = |list: &str| {
        let containers = pod.pointer(list).and_then(Value::as_array);
        containers.into_iter().flatten().any(|container| {
            container.get("name").and_then(Value::as_str) == Some(pod::PROXY_CONTAINER)
        })
    };
    is_running && (has("/spec/containers") || has("/spec/initContainers"))
}

/// What a page of metrics says about the certificate.
fn held(page: &str, now: i64) -> Option<Held> {
    let line = page.lines().find_map(|line| line.strip_prefix(SERIES))?;
    let (labels, value) = line.rsplit_once("} ")?;
    let label = |name: &str| {
        let (_, rest) = labels.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    // The cast saturates.
    let not_after = value.trim().parse::<f64>().ok()? as i64;
    Some(Held {
        identity: label("identity")?,
        serial: label("serial")?,
        not_after,
        expires_in: not_after.saturating_sub(now),
    })
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![["NAMESPACE", "POD", "EXPIRES IN", "IDENTITY"].map(str::to_owned)];
    for row in rows {
        let (expiry, identity) = match (&row.certificate, &row.problem) {
            (Some(held), _) => (duration(held.expires_in), held.identity.clone()),
            (None, Some(problem)) => ("unknown".to_owned(), problem.clone()),
            (None, None) => ("-".to_owned(), "no certificate".to_owned()),
        };
        lines.push([row.namespace.clone(), row.pod.clone(), expiry, identity]);
    }
    let width = |column: usize| {
        let widths = lines.iter().filter_map(|line| line.get(column));
        widths.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [namespace, pod, expiry, identity] in &lines {
        let [first, second, third] = widths;
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "{namespace:first$}  {pod:second$}  {expiry:third$}  {identity}"
        );
    }
    text
}

/// The two largest units, `23h12m`.
fn duration(seconds: i64) -> String {
    if seconds <= 0 {
        return "expired".to_owned();
    }
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_found_among_the_metrics() {
        let page = "# TYPE x gauge\nminimesh_agent_certificate_not_after_seconds{identity=\"spiffe://cluster.local/ns/shop/sa/web\",serial=\"0a1b\"} 1700000360.0\n# EOF\n";
        let found = held(page, 1_700_000_000).unwrap();
        assert_eq!(found.identity, "spiffe://cluster.local/ns/shop/sa/web");
        assert_eq!(found.serial, "0a1b");
        assert_eq!(found.expires_in, 360);
        for page in [
            "",
            "# EOF\n",
            "minimesh_agent_certificate_not_after_seconds{",
            "minimesh_agent_certificate_not_after_seconds{} 1",
            "minimesh_agent_certificate_not_after_seconds{identity=\"x\",serial=\"y\"} soon",
        ] {
            assert_eq!(held(page, 0), None, "{page}");
        }
    }

    #[test]
    fn what_is_left_is_told_in_two_units() {
        let table = [
            (-1, "expired"),
            (0, "expired"),
            (59, "59s"),
            (61, "1m1s"),
            (83_550, "23h12m"),
            (180_000, "2d2h"),
        ];
        for (seconds, expected) in table {
            assert_eq!(duration(seconds), expected);
        }
    }
}
