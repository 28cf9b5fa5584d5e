//! `minimesh kube-inject`: the webhook's work on a file.
//!
//! Called by `run`; reads the manifest, hands each pod to `template::inject`, puts the result back where the pod was.
//! Documents that hold no pod, and those that are not injected, come out byte for byte as they went in.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::Value;
use template::{Config, Namespace, Outcome, Owner, Platform, Reason, Request, yaml};

use crate::{
    args::KubeInjectArgs,
    configuration::Files,
    input::{self, shown},
    namespaces::{self, Namespaces},
    output,
    workload::{self, Kind, MAX_LISTS},
};

/// What the whole file shares.
struct Injector<'a> {
    config: Config,
    namespaces: Namespaces<'a>,
}

/// Injects the file and writes the result.
///
/// # Errors
/// The first problem, named by file, line or resource; nothing is written then.
pub fn run(args: &KubeInjectArgs) -> anyhow::Result<()> {
    let given = namespaces::given(&args.configuration)?;
    let files = Files::read(&args.configuration)?;
    let cluster = files.connect(&args.configuration)?;
    let config = files.load(&args.configuration, cluster.as_ref())?;
    let objects_matter = config.options().platform == Platform::OpenShift;
    let namespaces = Namespaces::new(&args.configuration, given, cluster.as_ref(), objects_matter);
    let injector = Injector { config, namespaces };
    let input = input::read_manifest(&args.filename)?;
    let origin = shown(&args.filename);
    let mut text = String::with_capacity(input.len());
    for document in yaml::documents(&input) {
        let mut resource = document.parse(&origin)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if injector.resource(&mut resource, MAX_LISTS)? {
            if document.is_marked() || !text.is_empty() {
                text.push_str("---\n");
            }
            text.push_str(&yaml::to_string(&resource));
        } else {
            text.push_str(document.raw);
        }
    }
    output::write(args.output.as_deref(), &text)
}

// === impl Injector ===

impl Injector<'_> {
    /// Injects what `resource` holds; tells whether it was changed.
    fn resource(&self, resource: &mut Value, max_lists: usize) -> anyhow::Result<bool> {
        match workload::kind(resource) {
            Kind::Other => Ok(false),
            Kind::Pod => self.pod(resource),
            Kind::Template(path) => self.template(resource, path),
            Kind::List => {
                ensure!(max_lists > 0, "lists are nested more than {MAX_LISTS} deep");
                let mut changed = false;
                let items = resource.get_mut("items").and_then(Value::as_array_mut);
                for item in items.into_iter().flatten() {
                    changed |= self.resource(item, max_lists - 1)?;
                }
                Ok(changed)
            }
        }
    }

    fn pod(&self, pod: &mut Value) -> anyhow::Result<bool> {
        let described = self.describe(pod);
        let namespace = self.namespaces.of(pod)?;
        let Some(injected) = self.inject(pod, &namespace, None, &described)? else {
            return Ok(false);
        };
        *pod = injected;
        Ok(true)
    }

    /// Injects the pod template at `path`; the resource around it stands for the pod's owner.
    fn template(&self, resource: &mut Value, path: &[&str]) -> anyhow::Result<bool> {
        let described = self.describe(resource);
        let namespace = self.namespaces.of(resource)?;
        let pod = workload::pod(resource, path, &described)?;
        let owner = workload::owner(resource);
        let Some(mut injected) = self.inject(&pod, &namespace, Some(owner), &described)? else {
            return Ok(false);
        };
        if let Some(injected) = injected.as_object_mut() {
            injected.remove("apiVersion");
            injected.remove("kind");
        }
        if let Some(template) = resource.pointer_mut(&format!("/{}", path.join("/"))) {
            *template = injected;
        }
        Ok(true)
    }

    fn inject(
        &self,
        pod: &Value,
        namespace: &Namespace,
        owner: Option<Owner>,
        described: &str,
    ) -> anyhow::Result<Option<Value>> {
        let request = Request {
            pod,
            namespace,
            owner,
            environment: &BTreeMap::new(),
        };
        let outcome =
            template::inject(&self.config, &request).with_context(|| described.to_owned())?;
        let surprises = template::surprises(pod, &outcome);
        let (injected, warnings) = match outcome {
            Outcome::Injected { pod, warnings } => (Some(pod), warnings),
            Outcome::Skipped { reason, warnings } => {
                eprintln!(
                    "===> Skipping injection because {described} {}",
                    why(&reason)
                );
                (None, warnings)
            }
        };
        for warning in warnings {
            eprintln!("warning: {described}: {warning}");
        }
        for surprise in surprises {
            eprintln!("warning: {described}: {surprise}");
        }
        Ok(injected)
    }

    fn describe(&self, resource: &Value) -> String {
        workload::describe(resource, self.namespaces.default_name())
    }
}

/// What stands after the resource's name in the message about a skip; the first two are as `istioctl` says them.
fn why(reason: &Reason) -> String {
    match reason {
        Reason::HostNetwork => "has host networking enabled".to_owned(),
        Reason::OptedOutByLabel | Reason::OptedOutByAnnotation => {
            format!("has sidecar injection disabled: {reason}")
        }
        _ => format!("is not injected: {reason}"),
    }
}
