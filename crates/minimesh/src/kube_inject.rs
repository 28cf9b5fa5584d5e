//! `minimesh kube-inject`: the webhook's work on a file.
//!
//! Called by `run`; reads the manifest, hands each pod to `template::inject`, puts the result back where the pod was.
//! Documents that hold no pod, and those that are not injected, come out byte for byte as they went in.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;
use template::{Config, Outcome, Platform, Reason, Request};

use crate::{
    args::KubeInjectArgs,
    configuration::Files,
    input::{self, shown},
    manifest::{self, Found},
    namespaces::{self, Namespaces},
    output,
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
    let default_namespace = injector.namespaces.default_name();
    let text = manifest::change(
        &input,
        &shown(&args.filename),
        default_namespace,
        &mut |found| injector.inject(found),
    )?;
    output::write(args.output.as_deref(), &text)
}

// === impl Injector ===

impl Injector<'_> {
    fn inject(&self, found: &Found<'_>) -> anyhow::Result<Option<Value>> {
        let described = &found.described;
        let namespace = self.namespaces.of(found.resource)?;
        let request = Request {
            pod: found.pod,
            namespace: &namespace,
            owner: found.owner.clone(),
            environment: &BTreeMap::new(),
        };
        let outcome =
            template::inject(&self.config, &request).with_context(|| described.clone())?;
        let surprises = template::surprises(found.pod, &outcome);
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
