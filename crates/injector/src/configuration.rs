//! The injection configuration, from files to one compiled value.
//!
//! `app` starts the [`reloader`]; the webhook reads its live value. The three texts are compiled together or not at all, so a new
//! template never meets old values. What the cluster adds, its kubelets' versions, is laid over the compiled texts as an option.

use std::{
    str::Utf8Error,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use runtime::{error::chain, readiness::Guard};
use template::{Options, Sources, Text};

use crate::{
    ca::TrustDomain,
    cluster::nodes::Kubelets,
    config::Config,
    files::{Live, LoadError, Reloader, Voice},
};

/// The trust domain of a mesh whose configuration names none, as in Istio.
const TRUST_DOMAIN: &str = "cluster.local";

/// Why the texts are no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// A file is not text.
    #[error("{name} is not UTF-8")]
    NotText {
        /// The file.
        name: String,
        /// Where.
        source: Utf8Error,
    },
    /// The texts do not compile.
    #[error(transparent)]
    Template(template::ConfigError),
    /// The texts compile, but no pod can be injected by them.
    #[error("a plain pod cannot be injected by {name}")]
    Trial {
        /// The file of the templates.
        name: String,
        /// Why not.
        source: Box<template::Error>,
    },
}

/// The kubelets of a cluster, and what keeps the program from being ready until the configuration knows of them.
pub struct Followed {
    /// The kubelets.
    pub kubelets: Kubelets,
    /// Dropped when they are in the configuration.
    pub guard: Guard,
}

/// The configuration for parts that are built before it is read, and run afterwards; clones share it.
#[derive(Clone, Default)]
pub struct Promised(Arc<OnceLock<Live<template::Config>>>);

// === impl Promised ===

impl Promised {
    /// This is the configuration. Only the first one counts.
    pub fn keep(&self, configuration: Live<template::Config>) {
        let _ = self.0.set(configuration);
    }

    /// Says what the mesh's trust domain is, as the configuration has it when asked.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        let promised = self.clone();
        Arc::new(move || {
            let configuration = promised.0.get().map(Live::load);
            let named = configuration
                .as_ref()
                .and_then(|config| config.mesh()["trustDomain"].as_str());
            named
                .filter(|name| !name.is_empty())
                .unwrap_or(TRUST_DOMAIN)
                .to_owned()
        })
    }
}

/// Reads and compiles the configuration, and keeps it in step with its files and, where it depends on them, with the kubelets.
///
/// A new configuration by which no plain pod can be injected is refused like one that does not compile, because the old one is better. At
/// the start there is no old one: then it is used in spite of that, and said aloud, because its error in the answer to whoever creates a pod tells more
/// than a program that does not run.
///
/// # Errors
/// When a file cannot be read or the texts do not compile.
pub fn reloader(
    config: &Config,
    followed: Option<Followed>,
    voice: Voice,
) -> Result<Reloader<template::Config, ConfigurationError>, LoadError<ConfigurationError>> {
    let mut sources = vec![config.injection.clone(), config.values.clone()];
    sources.extend(config.mesh.clone());
    let names = config.names();
    let options = config.options.clone();
    let strict = Arc::new(AtomicBool::new(false));
    let parse = {
        let strict = Arc::clone(&strict);
        let kubelets = followed.as_ref().map(|followed| followed.kubelets.clone());
        Box::new(move |contents: &[Vec<u8>]| {
            let config = compile(&names, contents, &under(&options, kubelets.as_ref()))?;
            if strict.load(Ordering::Relaxed) {
                check(&names, &config)?;
            }
            Ok(config)
        })
    };
    let mut reloader = Reloader::start(sources, parse, voice)?;
    if let Err(error) = check(&config.names(), &reloader.live().load()) {
        reloader.voice().doubt(&chain(&error).to_string());
    }
    strict.store(true, Ordering::Relaxed);
    if let Some(followed) = followed {
        let kubelets = followed.kubelets;
        let mut guard = Some(followed.guard);
        reloader = reloader.amended(Box::new(move |config| {
            let Some(nodes) = kubelets.load() else {
                if kubelets.is_overdue() {
                    drop(guard.take());
                }
                return None;
            };
            if config.options().nodes.as_ref() == Some(&*nodes) {
                drop(guard.take());
                return None;
            }
            Some(config.with_options(under(config.options(), Some(&kubelets))))
        }));
    }
    Ok(reloader)
}

/// The options with the kubelets as they are known, if they are followed.
fn under(options: &Options, kubelets: Option<&Kubelets>) -> Options {
    let mut options = options.clone();
    if let Some(nodes) = kubelets.and_then(Kubelets::load) {
        options.nodes = Some(nodes.to_vec());
    }
    options
}

fn check(names: &[String], config: &template::Config) -> Result<(), ConfigurationError> {
    template::trial::run(config).map_err(|source| ConfigurationError::Trial {
        name: names.first().cloned().unwrap_or_default(),
        source: Box::new(source),
    })
}

fn compile(
    names: &[String],
    contents: &[Vec<u8>],
    options: &Options,
) -> Result<template::Config, ConfigurationError> {
    let mut texts = Vec::new();
    for (name, bytes) in names.iter().zip(contents) {
        let text = std::str::from_utf8(bytes).map_err(|source| ConfigurationError::NotText {
            name: name.clone(),
            source,
        })?;
        texts.push(Text { name, text });
    }
    let mut texts = texts.into_iter();
    let empty = Text { name: "", text: "" };
    let mut next = || texts.next().unwrap_or(empty);
    let sources = Sources {
        config: next(),
        values: next(),
        mesh: next(),
    };
    template::Config::load(&sources, options.clone()).map_err(ConfigurationError::Template)
}
