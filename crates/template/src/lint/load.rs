//! What keeps a configuration from being loaded.
//!
//! Called first. Loading stops at the first fault; here every template is parsed by itself, so that all of their faults are told at once.
//! What is certain to fail keeps a configuration from being loaded, too; such a one is still read for the checks that come after.

use super::{Code, Findings, Origin};
use crate::{
    config::{Config, ConfigError, template_texts},
    gotemplate::{ParseError, ParseReason},
    options::Options,
    yaml,
};

/// Finds all that [`Config::load`] refuses; gives the configuration if there is nothing.
pub(super) fn check(findings: &mut Findings<'_>, options: &Options) -> Option<Config> {
    let texts = template_texts(findings.sources.config).unwrap_or_default();
    for text in &texts {
        if let Err(error) = text.compile() {
            syntax(findings, &text.key, &error);
        }
    }
    match Config::read(findings.sources, options.clone()) {
        Ok(config) => return Some(config),
        // Already told, with the others of its kind.
        Err(ConfigError::Template { .. }) => {}
        Err(error) => refused(findings, &error),
    }
    None
}

fn refused(findings: &mut Findings<'_>, error: &ConfigError) {
    let (code, origin, key) = match error {
        ConfigError::Yaml { source } => return not_yaml(findings, source),
        ConfigError::Field { origin, key, .. } => (Code::WrongType, origin, key.as_str()),
        ConfigError::NoTemplates { origin } => (Code::NoTemplates, origin, ""),
        ConfigError::UnknownTemplate { origin, key, .. } => (Code::UnknownTemplate, origin, *key),
        ConfigError::Selector { origin, key, .. } => (Code::BadSelector, origin, key.as_str()),
        ConfigError::ProxyConfig { origin, .. } => (Code::BadProxyConfig, origin, "defaultConfig"),
        // Told with the others of its kind, from the same analysis.
        ConfigError::Fails { .. } => return,
        ConfigError::Template { origin, key, .. } => (Code::TemplateSyntax, origin, key.as_str()),
    };
    let mut message = error.to_string();
    if let Some(rest) = message.strip_prefix(&format!("{origin}: ")) {
        message = rest.to_owned();
    }
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    let origin = findings.origin(origin);
    findings.at_key(code, origin, key, message);
}

fn not_yaml(findings: &mut Findings<'_>, error: &yaml::Error) {
    let origin = findings.origin(&error.origin);
    let place = (error.line, error.column);
    findings.at_line(Code::NotYaml, origin, place, error.problem.to_string());
}

fn syntax(findings: &mut Findings<'_>, key: &str, error: &ParseError) {
    let code = match &error.reason {
        ParseReason::UnknownFunction(_) => Code::UnknownFunction,
        ParseReason::UndefinedVariable(_) => Code::UndefinedVariable,
        ParseReason::UndefinedTemplate(_) => Code::UndefinedDefinition,
        ParseReason::WrongArguments { .. } => Code::WrongArguments,
        _ => Code::TemplateSyntax,
    };
    let length = error.place.snippet.trim_end_matches("...").chars().count();
    let place = (error.place.line, error.place.column, length);
    findings.in_template(code, key, place, error.reason.to_string());
}

impl Findings<'_> {
    /// Which text goes by this name.
    fn origin(&self, name: &str) -> Origin {
        if name == self.sources.config.name {
            Origin::Config
        } else if name == self.sources.values.name {
            Origin::Values
        } else {
            Origin::Mesh
        }
    }
}
