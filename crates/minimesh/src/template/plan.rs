//! `minimesh template plan`: what another configuration would change for the pods that run.
//!
//! Called by the group's `run`. Each running pod that the webhook serves is traced to its workload, whose pod template is injected twice, under the present
//! configuration and under the new one; [`difference`] compares the results and [`report`] tells them. Nothing is written to the cluster.
//!
//! ```text
//!  pods ─► owners ─► pod templates ─┬─► inject, present ─┐
//!                                   └─► inject, new ─────┴─► difference ─► report
//! ```

mod difference;
mod owners;
mod report;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, ensure};
use serde_json::Value;
use template::{Config, Outcome, Request, yaml};

use self::{
    owners::Owners,
    report::{Report, Verdict, Workload},
};
use crate::{
    args::{ConfigurationArgs, Format, PlanArgs},
    cluster::{Cluster, KindOfObject},
    configuration::Files,
    input,
    namespaces::{self, Namespaces},
    output,
    why::webhooks::{Selection, Webhooks},
    workload::{self, Kind, MAX_LISTS},
};

/// What the whole run shares.
struct Planner<'a> {
    present: Config,
    new: Config,
    revision: &'a str,
    namespaces: Namespaces<'a>,
    /// `None` for manifests, of which each pod counts as chosen.
    webhooks: Option<Webhooks>,
    workloads: BTreeMap<String, Workload>,
    skipped: usize,
}

const PODS: KindOfObject = KindOfObject {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
};

/// Plans and prints; the exit status is 0, or [`report::CHANGES`].
///
/// # Errors
/// A file, the cluster or one of the configurations cannot be read.
pub(super) fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let of_new = &args.configuration;
    let of_present = ConfigurationArgs {
        inject_config_file: args.against_inject_config_file.clone(),
        values_file: args.against_values_file.clone(),
        mesh_config_file: args.against_mesh_config_file.clone(),
        ..of_new.clone()
    };
    let given = namespaces::given(of_new)?;
    let (new, present) = (Files::read(of_new)?, Files::read(&of_present)?);
    let cluster = match &args.filename {
        None => Some(Cluster::connect(&of_new.cluster)?),
        Some(_) => match new.connect(of_new)? {
            Some(cluster) => Some(cluster),
            None => present.connect(&of_present)?,
        },
    };
    let cluster = cluster.as_ref();
    let running = cluster.filter(|_| args.filename.is_none());
    let webhooks = running.map(|cluster| Webhooks::of(&cluster.webhook_configurations()?));
    let mut planner = Planner {
        present: present
            .load(&of_present, cluster)
            .context("the present configuration cannot be used")?,
        new: new
            .load(of_new, cluster)
            .context("the new configuration cannot be used")?,
        revision: named(&of_new.revision),
        namespaces: Namespaces::new(of_new, given, cluster, true),
        webhooks: webhooks.transpose()?,
        workloads: BTreeMap::new(),
        skipped: 0,
    };
    match (&args.filename, running) {
        (Some(path), _) => {
            let origin = input::shown(path);
            for document in yaml::documents(&input::read_manifest(path)?) {
                planner.manifest(&document.parse(&origin)?, MAX_LISTS)?;
            }
        }
        (None, Some(cluster)) => planner.pods(cluster, args.all_namespaces)?,
        (None, None) => {}
    }
    let report = Report {
        workloads: planner.workloads.into_values().collect(),
        skipped: planner.skipped,
    };
    output::write(None, &report.render(args.output.format == Format::Json))?;
    Ok(report.exit_status())
}

// === impl Planner ===

impl Planner<'_> {
    /// Plans for all pods that run.
    fn pods(&mut self, cluster: &Cluster, everywhere: bool) -> anyhow::Result<()> {
        let mut owners = Owners::new(cluster);
        let default = self.namespaces.default_name().to_owned();
        let namespace = (!everywhere).then_some(default.as_str());
        let mut seen = std::collections::BTreeSet::new();
        cluster.each_page(&PODS, namespace, |pods| {
            for pod in pods.iter().filter(|pod| runs(pod)) {
                let uid = pod.pointer("/metadata/uid").and_then(Value::as_str);
                // A list that was begun anew gives pods again.
                if uid.is_some_and(|uid| !seen.insert(uid.to_owned())) {
                    continue;
                }
                let owner = owners.of(pod)?;
                self.resource(&owner)?;
            }
            Ok(())
        })
    }

    fn manifest(&mut self, resource: &Value, max_lists: usize) -> anyhow::Result<()> {
        match workload::kind(resource) {
            Kind::Other => Ok(()),
            Kind::Pod | Kind::Template(_) => self.resource(resource),
            Kind::List => {
                ensure!(max_lists > 0, "lists are nested more than {MAX_LISTS} deep");
                let items = resource.get("items").and_then(Value::as_array);
                items
                    .into_iter()
                    .flatten()
                    .try_for_each(|item| self.manifest(item, max_lists - 1))
            }
        }
    }

    /// Counts a pod of a workload, and compares at the first.
    fn resource(&mut self, resource: &Value) -> anyhow::Result<()> {
        let described = workload::describe(resource, self.namespaces.default_name());
        if let Some(known) = self.workloads.get_mut(&described) {
            known.pods += 1;
            return Ok(());
        }
        let namespace = self.namespaces.of(resource)?;
        let (pod, owner) = match workload::kind(resource) {
            Kind::Template(path) => (
                workload::pod(resource, path, &described)?,
                Some(workload::owner(resource)),
            ),
            _ => (resource.clone(), None),
        };
        if let Some(webhooks) = &self.webhooks {
            match webhooks.select(&pod, &namespace) {
                Selection::Chosen(served) if named(&served.revision) == self.revision => {}
                _ => {
                    self.skipped += 1;
                    return Ok(());
                }
            }
        }
        let request = Request {
            pod: &pod,
            namespace: &namespace,
            owner,
            environment: &BTreeMap::new(),
        };
        let verdict = compare(&self.present, &self.new, &request);
        let workload = Workload::new(resource, &namespace.name, verdict);
        self.workloads.insert(described, workload);
        Ok(())
    }
}

/// What becomes of a pod under both configurations.
fn compare(present: &Config, new: &Config, request: &Request<'_>) -> Verdict {
    let message = |error: template::Error| format!("{:#}", anyhow::Error::new(error));
    let before = template::inject(present, request).map_err(message);
    let after = template::inject(new, request).map_err(message);
    match (before, after) {
        (Err(before), Err(after)) if before == after => Verdict::StillRefused(after),
        (_, Err(error)) => Verdict::Refused(error),
        (Ok(Outcome::Injected { pod: before, .. }), Ok(Outcome::Injected { pod: after, .. })) => {
            Verdict::of(difference::fields(&before, &after))
        }
        (_, Ok(Outcome::Injected { .. })) => Verdict::Injected,
        (Ok(Outcome::Skipped { .. }), Ok(Outcome::Skipped { .. })) => Verdict::Same,
        (_, Ok(Outcome::Skipped { reason, .. })) => Verdict::NotInjected(reason.to_string()),
    }
}

/// A pod that has ended, or is about to, is of no interest any more.
fn runs(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    !matches!(phase, Some("Succeeded" | "Failed"))
        && pod.pointer("/metadata/deletionTimestamp").is_none()
}

fn named(revision: &str) -> &str {
    if revision.is_empty() {
        "default"
    } else {
        revision
    }
}
