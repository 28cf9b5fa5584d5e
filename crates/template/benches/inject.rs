//! What a review costs in process: time and allocations, with the chart's own configuration.
//!
//! Run with `cargo bench -p template`; the groups are the whole of a review without the network, and the steps of it that are public.
//! Allocations are counted with the same runs, which takes a few nanoseconds for each of them.

use std::{collections::BTreeMap, fs, path::Path};

use divan::{AllocProfiler, Bencher, black_box};
use serde_json::Value;
use template::{Config, Namespace, Options, Outcome, Request, Sources, Text, inject, patch};
use testkit::reviews;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Environment variables of the pods: of a typical one, and of an extreme one.
const VARIABLES: [usize; 2] = [1, 2000];

fn main() {
    divan::main();
}

/// The pod's JSON to the patch's JSON.
#[divan::bench(args = VARIABLES)]
fn review(bencher: Bencher<'_, '_>, n_variables: usize) {
    let (config, namespace) = (config(), Namespace::named("shop"));
    let text = reviews::pod(n_variables).to_string();
    bencher.bench(|| {
        let pod: Value = serde_json::from_str(black_box(&text)).expect("a pod");
        let outcome = injected(&config, &pod, &namespace);
        black_box(template::surprises(&pod, &outcome));
        let Outcome::Injected { pod: after, .. } = outcome else {
            return Vec::new();
        };
        serde_json::to_vec(&patch::diff(&pod, &after)).expect("a patch")
    });
}

/// The pod to the injected pod.
#[divan::bench(args = VARIABLES)]
fn pipeline(bencher: Bencher<'_, '_>, n_variables: usize) {
    let (config, namespace) = (config(), Namespace::named("shop"));
    let pod = reviews::pod(n_variables);
    bencher.bench(|| injected(&config, black_box(&pod), &namespace));
}

/// What surprises the pod's author.
#[divan::bench(args = VARIABLES)]
fn surprises(bencher: Bencher<'_, '_>, n_variables: usize) {
    let pod = reviews::pod(n_variables);
    let outcome = injected(&config(), &pod, &Namespace::named("shop"));
    bencher.bench(|| template::surprises(black_box(&pod), &outcome));
}

/// The two pods to the patch.
#[divan::bench(args = VARIABLES)]
fn diff(bencher: Bencher<'_, '_>, n_variables: usize) {
    let pod = reviews::pod(n_variables);
    if let Outcome::Injected { pod: after, .. } =
        injected(&config(), &pod, &Namespace::named("shop"))
    {
        bencher.bench(|| patch::diff(black_box(&pod), &after).len());
    }
}

/// The pod's JSON to the pod, for comparison: nobody can do without.
#[divan::bench(args = VARIABLES)]
fn decode(bencher: Bencher<'_, '_>, n_variables: usize) {
    let text = reviews::pod(n_variables).to_string();
    bencher.bench(|| serde_json::from_str::<Value>(black_box(&text)));
}

/// The texts of the configuration to what injects: once for each change of it.
#[divan::bench]
fn load() -> Config {
    config()
}

fn injected(config: &Config, pod: &Value, namespace: &Namespace) -> Outcome {
    let request = Request {
        pod,
        namespace,
        owner: None,
        environment: &BTreeMap::new(),
    };
    inject(config, &request).expect("it is injected")
}

fn config() -> Config {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let read = |name: &str| fs::read_to_string(chart.join(name)).expect("a file of the chart");
    let [config, values, mesh] = ["files/config", "values.yaml", "files/mesh"].map(read);
    let named = |name, text| Text { name, text };
    let sources = Sources {
        config: named("config", &config),
        values: named("values", &values),
        mesh: named("mesh", &mesh),
    };
    Config::load(&sources, Options::default()).expect("the chart's configuration")
}
