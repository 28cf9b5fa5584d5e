//! The injection configuration, from files to one compiled value.
//!
//! `app` starts the [`reloader`]; the webhook reads its live value. The three texts are compiled together or not at all, so a new
//! template never meets old values.

use std::str::Utf8Error;

use runtime::readiness::Readiness;
use template::{Options, Sources, Text};

use crate::{
    config::Config,
    files::{LoadError, Reloader, Source},
    metrics::Files as Metrics,
};

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
}

/// Reads and compiles the configuration, and keeps it in step with its files.
///
/// # Errors
/// When a file cannot be read or the texts do not compile.
pub fn reloader(
    config: &Config,
    readiness: &Readiness,
    metrics: Metrics,
) -> Result<Reloader<template::Config, ConfigurationError>, LoadError<ConfigurationError>> {
    let mut sources = vec![config.injection.clone(), config.values.clone()];
    sources.extend(config.mesh.clone());
    let names = sources.iter().map(Source::name).collect::<Vec<_>>();
    let options = config.options.clone();
    Reloader::start(
        "configuration",
        sources,
        Box::new(move |contents| compile(&names, contents, &options)),
        readiness.detail("configuration"),
        metrics,
    )
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
