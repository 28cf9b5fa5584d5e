//! The injection configuration: from files, and from the cluster what no file is given for.
//!
//! Called once, before the manifest is read. Three files are a whole configuration, and then no cluster is looked for.
//! What the cluster's injector was told by its environment stands in the values, so both inject alike.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use contract::control_plane::{
    CONFIG_KEY, MESH_CONFIG_MAP, MESH_KEY, SIDECAR_INJECTOR, VALUES_KEY,
};
use serde_json::Value;
use template::{Config, NativeSidecars, Node, Options, Platform, Sources, Text, yaml};

use crate::{
    args::KubeInjectArgs,
    cluster::{Cluster, ConfigMap},
    input,
};

/// The configuration, and the cluster if it was asked.
pub(crate) struct Configuration {
    pub(crate) config: Config,
    pub(crate) cluster: Option<Cluster>,
}

/// One of the three texts, and what errors call it.
struct Part {
    name: String,
    text: String,
}

/// The switches of the cluster's injector, as far as its values have them.
#[derive(Default)]
struct InjectorEnvironment(BTreeMap<&'static str, String>);

const INJECT_CONFIG_FILE: &str = "--injectConfigFile";
const VALUES_FILE: &str = "--valuesFile";
const MESH_CONFIG_FILE: &str = "--meshConfigFile";

/// Variables of the injector that decide how a pod is injected.
const SWITCHES: [&str; 3] = [NATIVE_SIDECARS, COMPLIANCE_POLICY, PLATFORM];
const NATIVE_SIDECARS: &str = "ENABLE_NATIVE_SIDECARS";
const COMPLIANCE_POLICY: &str = "COMPLIANCE_POLICY";
const PLATFORM: &str = "PLATFORM";

/// Gathers and compiles the configuration.
///
/// # Errors
/// A file, the cluster, a ConfigMap or what they hold, named with what to do.
pub(crate) fn load(args: &KubeInjectArgs) -> anyhow::Result<Configuration> {
    let config = Part::read(INJECT_CONFIG_FILE, args.inject_config_file.as_deref())?;
    let values = Part::read(VALUES_FILE, args.values_file.as_deref())?;
    let mesh = Part::read(MESH_CONFIG_FILE, args.mesh_config_file.as_deref())?;
    if let (Some(config), Some(values), Some(mesh)) = (&config, &values, &mesh) {
        let environment = InjectorEnvironment::default();
        return compile([config, values, mesh], args, &environment, None);
    }
    let flags = [
        (INJECT_CONFIG_FILE, config.is_none()),
        (VALUES_FILE, values.is_none()),
        (MESH_CONFIG_FILE, mesh.is_none()),
    ];
    let missing = flags.iter().filter(|flag| flag.1).map(|flag| flag.0);
    let missing = missing.collect::<Vec<_>>().join(", ");
    let cluster = Cluster::connect(&args.cluster)
        .with_context(|| format!("a cluster is asked for want of {missing}"))?;
    let names = &args.cluster;
    let mut environment = InjectorEnvironment::default();
    let (config, values) = match (config, values) {
        (Some(config), Some(values)) => (config, values),
        (config, values) => {
            let name = names.inject_config_map_name.as_deref();
            let map = cluster.config_map(&config_map_name(name, SIDECAR_INJECTOR, args))?;
            let config = config.map_or_else(|| Part::of(&map, CONFIG_KEY), Ok)?;
            let values = match values {
                Some(values) => values,
                None => {
                    let values = Part::of(&map, VALUES_KEY)?;
                    environment = InjectorEnvironment::read(&values)?;
                    values
                }
            };
            (config, values)
        }
    };
    let mesh = match mesh {
        Some(mesh) => mesh,
        None => {
            let name = names.mesh_config_map_name.as_deref();
            let map = cluster.config_map(&config_map_name(name, MESH_CONFIG_MAP, args))?;
            Part::of(&map, MESH_KEY)?
        }
    };
    compile([&config, &values, &mesh], args, &environment, Some(cluster))
}

// === impl Part ===

impl Part {
    fn read(flag: &str, path: Option<&Path>) -> anyhow::Result<Option<Self>> {
        path.map(|path| {
            Ok(Self {
                name: input::shown(path),
                text: input::read(flag, path)?,
            })
        })
        .transpose()
    }

    fn of(map: &ConfigMap, key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            name: format!("{map}, key {key}"),
            text: map.key(key)?.to_owned(),
        })
    }

    fn text(&self) -> Text<'_> {
        Text {
            name: &self.name,
            text: &self.text,
        }
    }
}

