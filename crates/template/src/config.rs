//! The injection configuration: three texts, read and compiled once.
//!
//! Made by the injector and the command line from files or ConfigMaps, then shared by every injection; a new text makes a new [`Config`].
//! A [`Config`] that exists is sound: all of its templates parse, all of its functions and fields exist, what is certain to fail is not in it,
//! and nothing in it changes.
//!
//! ```text
//! `config` ─► templates, aliases, selectors, policy ─┐
//! `values` ─► plain data for templates ──────────────┼─► Config ─► inject()
//! `mesh`   ─► MeshConfig over Istio's defaults ──────┘
//! ```

mod check;
mod injection;
mod mesh;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

pub(crate) use self::{
    check::is_for_gateways,
    injection::{Format, KEYS, template_texts},
    mesh::Mesh,
};
use crate::{
    decide::Rules,
    gotemplate::{ExecError, ParseError, Template},
    options::Options,
    proxy_config::ProxyConfigError,
    selector, validate, yaml,
};

/// A text of the configuration and what errors call it: a path, or a ConfigMap's key.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Such as `/etc/istio/inject/config`.
    pub name: &'a str,
    /// What it holds; empty is as good as absent.
    pub text: &'a str,
}

/// The three texts, named as the keys of Istio's ConfigMaps.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Policy and templates: key `config` of `istio-sidecar-injector`, or a bare template.
    pub config: Text<'a>,
    /// Helm values, YAML or JSON: key `values` of `istio-sidecar-injector`.
    pub values: Text<'a>,
    /// MeshConfig: key `mesh` of `istio`.
    pub mesh: Text<'a>,
}

/// A compiled configuration. Cheap to clone, immutable, shared between threads.
#[derive(Clone, Debug)]
pub struct Config {
    compiled: Arc<Compiled>,
    options: Arc<Options>,
}

