//! The key `config`: policy, selectors and templates, in each of the formats that there have been.
//!
//! Called when a configuration is loaded; compiles every template, used or not.
//! Today's format has `templates`; the first one has a single `template` with `[[ ]]`, whose result is the content of a pod's `spec`; and a file that has
//! neither is taken for a bare template, as Istio's command line does.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Compiled, ConfigError, Mesh, Text};
use crate::{
    decide::{Policy, Rules},
    functions::Functions,
    gotemplate::{Delimiters, ParseError, Template},
    selector::Selector,
    yaml,
};

/// What a template's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A partial pod.
    Pod,
    /// The first format: the lists of a pod's `spec`, and `podRedirectAnnot`.
    Spec,
}

/// A template that is not compiled yet.
pub(crate) struct TemplateText {
    pub(crate) name: String,
    /// Where it stands in the configuration, such as `templates.sidecar`.
    pub(crate) key: String,
    pub(crate) text: String,
    format: Format,
}

/// The template that pods get where nothing else is said.
const SIDECAR: &str = "sidecar";

/// Keys by which a configuration is told from a bare template.
pub(crate) const KEYS: &[&str] = &[
    "policy",
    "templates",
    "template",
    "defaultTemplates",
    "aliases",
    "alwaysInjectSelector",
    "neverInjectSelector",
    "injectedAnnotations",
];

/// Reads and compiles `source`.
pub(super) fn read(source: Text<'_>, values: Value, mesh: Mesh) -> Result<Compiled, ConfigError> {
    let fields = Fields {
        source,
        map: fields(source)?,
    };
    let (templates, format) = fields.templates()?;
    let compiled = Compiled {
        rules: Rules {
            policy: fields.policy()?,
            always: fields.selectors("alwaysInjectSelector")?,
            never: fields.selectors("neverInjectSelector")?,
        },
        default_templates: fields
            .read::<Vec<String>>("defaultTemplates", "a list of names")?
            .filter(|names| !names.is_empty())
            .unwrap_or_else(|| vec![SIDECAR.to_owned()]),
        aliases: fields
            .read("aliases", "a map from a name to a list of names")?
            .unwrap_or_default(),
        injected_annotations: fields.annotations()?,
        shows_metadata: fields.texts().any(shows_metadata),
        templates,
        format,
        values,
        mesh,
    };
    check_names(&fields, &compiled)?;
    Ok(compiled)
}

/// All templates of `source`, in the order of their names.
pub(crate) fn template_texts(source: Text<'_>) -> Result<Vec<TemplateText>, ConfigError> {
    let map = fields(source)?;
    Ok(Fields { source, map }.template_texts()?.0)
}

/// The keys of the configuration; a bare template becomes one.
fn fields(source: Text<'_>) -> Result<Map<String, Value>, ConfigError> {
    let has_key = |line: &str| {
        KEYS.iter().any(|key| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    };
    match yaml::parse(source.name, source.text) {
        Ok(Value::Object(map)) if KEYS.iter().any(|key| map.contains_key(*key)) => Ok(map),
        Ok(Value::Null) => Err(ConfigError::NoTemplates {
            origin: source.name.to_owned(),
        }),
        // Text between `{{` and `}}` is hardly ever YAML, so what tells a broken configuration from a template is its first keys.
        Err(error) if source.text.lines().any(has_key) => Err(error.into()),
        _ => Ok(Map::from_iter([(
            "templates".to_owned(),
            serde_json::json!({SIDECAR: source.text}),
        )])),
    }
}

struct Fields<'a> {
    source: Text<'a>,
    map: Map<String, Value>,
}

// === impl Fields ===

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn read<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        T::deserialize(value)
            .map(Some)
            .map_err(|_| self.source.wrong(key, expected))
    }

    fn policy(&self) -> Result<Policy, ConfigError> {
        Ok(
            match self.read::<String>("policy", "enabled or disabled")? {
                None => Policy::Enabled,
                Some(policy) if policy == "enabled" => Policy::Enabled,
                Some(policy) if policy == "disabled" => Policy::Disabled,
                Some(policy) => Policy::Unknown(policy),
            },
        )
    }

    fn selectors(&self, key: &str) -> Result<Vec<Selector>, ConfigError> {
        let list: Vec<Value> = self
            .read(key, "a list of label selectors")?
            .unwrap_or_default();
        let parse = |(selector_idx, selector): (usize, &Value)| {
            Selector::parse(selector).map_err(|source| ConfigError::Selector {
                origin: self.source.name.to_owned(),
                key: format!("{key}[{selector_idx}]"),
                source,
            })
        };
        list.iter().enumerate().map(parse).collect()
    }

    fn annotations(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let expected = "a map of strings";
        let annotations: Map<String, Value> = self
            .read("injectedAnnotations", expected)?
            .unwrap_or_default();
        annotations
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                Value::Bool(_) | Value::Number(_) => Ok((key, value.to_string())),
                _ => Err(self
                    .source
                    .wrong(format!("injectedAnnotations[{key:?}]"), "a string")),
            })
            .collect()
    }

    /// The templates' texts.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let templates = self.get("templates").and_then(Value::as_object);
        let first = self.get("template").filter(|_| templates.is_none());
        let templates = templates.into_iter().flat_map(Map::values);
        templates.chain(first).filter_map(Value::as_str)
    }

    /// All templates, in the order of their names.
    fn template_texts(&self) -> Result<(Vec<TemplateText>, Format), ConfigError> {
        let origin = || self.source.name.to_owned();
        if let Some(templates) = self.get("templates") {
            let templates = templates
                .as_object()
                .ok_or_else(|| self.source.wrong("templates", "a map of templates"))?;
            let texts = templates.iter().map(|(name, text)| {
                let key = format!("templates.{name}");
                let text = text
                    .as_str()
                    .ok_or_else(|| self.source.wrong(&key, "a template"))?;
                Ok(TemplateText {
                    name: name.clone(),
                    key,
                    text: text.to_owned(),
                    format: Format::Pod,
                })
            });
            let texts = texts.collect::<Result<Vec<_>, ConfigError>>()?;
            if texts.is_empty() {
                return Err(ConfigError::NoTemplates { origin: origin() });
            }
            return Ok((texts, Format::Pod));
        }
        let Some(text) = self.get("template") else {
            return Err(ConfigError::NoTemplates { origin: origin() });
        };
        let text = text
            .as_str()
            .ok_or_else(|| self.source.wrong("template", "a template"))?;
        let text = TemplateText {
            name: SIDECAR.to_owned(),
            key: "template".to_owned(),
            text: text.to_owned(),
            format: Format::Spec,
        };
        Ok((vec![text], Format::Spec))
    }

    fn templates(&self) -> Result<(BTreeMap<String, Template>, Format), ConfigError> {
        let (texts, format) = self.template_texts()?;
        let compiled = texts.into_iter().map(|text| {
            let template = text.compile().map_err(|error| ConfigError::Template {
                origin: self.source.name.to_owned(),
                key: text.key,
                source: Box::new(error),
            })?;
            Ok((text.name, template))
        });
        Ok((compiled.collect::<Result<_, ConfigError>>()?, format))
    }
}