// === impl InjectorEnvironment ===

impl InjectorEnvironment {
    /// Reads `pilot.env`, from which the chart makes the environment of the injector.
    fn read(values: &Part) -> anyhow::Result<Self> {
        let values = yaml::parse(&values.name, &values.text)?;
        let switch = |name| {
            let text = match values.pointer("/pilot/env")?.get(name)? {
                Value::Null => return None,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some((name, text))
        };
        Ok(Self(SWITCHES.into_iter().filter_map(switch).collect()))
    }

    /// The flag's value, else the injector's, and what to call it.
    fn or<'a>(&'a self, flag: Option<&'a str>, shown: &str, name: &str) -> (&'a str, String) {
        match (flag, self.0.get(name)) {
            (None, Some(text)) => (text, format!("pilot.env.{name} of the cluster's values")),
            (flag, _) => (flag.unwrap_or_default(), format!("{shown} ({name})")),
        }
    }
}

fn compile(
    [config, values, mesh]: [&Part; 3],
    args: &KubeInjectArgs,
    environment: &InjectorEnvironment,
    cluster: Option<Cluster>,
) -> anyhow::Result<Configuration> {
    let sources = Sources {
        config: config.text(),
        values: values.text(),
        mesh: mesh.text(),
    };
    // The texts first: what is wrong with them needs no more questions to be found.
    let compiled = Config::load(&sources, Options::default())?;
    let options = options(args, environment, cluster.as_ref())?;
    Ok(Configuration {
        config: compiled.with_options(options),
        cluster,
    })
}

fn options(
    args: &KubeInjectArgs,
    environment: &InjectorEnvironment,
    cluster: Option<&Cluster>,
) -> anyhow::Result<Options> {
    let native = args.native_sidecars.as_deref();
    let native = environment.or(native, "--native-sidecars", NATIVE_SIDECARS);
    let compliance = args.compliance_policy.as_deref();
    let compliance = environment.or(compliance, "--compliance-policy", COMPLIANCE_POLICY);
    let platform = environment.or(args.platform.as_deref(), "--platform", PLATFORM);
    let native_sidecars = match native.0 {
        "" => NativeSidecars::Auto,
        text => text.parse().context(native.1)?,
    };
    let platform: Platform = platform.0.parse().context(platform.1)?;
    let versions = args.node_versions.iter();
    let given: Vec<_> = versions
        .filter(|version| !version.is_empty())
        .map(|version| Node::of_version(version))
        .collect();
    let nodes = if !given.is_empty() {
        Some(given)
    } else if let (NativeSidecars::Auto, Some(cluster)) = (native_sidecars, cluster) {
        let why = "whether the sidecar is native depends on the nodes, unless --native-sidecars or --node-versions says it";
        Some(cluster.nodes().context(why)?)
    } else {
        None
    };
    Ok(Options {
        revision: args.revision.clone(),
        native_sidecars,
        nodes,
        compliance_policy: compliance.0.to_owned(),
        platform,
    })
}

/// The name that was given, or the usual one with the revision, as the chart makes it.
fn config_map_name(given: Option<&str>, usual: &str, args: &KubeInjectArgs) -> String {
    match (given.unwrap_or_default(), args.revision.as_str()) {
        ("", "" | "default") => usual.to_owned(),
        ("", revision) => format!("{usual}-{revision}"),
        (given, _) => given.to_owned(),
    }
}
