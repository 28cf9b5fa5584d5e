//! The policy for the chart's own configuration, whole.
//!
//! What the API server makes of it is tested on a cluster; here a change of it is seen.

use std::{fs, path::Path};

use template::{
    Config, NativeSidecars, Options, Sources, Text,
    policy::{Settings, compile},
    yaml,
};
use testkit::golden;

#[test]
fn the_shipped_configuration_becomes_a_policy() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chart = here.join("../../charts/minimesh");
    let read = |file: &str| fs::read_to_string(chart.join(file)).unwrap();
    let texts = [
        read("files/config"),
        read("values.yaml"),
        read("files/mesh"),
    ];
    let [config, values, mesh] = texts.each_ref().map(|text| Text { name: "text", text });
    let sources = Sources {
        config,
        values,
        mesh,
    };
    let options = Options {
        native_sidecars: NativeSidecars::Always,
        ..Options::default()
    };
    let config = Config::load(&sources, options).unwrap();
    let settings = Settings {
        excluded_namespaces: vec!["istio-system".to_owned()],
        ..Settings::default()
    };
    let policy = compile(&config, &settings).unwrap();
    let unsaid = policy.unsaid.iter().map(|unsaid| format!("# {unsaid}\n"));
    let manifests = policy.manifests.iter();
    let manifests = manifests.map(|object| format!("---\n{}", yaml::to_string(object)));
    let text: String = unsaid.chain(manifests).collect();
    golden::check(&here.join("tests/policy/shipped.yaml"), &text);
}
