//! `minimesh why`: the whole decision about a pod, told instead of done.
//!
//! Called by `run`. Asks in the order of an admission: `webhooks` chooses as the API server does, `judge` decides as the injector does, by the
//! very code of both. Nothing is changed, so it may be asked at any time; `report` says what came of it.
//!
//! ```text
//!  POD or FILE ─► resource ─┬─► webhooks: does the API server ask an injector, and which? ─┐
//!                           └─► judge: would that injector inject it, is it up to date? ───┴─► report
//! ```

mod cause;
mod judge;
mod report;
mod subject;
pub(crate) mod webhooks;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use template::{Config, Namespace, yaml};

pub use self::{
    cause::{Catalogue, catalogue},
    report::NOT_INJECTED,
};
use self::{
    judge::Question,
    report::{Report, Verdict},
    webhooks::{Selection, Webhooks},
};
use crate::{
    args::{ConfigurationArgs, Format, WhyArgs},
    cluster::Cluster,
    configuration::Files,
    input,
    namespaces::{self, Namespaces},
    output,
    workload::{self, Kind, MAX_LISTS},
};

/// What is known when the first pod is looked at.
struct Explainer<'a> {
    args: &'a ConfigurationArgs,
    files: Files,
    cluster: Option<&'a Cluster>,
    namespaces: Namespaces<'a>,
    /// `None` where neither a file nor a cluster says which there are.
    webhooks: Option<Webhooks>,
    /// By revision; an injector of its own serves each.
    configs: BTreeMap<String, Config>,
    reports: Vec<Report>,
}

/// Explains what was asked for; the exit status is 0, [`NOT_INJECTED`], or 1 if a pod would be refused.
///
/// # Errors
/// A file, the cluster or the configuration cannot be read, or there is no pod to explain.
pub fn run(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let of_injection = &args.configuration;
    let given = namespaces::given(of_injection)?;
    let files = Files::read(of_injection)?;
    let cluster = match &args.pod {
        Some(_) => Some(Cluster::connect(&of_injection.cluster)?),
        None => files.connect(of_injection)?,
    };
    let cluster = cluster.as_ref();
    let webhooks = match (&args.webhook_config_file, cluster) {
        (Some(path), _) => Some(Webhooks::read(path)?),
        (None, Some(cluster)) => Some(Webhooks::of(&cluster.webhook_configurations()?)?),
        (None, None) => None,
    };
    let mut explainer = Explainer {
        args: of_injection,
        files,
        cluster,
        namespaces: Namespaces::new(of_injection, given, cluster, true),
        webhooks,
        configs: BTreeMap::new(),
        reports: Vec::new(),
    };
    match (&args.pod, &args.filename, cluster) {
        (Some(pod), _, Some(cluster)) => {
            let namespace = explainer.namespaces.default_name();
            let resource = subject::find(cluster, namespace, pod)?;
            explainer.resource(&resource, MAX_LISTS)?;
        }
        (_, Some(path), _) => {
            let origin = input::shown(path);
            for document in yaml::documents(&input::read_manifest(path)?) {
                explainer.resource(&document.parse(&origin)?, MAX_LISTS)?;
            }
            ensure!(
                !explainer.reports.is_empty(),
                "{origin} holds no pod and nothing that makes pods"
            );
        }
        _ => bail!("name a pod, or a manifest by --filename"),
    }
    output::write(
        None,
        &report::render(&explainer.reports, args.output.format == Format::Json),
    )?;
    Ok(report::exit_status(&explainer.reports))
}

// === impl Explainer ===

impl Explainer<'_> {
    fn resource(&mut self, resource: &Value, max_lists: usize) -> anyhow::Result<()> {
        let path = match workload::kind(resource) {
            Kind::Other => return Ok(()),
            Kind::Pod => None,
            Kind::Template(path) => Some(path),
            Kind::List => {
                ensure!(max_lists > 0, "lists are nested more than {MAX_LISTS} deep");
                let items = resource.get("items").and_then(Value::as_array);
                return items
                    .into_iter()
                    .flatten()
                    .try_for_each(|item| self.resource(item, max_lists - 1));
            }
        };
        let described = workload::describe(resource, self.namespaces.default_name());
        let namespace = self.namespaces.of(resource)?;
        let pod = match path {
            None => resource.clone(),
            Some(path) => workload::pod(resource, path, &described)?,
        };
        let report = self
            .explain(resource, path.is_some(), &pod, &namespace)
            .with_context(|| described)?;
        self.reports.push(report);
        Ok(())
    }

    fn explain(
        &mut self,
        resource: &Value,
        is_template: bool,
        pod: &Value,
        namespace: &Namespace,
    ) -> anyhow::Result<Report> {
        let mut report = Report::new(resource, &namespace.name);
        let selection = self.webhooks.as_ref();
        let selection = selection.map(|webhooks| webhooks.select(pod, namespace));
        let mut revision = self.args.revision.clone();
        let mut is_chosen = true;
        match selection {
            Some(Selection::Chosen(chosen)) => {
                revision.clone_from(&chosen.revision);
                report.webhook = Some(chosen);
            }
            Some(Selection::Passed(why)) => {
                is_chosen = false;
                report.reasons.push(why.into());
            }
            None => {}
        }
        let config = match self.config(&revision) {
            Ok(config) => config,
            // Where no injector is asked, there may be none, and no configuration of it.
            Err(_) if !is_chosen => {
                report.verdict = Verdict::NotInjected;
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        let question = Question {
            pod,
            namespace,
            workload: is_template.then_some(resource),
            is_chosen,
        };
        question.answer(&config, &mut report);
        Ok(report)
    }

    fn config(&mut self, revision: &str) -> anyhow::Result<Config> {
        if let Some(known) = self.configs.get(revision) {
            return Ok(known.clone());
        }
        let args = ConfigurationArgs {
            revision: revision.to_owned(),
            ..self.args.clone()
        };
        let config = self.files.load(&args, self.cluster)?;
        self.configs.insert(revision.to_owned(), config.clone());
        Ok(config)
    }
}
