//! What is wrong with an injection configuration, found without a pod.
//!
//! Called by `minimesh template lint`; takes the texts as they are, so that it has something to say where [`crate::Config::load`] only refuses.
//! Findings come in the order of texts and lines, each once, and the same texts always give the same findings.

mod code;
mod load;
mod locate;
mod samples;
mod settings;
mod templates;

pub use self::code::{Code, Severity};
use self::locate::Located;
use crate::{
    config::{Sources, Text},
    options::Options,
};

/// Something to know about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, stable.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The name of the text that it is in.
    pub origin: String,
    /// The key in the text, such as `templates.sidecar`; empty where it is about the text as a whole.
    pub key: String,
    /// Where in the text, if that is known.
    pub place: Option<Place>,
    /// Line and column in the template, from 1, if it is in one.
    pub in_template: Option<(usize, usize)>,
    /// What is so; lower case, without a full stop.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// How many characters of the line it takes, at least 1.
    pub length: usize,
    /// The line as it stands in the text.
    pub excerpt: String,
}

/// The findings, as they are collected.
struct Findings<'a> {
    sources: &'a Sources<'a>,
    config: Located<'a>,
    values: Located<'a>,
    mesh: Located<'a>,
    found: Vec<Finding>,
}

/// Which of the three texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Config,
    Values,
    Mesh,
}

/// Checks the three texts of a configuration.
///
/// `options` are those of the injector that will read them; they decide, for one, whether sidecars are native.
#[must_use]
pub fn lint(sources: &Sources<'_>, options: &Options) -> Vec<Finding> {
    let mut findings = Findings::new(sources);
    if let Some(config) = load::check(&mut findings, options) {
        let templates = templates::check(&mut findings, &config);
        settings::check(&mut findings, &config, &templates.reads);
        samples::check(&mut findings, &config, &templates.of_gateways);
    }
    findings.finish()
}

// === impl Findings ===

impl<'a> Findings<'a> {
    fn new(sources: &'a Sources<'a>) -> Self {
        Self {
            sources,
            config: Located::new(sources.config.text),
            values: Located::new(sources.values.text),
            mesh: Located::new(sources.mesh.text),
            found: Vec::new(),
        }
    }

    fn text(&self, origin: Origin) -> (Text<'a>, &Located<'a>) {
        match origin {
            Origin::Config => (self.sources.config, &self.config),
            Origin::Values => (self.sources.values, &self.values),
            Origin::Mesh => (self.sources.mesh, &self.mesh),
        }
    }

    /// A finding about the text's key, or about the text if the key is empty.
    fn at_key(&mut self, code: Code, origin: Origin, key: &str, message: String) {
        let (text, located) = self.text(origin);
        let place = located.key(key);
        self.push(code, text.name, key, place, None, message);
    }

    /// A finding at a line and column of the text.
    fn at_line(
        &mut self,
        code: Code,
        origin: Origin,
        (line, column): (usize, usize),
        message: String,
    ) {
        let (text, located) = self.text(origin);
        let place = located.line(line, column, 1);
        self.push(code, text.name, "", place, None, message);
    }

    /// A finding at a line and column of the template at `key`.
    fn in_template(
        &mut self,
        code: Code,
        key: &str,
        (line, column, length): (usize, usize, usize),
        message: String,
    ) {
        let place = self.config.in_scalar(key, line, column, length);
        let name = self.sources.config.name;
        let in_template = Some((line, column));
        self.push(code, name, key, place, in_template, message);
    }

    fn push(
        &mut self,
        code: Code,
        origin: &str,
        key: &str,
        place: Option<Place>,
        in_template: Option<(usize, usize)>,
        message: String,
    ) {
        self.found.push(Finding {
            code,
            severity: code.severity(),
            origin: origin.to_owned(),
            key: key.to_owned(),
            place,
            in_template,
            message,
            help: code.help().to_owned(),
        });
    }

    fn finish(mut self) -> Vec<Finding> {
        let texts = [
            self.sources.config.name,
            self.sources.values.name,
            self.sources.mesh.name,
        ];
        let text = |finding: &Finding| texts.iter().position(|name| *name == finding.origin);
        let line = |finding: &Finding| {
            finding
                .place
                .as_ref()
                .map(|place| (place.line, place.column))
        };
        self.found.sort_by(|a, b| {
            let order = |finding| (text(finding), line(finding), finding.in_template);
            order(a)
                .cmp(&order(b))
                .then_with(|| (&a.key, a.code, &a.message).cmp(&(&b.key, b.code, &b.message)))
        });
        self.found.dedup();
        self.found
    }
}
