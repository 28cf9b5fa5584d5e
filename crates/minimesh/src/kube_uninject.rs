//! `minimesh kube-uninject`: takes back what `kube-inject` or the webhook did.
//!
//! Called by `run`; reads the manifest, hands each pod to `template::uninject`, puts the result back where the pod was.
//! Documents that hold no injected pod come out byte for byte as they went in.

use anyhow::Context;
use serde_json::Value;
use template::{Doubt, Uninjected};

use crate::{
    args::KubeUninjectArgs,
    input::{self, shown},
    manifest::{self, Found},
    output,
};

/// What messages call the namespace of a resource that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Takes the sidecar out of the file's pods and writes the result.
///
/// # Errors
/// The first problem, named by file, line or resource; nothing is written then.
pub fn run(args: &KubeUninjectArgs) -> anyhow::Result<()> {
    let input = input::read_manifest(&args.filename)?;
    let origin = shown(&args.filename);
    let text = manifest::change(&input, &origin, DEFAULT_NAMESPACE, &mut uninject)?;
    output::write(args.output.as_deref(), &text)
}

fn uninject(found: &Found<'_>) -> anyhow::Result<Option<Value>> {
    let described = &found.described;
    let restored = template::uninject(found.pod).with_context(|| described.clone())?;
    let Some(Uninjected { pod, doubts }) = restored else {
        return Ok(None);
    };
    let (guesses, problems): (Vec<_>, Vec<_>) =
        doubts.iter().partition(|doubt| is_exact_for_ours(doubt));
    for problem in problems {
        eprintln!("warning: {described}: {problem}");
    }
    if !guesses.is_empty() {
        let guesses: Vec<_> = guesses.iter().map(ToString::to_string).collect();
        eprintln!(
            "warning: {described}: if not minimesh injected it, compare with its source: {}",
            guesses.join("; ")
        );
    }
    Ok(Some(pod))
}

/// Whether minimesh records the other possibility, so that there is only a doubt about pods that others injected.
fn is_exact_for_ours(doubt: &Doubt) -> bool {
    !matches!(doubt, Doubt::Lost { .. })
}
