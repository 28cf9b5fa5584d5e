//! The injection configuration: from files, and from the cluster what no file is given for.
//!
//! Called before the manifest is read, by every command that injects. Three files are a whole configuration, and then no cluster is looked for.
//! What the cluster's injector was told by its environment stands in the values, so both inject alike.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use contract::control_plane::{
    CONFIG_KEY, MESH_CONFIG_MAP, MESH_KEY, SIDECAR_INJECTOR, VALUES_KEY,
};
use serde_json::Value;
use template::{Config, NativeSidecars, Node, Options, Platform, Sources, Text, yaml};

use crate::{
    args::ConfigurationArgs,
    cluster::{Cluster, ConfigMap},
    input,
};

/// The parts of the configuration that files give.
pub(crate) struct Files {
    config: Option<Part>,
    values: Option<Part>,
    mesh: Option<Part>,
}

/// The three texts, and what the values say of the injector that reads them.
pub(crate) struct Gathered {
    config: Part,
    values: Part,
    mesh: Part,
    /// Then they say what the cluster's injector was told by its environment.
    values_are_the_clusters: bool,
}

/// One of the three texts, and what errors call it.
#[derive(Clone)]
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

// === impl Files ===

impl Files {
    /// Reads the files that flags name.
    ///
    /// # Errors
    /// One cannot be read.
    pub(crate) fn read(args: &ConfigurationArgs) -> anyhow::Result<Self> {
        Ok(Self {
            config: Part::read(INJECT_CONFIG_FILE, args.inject_config_file.as_deref())?,
            values: Part::read(VALUES_FILE, args.values_file.as_deref())?,
            mesh: Part::read(MESH_CONFIG_FILE, args.mesh_config_file.as_deref())?,
        })
    }

    /// Connects to the cluster, if some part must come from there.
    ///
    /// # Errors
    /// It must, and there is no cluster.
    pub(crate) fn connect(&self, args: &ConfigurationArgs) -> anyhow::Result<Option<Cluster>> {
        let flags = [
            (INJECT_CONFIG_FILE, self.config.is_none()),
            (VALUES_FILE, self.values.is_none()),
            (MESH_CONFIG_FILE, self.mesh.is_none()),
        ];
        let missing: Vec<_> = flags
            .iter()
            .filter(|flag| flag.1)
            .map(|flag| flag.0)
            .collect();
        if missing.is_empty() {
            return Ok(None);
        }
        let cluster = Cluster::connect(&args.cluster)
            .with_context(|| format!("a cluster is asked for want of {}", missing.join(", ")))?;
        Ok(Some(cluster))
    }

    /// Gathers and compiles the configuration; what no file gives is the cluster's.
    ///
    /// # Errors
    /// The cluster, a ConfigMap or what the parts hold, named with what to do.
    pub(crate) fn load(
        &self,
        args: &ConfigurationArgs,
        cluster: Option<&Cluster>,
    ) -> anyhow::Result<Config> {
        self.gather(args, cluster)?.compile(args, cluster)
    }

    /// Gathers the three texts; what no file gives is the cluster's.
    ///
    /// # Errors
    /// The cluster or a ConfigMap, named with what to do.
    pub(crate) fn gather(
        &self,
        args: &ConfigurationArgs,
        cluster: Option<&Cluster>,
    ) -> anyhow::Result<Gathered> {
        let names = &args.cluster;
        let (config, values) = match (&self.config, &self.values) {
            (Some(config), Some(values)) => (config.clone(), values.clone()),
            (config, values) => {
                let name = names.inject_config_map_name.as_deref();
                let map =
                    asked(cluster)?.config_map(&config_map_name(name, SIDECAR_INJECTOR, args))?;
                let config = match config {
                    Some(config) => config.clone(),
                    None => Part::of(&map, CONFIG_KEY)?,
                };
                let values = match values {
                    Some(values) => values.clone(),
                    None => Part::of(&map, VALUES_KEY)?,
                };
                (config, values)
            }
        };
        let mesh = match &self.mesh {
            Some(mesh) => mesh.clone(),
            None => {
                let name = names.mesh_config_map_name.as_deref();
                let map =
                    asked(cluster)?.config_map(&config_map_name(name, MESH_CONFIG_MAP, args))?;
                Part::of(&map, MESH_KEY)?
            }
        };
        Ok(Gathered {
            config,
            values,
            mesh,
            values_are_the_clusters: self.values.is_none(),
        })
    }
}

// === impl Gathered ===

impl Gathered {
    /// The texts with their names.
    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources {
            config: self.config.text(),
            values: self.values.text(),
            mesh: self.mesh.text(),
        }
    }

    /// The switches under which the texts are used; the nodes are the cluster's, where they matter.
    ///
    /// # Errors
    /// A switch has a value that it cannot have, or the nodes cannot be read.
    pub(crate) fn options(
        &self,
        args: &ConfigurationArgs,
        cluster: Option<&Cluster>,
    ) -> anyhow::Result<Options> {
        let environment = if self.values_are_the_clusters {
            InjectorEnvironment::read(&self.values)?
        } else {
            InjectorEnvironment::default()
        };
        options(args, &environment, cluster)
    }

    /// Compiles the texts.
    ///
    /// # Errors
    /// What the texts hold or the switches, named with what to do.
    pub(crate) fn compile(
        &self,
        args: &ConfigurationArgs,
        cluster: Option<&Cluster>,
    ) -> anyhow::Result<Config> {
        // The texts first: what is wrong with them needs no more questions to be found.
        let compiled = Config::load(&self.sources(), Options::default())?;
        let options = self.options(args, cluster)?;
        Ok(compiled.with_options(options))
    }
}

fn asked(cluster: Option<&Cluster>) -> anyhow::Result<&Cluster> {
    cluster.context("there is no cluster to ask for what no file gives")
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

fn options(
    args: &ConfigurationArgs,
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
fn config_map_name(given: Option<&str>, usual: &str, args: &ConfigurationArgs) -> String {
    match (given.unwrap_or_default(), args.revision.as_str()) {
        ("", "" | "default") => usual.to_owned(),
        ("", revision) => format!("{usual}-{revision}"),
        (given, _) => given.to_owned(),
    }
}
