//! The codes of findings, each with how bad it is and what to do.
//!
//! Scripts rely on them: a code never changes its meaning. The page `docs/reference/lint.md` lists all of them, which a test holds.

use std::fmt;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A text is not YAML.
    NotYaml,
    /// A key has a value of the wrong type.
    WrongType,
    /// There is no template.
    NoTemplates,
    /// A name that no template has.
    UnknownTemplate,
    /// A label selector that is none.
    BadSelector,
    /// `defaultConfig` of the mesh cannot be used.
    BadProxyConfig,
    /// A template that does not parse.
    TemplateSyntax,
    /// A call of a function that does not exist.
    UnknownFunction,
    /// A variable that nothing declares.
    UndefinedVariable,
    /// A call of a definition that does not exist.
    UndefinedDefinition,
    /// A function with too few or too many arguments.
    WrongArguments,
    /// A field that the data of templates, or a type in it, does not have.
    UnknownField,
    /// A value is used as what it is not.
    TypeClash,
    /// A value is printed that the values do not have, or that is nearly one that they have.
    MissingValue,
    /// A text such as `false` in a condition, where it counts as true.
    TextAsBoolean,
    /// A template for the controller of gateways, which pods cannot use.
    GatewayTemplate,
    /// A template that pods only get if they ask for it by name.
    OnDemandTemplate,
    /// `policy` is neither `enabled` nor `disabled`.
    UnknownPolicy,
    /// A key that nothing reads.
    UnknownKey,
    /// A value in a tree of the templates that no template reads.
    UnreadValue,
    /// A key of `injectedAnnotations` that no annotation can have.
    BadAnnotationKey,
    /// A selector without requirements, or with ones that exclude each other.
    SelectorNeverMatches,
    /// Two settings of the agent's status port that differ.
    PortsDisagree,
    /// A template fails for a sample pod.
    Fails,
    /// What a template gives for a sample pod is not YAML.
    RenderedNotYaml,
    /// What a template gives for a sample pod is no part of a pod.
    RenderedNoPod,
    /// What a template gives has a field that pods do not have.
    UnknownPodField,
    /// The API server would refuse the injected sample pod.
    WouldBeRefused,
    /// Injecting the injected sample pod changes it.
    NotIdempotent,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Pods would be refused, or injected wrongly.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Good to know.
    Note,
}

/// Each code as it is printed, how bad it is and what to do, in the order of the reference page.
const ROWS: [(Code, &str, Severity, &str); 29] = {
    use Severity::{Error, Note, Warning};
    [
        (Code::NotYaml, "not-yaml", Error, "correct the YAML"),
        (
            Code::WrongType,
            "wrong-type",
            Error,
            "give the key a value of that type",
        ),
        (
            Code::NoTemplates,
            "no-templates",
            Error,
            "add templates.sidecar",
        ),
        (
            Code::UnknownTemplate,
            "unknown-template",
            Error,
            "correct the name, or add the template",
        ),
        (
            Code::BadSelector,
            "bad-selector",
            Error,
            "write it as Kubernetes does: matchLabels and matchExpressions",
        ),
        (
            Code::BadProxyConfig,
            "bad-proxy-config",
            Error,
            "correct the field of defaultConfig",
        ),
        (
            Code::TemplateSyntax,
            "template-syntax",
            Error,
            "correct the template",
        ),
        (
            Code::UnknownFunction,
            "unknown-function",
            Error,
            "use a function of Go templates, of sprig or of Istio",
        ),
        (
            Code::UndefinedVariable,
            "undefined-variable",
            Error,
            "declare it with := in this block or around it",
        ),
        (
            Code::UndefinedDefinition,
            "undefined-definition",
            Error,
            "define it with define or block in the same template",
        ),
        (
            Code::WrongArguments,
            "wrong-arguments",
            Error,
            "give the function as many arguments as it takes; a value from | counts",
        ),
        (
            Code::UnknownField,
            "unknown-field",
            Error,
            "use a field of the data that templates get",
        ),
        (
            Code::TypeClash,
            "type-clash",
            Error,
            "convert the value, or correct it where it is set",
        ),
        (
            Code::MissingValue,
            "missing-value",
            Warning,
            "set the value, or guard it with if or default",
        ),
        (
            Code::TextAsBoolean,
            "text-as-boolean",
            Warning,
            "write the value without quotes, or compare it with eq",
        ),
        (
            Code::GatewayTemplate,
            "gateway-template",
            Note,
            "nothing: it is for the controller of gateways, and is only parsed here",
        ),
        (
            Code::OnDemandTemplate,
            "on-demand-template",
            Note,
            "ask for it by annotation inject.istio.io/templates, or name it in defaultTemplates or aliases",
        ),
        (
            Code::UnknownPolicy,
            "unknown-policy",
            Error,
            "set policy to enabled or disabled",
        ),
        (
            Code::UnknownKey,
            "unknown-key",
            Warning,
            "correct the key, or remove it",
        ),
        (
            Code::UnreadValue,
            "unread-value",
            Note,
            "remove the value, or read it in a template",
        ),
        (
            Code::BadAnnotationKey,
            "bad-annotation-key",
            Error,
            "write it as Kubernetes wants it: PREFIX/NAME, or NAME",
        ),
        (
            Code::SelectorNeverMatches,
            "selector-never-matches",
            Warning,
            "correct the selector, or remove it",
        ),
        (
            Code::PortsDisagree,
            "ports-disagree",
            Warning,
            "set global.proxy.statusPort and defaultConfig.statusPort to the same port, or only one of them",
        ),
        (
            Code::Fails,
            "fails",
            Error,
            "correct the template or the values; every pod like the sample is refused",
        ),
        (
            Code::RenderedNotYaml,
            "rendered-not-yaml",
            Error,
            "quote what is put into the text (quote, toJSON), and check its indentation",
        ),
        (
            Code::RenderedNoPod,
            "rendered-no-pod",
            Error,
            "let the template give metadata and spec of a pod",
        ),
        (
            Code::UnknownPodField,
            "unknown-pod-field",
            Warning,
            "correct the field's name and where it stands",
        ),
        (
            Code::WouldBeRefused,
            "would-be-refused",
            Error,
            "correct what the message names in the template",
        ),
        (
            Code::NotIdempotent,
            "not-idempotent",
            Warning,
            "let the template depend on what the author wrote, and not on what it adds itself",
        ),
    ]
};

// === impl Code ===

impl Code {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    /// The code as it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// How bad it is; some findings are told as less or more.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.row().2
    }

    /// What to do.
    #[must_use]
    pub fn help(self) -> &'static str {
        self.row().3
    }

    fn row(self) -> &'static (Self, &'static str, Severity, &'static str) {
        let mut rows = ROWS.iter();
        rows.find(|row| row.0 == self)
            .expect("each code has its row, which a test holds")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Severity ===

impl Severity {
    /// The word as it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_row_in_the_order_of_the_codes() {
        assert!(ROWS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(ROWS.len(), Code::NotIdempotent as usize + 1);
    }
}