// === impl TemplateText ===

impl TemplateText {
    /// Parses the template, in the language of its format.
    pub(crate) fn compile(&self) -> Result<Template, ParseError> {
        let (delimiters, functions) = match self.format {
            Format::Pod => (Delimiters::CURLY, Functions::injection()),
            Format::Spec => (delimiters(&self.text), Functions::first_injection()),
        };
        Template::parse(&self.name, &self.text, delimiters, &functions)
    }
}

/// The delimiters of a template in the first format: whichever opens first.
fn delimiters(text: &str) -> Delimiters<'static> {
    match (text.find("[["), text.find("{{")) {
        (Some(square), Some(curly)) if square > curly => Delimiters::CURLY,
        (None, _) => Delimiters::CURLY,
        (Some(_), _) => Delimiters::SQUARE,
    }
}

/// Whether a template looks at labels or annotations in another way than one by one.
///
/// Judged by the word before them. Saying yes in doubt costs a longer record and nothing else.
fn shows_metadata(template: &str) -> bool {
    const METADATA: &str = ".ObjectMeta";
    template.match_indices(METADATA).any(|(at, _)| {
        let (before, after) = template.split_at(at);
        let after = after.strip_prefix(METADATA).unwrap_or_default();
        let end = after.find(|letter: char| !letter.is_alphanumeric() && letter != '.');
        let field = after.get(..end.unwrap_or(after.len())).unwrap_or_default();
        let action = before.rfind(['{', '[']).and_then(|open| before.get(open..));
        let calls = |function| action.is_some_and(|action| action.contains(function));
        let word = before
            .trim_end()
            .rsplit(|letter: char| !letter.is_alphanumeric())
            .next();
        match field {
            "" => word != Some("annotation"),
            ".Annotations" | ".Labels" => {
                !matches!(word, Some("index" | "isset")) && !calls("otelResourceAttributes")
            }
            _ => false,
        }
    })
}

/// Refuses names of templates that there are not: every pod would be denied for them.
fn check_names(fields: &Fields<'_>, compiled: &Compiled) -> Result<(), ConfigError> {
    // Where nothing is said, pods may still name what there is in their annotation.
    let stated = fields
        .get("defaultTemplates")
        .map(|_| &compiled.default_templates);
    let defaults = stated
        .into_iter()
        .flatten()
        .filter(|name| !compiled.aliases.contains_key(*name));
    let aliased = compiled
        .aliases
        .values()
        .flatten()
        .map(|name| ("aliases", name));
    let mut named = defaults
        .map(|name| ("defaultTemplates", name))
        .chain(aliased);
    match named.find(|(_, name)| !compiled.templates.contains_key(*name)) {
        None => Ok(()),
        Some((key, name)) => Err(ConfigError::UnknownTemplate {
            origin: fields.source.name.to_owned(),
            key,
            name: name.clone(),
            known: compiled.known_templates(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_shows_metadata_if_it_takes_more_than_one_of_them_at_a_time() {
        for (template, shows) in [
            ("{{ index .ObjectMeta.Labels `app` }}", false),
            (
                "{{ if (isset .ObjectMeta.Annotations `a`) }}{{ end }}",
                false,
            ),
            ("{{ annotation .ObjectMeta `a` .ObjectMeta.Name }}", false),
            (
                "{{ otelResourceAttributes .ObjectMeta.Annotations .ObjectMeta.Labels }}",
                false,
            ),
            ("[[ toJSON .ObjectMeta.Labels ]]", true),
            (
                "{{ range $key, $value := .ObjectMeta.Annotations }}{{ end }}",
                true,
            ),
            ("{{ $meta := .ObjectMeta }}", true),
            ("{{ .ObjectMeta.Annotations | toYaml }}", true),
        ] {
            assert_eq!(shows_metadata(template), shows, "{template}");
        }
    }
}
