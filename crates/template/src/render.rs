//! Running the templates: pod and configuration in, partial pods out.
//!
//! Called once for each pod; every template sees the same data, made of borrowed parts, and not what another template gave.
//! What a template gives is read as YAML and must have the shape of a pod before anything is merged.

mod data;
pub(crate) mod legacy;

use contract::annotations;
use serde_json::Value;

pub(crate) use self::data::Context;
use crate::{
    config::{Compiled, Format},
    error::Error,
    gotemplate::Observer,
    pod,
    validate::shortened,
    yaml,
};

/// What the templates gave.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    /// Each template's name and the partial pod that it gave, in order.
    pub(crate) patches: Vec<(String, Value)>,
    /// Whether probes are to be rewritten, where the template has a say in that (the first format only).
    pub(crate) rewrite_probes: Option<bool>,
}

/// Runs the templates of these names, as [`selected`] gives them.
pub(crate) fn render(
    config: &Compiled,
    context: &Context<'_>,
    names: &[String],
    observer: Option<&dyn Observer>,
) -> Result<Rendered, Error> {
    let data = context.data();
    let mut rendered = Rendered::default();
    for name in names {
        let template = config
            .templates
            .get(name)
            .ok_or_else(|| Error::UnknownTemplate {
                name: shortened(name),
                known: config.known_templates(),
            })?;
        let text = template
            .execute_observed(&data, observer)
            .map_err(|source| Error::Render {
                name: name.clone(),
                source,
            })?;
        let mut patch = yaml::parse(name, &text).map_err(|source| Error::RenderedYaml {
            name: name.clone(),
            source,
        })?;
        if patch.is_null() {
            continue;
        }
        if config.format == Format::Spec {
            rendered.rewrite_probes = legacy::into_pod(&mut patch).or(rendered.rewrite_probes);
        }
        pod::check_patch(&patch).map_err(|source| Error::RenderedShape {
            name: name.clone(),
            source: Box::new(source),
        })?;
        rendered.patches.push((name.clone(), patch));
    }
    Ok(rendered)
}

/// The names of the templates that the pod asks for, or of the default ones, with aliases resolved once: an alias of an alias is a template's name.
pub(crate) fn selected(config: &Compiled, pod: &Value) -> Vec<String> {
    let asked = pod::annotation(pod, annotations::TEMPLATES);
    let asked = asked.map(|names| {
        names
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect()
    });
    let names: Vec<String> = asked.unwrap_or_else(|| config.default_templates.clone());
    names
        .into_iter()
        .flat_map(|name| {
            config
                .aliases
                .get(&name)
                .cloned()
                .unwrap_or_else(|| vec![name])
        })
        .collect()
}
