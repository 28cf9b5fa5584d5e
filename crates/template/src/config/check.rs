//! Refusing templates that are known to fail.
//!
//! Called when a configuration is loaded, after everything has been compiled: a mistake in a template is found then, and not by the first pod.
//! Refused is what fails whatever a pod says: fields that there are not, in any template for pods, and failures that every pod comes to, in those that
//! pods get by default. What only some pods come to is lint's to tell, and a template for another program than the injector is left alone.

use std::collections::BTreeSet;

use super::{Compiled, ConfigError, Format, Text};
use crate::gotemplate::{
    ExecError, ExecReason,
    analyse::{Analysis, Known, Problem, What, analyse},
};

/// Fields that templates for the controller of gateways see, and those for pods do not.
const OF_GATEWAYS: &[&str] = &[
    "Annotations",
    "ClusterID",
    "ControllerLabel",
    "DeploymentName",
    "Gateway",
    "GatewayClass",
    "GatewayNameLabel",
    "InfrastructureAnnotations",
    "InfrastructureLabels",
    "IsEastWestGateway",
    "KubeVersion",
    "KubeVersion122",
    "Labels",
    "Name",
    "Namespace",
    "Ports",
    "ServiceAccount",
    "ServiceType",
    "UID",
];

/// Whether a template was written for gateways' data, so that no pod can use it.
pub(crate) fn is_for_gateways(analysis: &Analysis) -> bool {
    let mut unknown = analysis.unknown_roots.iter();
    unknown.any(|field| OF_GATEWAYS.contains(&field.as_str()))
}

/// Refuses the first template that is known to fail.
pub(super) fn templates(source: Text<'_>, compiled: &Compiled) -> Result<(), ConfigError> {
    let defaults = compiled.default_names();
    for (name, template) in &compiled.templates {
        let analysis = analyse(template, &Known::data(&compiled.values));
        let is_default = defaults.contains(name.as_str());
        if is_for_gateways(&analysis) && !is_default {
            continue;
        }
        let mut problems = analysis.problems.into_iter();
        let fatal = problems.find_map(|problem| {
            fatal(&problem, is_default, compiled.format).map(|reason| (reason, problem))
        });
        if let Some((reason, problem)) = fatal {
            return Err(refusal(source, compiled, name, problem, reason));
        }
    }
    Ok(())
}

/// Why the executor fails there, if that is reason enough to refuse the template.
fn fatal(problem: &Problem, is_default: bool, format: Format) -> Option<ExecReason> {
    match &problem.what {
        // Old templates may read fields that the types had in their days.
        What::UnknownField { type_name, .. } if format == Format::Spec && *type_name != ROOT => {
            None
        }
        What::UnknownField {
            field, type_name, ..
        } => Some(ExecReason::NoField {
            field: field.clone(),
            type_name,
        }),
        What::Fails(reason) if is_default && problem.is_certain => Some(reason.clone()),
        What::Fails(_) | What::MissingValue { .. } | What::TextDecides { .. } => None,
    }
}

fn refusal(
    source: Text<'_>,
    compiled: &Compiled,
    name: &str,
    problem: Problem,
    reason: ExecReason,
) -> ConfigError {
    let hint = match &problem.what {
        What::UnknownField {
            nearest: Some(nearest),
            ..
        } => format!(", did you mean .{nearest}?"),
        _ => String::new(),
    };
    ConfigError::Fails {
        origin: source.name.to_owned(),
        key: compiled.template_key(name),
        hint,
        source: Box::new(ExecError {
            place: Box::new(problem.place),
            definition: problem.definition,
            reason,
        }),
    }
}

/// What errors call the data of the whole template.
const ROOT: &str = "SidecarTemplateData";

// === impl Compiled ===

impl Compiled {
    /// The templates that pods get without asking, aliases resolved.
    pub(crate) fn default_names(&self) -> BTreeSet<&str> {
        let named = self.default_templates.iter();
        named
            .flat_map(|name| match self.aliases.get(name) {
                Some(names) => names.iter().map(String::as_str).collect(),
                None => vec![name.as_str()],
            })
            .collect()
    }

    /// Where a template stands in the configuration.
    pub(crate) fn template_key(&self, name: &str) -> String {
        match self.format {
            Format::Pod => format!("templates.{name}"),
            Format::Spec => "template".to_owned(),
        }
    }
}