/// What is in the texts.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Rules,
    pub(crate) default_templates: Vec<String>,
    pub(crate) templates: BTreeMap<String, Template>,
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    pub(crate) injected_annotations: BTreeMap<String, String>,
    pub(crate) format: Format,
    /// Whether a template shows labels or annotations as a whole, and so what an injection added to them.
    pub(crate) shows_metadata: bool,
    pub(crate) values: Value,
    pub(crate) mesh: Mesh,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A text is not YAML.
    #[error("the configuration is not YAML")]
    Yaml {
        /// Where, and why.
        #[from]
        source: yaml::Error,
    },
    /// A key has a value of the wrong type.
    #[error("{origin}: {key} must be {expected}")]
    Field {
        /// The text's name.
        origin: String,
        /// The key, such as `templates.sidecar`.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A template does not parse, or calls a function that does not exist.
    #[error("{origin}: {key} is no template")]
    Template {
        /// The text's name.
        origin: String,
        /// The key, such as `templates.sidecar`.
        key: String,
        /// Where in the template, and why.
        source: Box<ParseError>,
    },
    /// A template fails for every pod that comes to a place in it.
    #[error("{origin}: {key} cannot work{hint}")]
    Fails {
        /// The text's name.
        origin: String,
        /// The key, such as `templates.sidecar`.
        key: String,
        /// What was probably meant, if that is known; empty else.
        hint: String,
        /// Where in the template, and why.
        source: Box<ExecError>,
    },
    /// There is no template at all.
    #[error("{origin}: there is neither `templates` nor `template`")]
    NoTemplates {
        /// The text's name.
        origin: String,
    },
    /// A name is used that no template has.
    #[error("{origin}: {key} names template {name:?}, which is not there; there is {known}")]
    UnknownTemplate {
        /// The text's name.
        origin: String,
        /// The key, `defaultTemplates` or `aliases.NAME`.
        key: &'static str,
        /// What it names.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// A label selector is none.
    #[error("{origin}: {key} is no label selector")]
    Selector {
        /// The text's name.
        origin: String,
        /// The key, such as `neverInjectSelector[0]`.
        key: String,
        /// What is wrong with it.
        source: selector::Error,
    },
    /// The mesh's `defaultConfig` is wrong.
    #[error("{origin}: defaultConfig cannot be used")]
    ProxyConfig {
        /// The text's name.
        origin: String,
        /// Which field, and what it must be.
        source: ProxyConfigError,
    },
}

// === impl Config ===

impl Config {
    /// Reads and compiles the three texts.
    ///
    /// # Errors
    /// The first thing that is wrong, with the text's name, and line and column where it has one. Whoever holds a good configuration keeps it.
    pub fn load(sources: &Sources<'_>, options: Options) -> Result<Self, ConfigError> {
        let config = Self::read(sources, options)?;
        check::templates(sources.config, config.compiled())?;
        Ok(config)
    }

    /// Compiles the three texts, even if their templates are known to fail.
    pub(crate) fn read(sources: &Sources<'_>, options: Options) -> Result<Self, ConfigError> {
        let mesh = Mesh::read(sources.mesh)?;
        let mut values = match yaml::parse(sources.values.name, sources.values.text)? {
            Value::Null => Value::Object(serde_json::Map::new()),
            map @ Value::Object(_) => map,
            _ => return Err(sources.values.wrong("the text", "a map")),
        };
        read_switch(&mut values);
        let compiled = injection::read(sources.config, values, mesh)?;
        Ok(Self {
            compiled: Arc::new(compiled),
            options: Arc::new(options),
        })
    }

    /// The same configuration under other switches; compiles nothing anew.
    #[must_use]
    pub fn with_options(&self, options: Options) -> Self {
        Self {
            compiled: Arc::clone(&self.compiled),
            options: Arc::new(options),
        }
    }

    /// The switches.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// MeshConfig with Istio's defaults filled in, by Istio's names.
    #[must_use]
    pub fn mesh(&self) -> &Value {
        &self.compiled.mesh.fields
    }

    /// MeshConfig's `rootNamespace`, if the text says it: the namespace whose policies are for the whole mesh.
    #[must_use]
    pub fn root_namespace(&self) -> Option<&str> {
        self.compiled.mesh.root_namespace.as_deref()
    }

    /// What templates see as `.Values` at a path of keys, if it is there and no null.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        self.compiled.value(path)
    }

    /// Whether `other` is of the very same reading of the texts.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.compiled, &other.compiled)
    }

    /// The names of the templates, in order.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.compiled.templates.keys().map(String::as_str)
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }
}

// === impl Compiled ===

impl Compiled {
    /// The value at a path of keys, such as `["global", "hub"]`, if it is there and no null.
    pub(crate) fn value(&self, path: &[&str]) -> Option<&Value> {
        path.iter()
            .try_fold(&self.values, |value, key| value.get(key))
            .filter(|value| !value.is_null())
    }

    /// The value at a path as text: a number or boolean as it is written, empty where there is none.
    pub(crate) fn value_text(&self, path: &[&str]) -> String {
        match self.value(path) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Whether the chart's own CNI plugin sets the rules, rather than somebody else's, who reads Istio's record.
    pub(crate) fn has_own_cni_plugin(&self) -> bool {
        self.value(&["cni", "enabled"]) == Some(&Value::Bool(true))
    }

    /// The templates' names for messages.
    pub(crate) fn known_templates(&self) -> String {
        self.templates
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

// === impl Text ===

impl Text<'_> {
    fn wrong(&self, key: impl Into<String>, expected: &'static str) -> ConfigError {
        ConfigError::Field {
            origin: self.name.to_owned(),
            key: key.into(),
            expected,
        }
    }
}

/// Makes a boolean of a switch in the control plane's environment, where everything is text.
///
/// Istio's templates compare it with a boolean, which fails on a text: each pod would be denied.
fn read_switch(values: &mut Value) {
    let switch = values.pointer_mut("/pilot/env/ENABLE_CLUSTER_TRUST_BUNDLE_API");
    if let Some(switch) = switch
        && let Some(text) = switch.as_str()
    {
        *switch = Value::Bool(validate::boolean(text) == Some(true));
    }
}
