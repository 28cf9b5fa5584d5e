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

// === impl Code ===

impl Code {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NotYaml,
        Self::WrongType,
        Self::NoTemplates,
        Self::UnknownTemplate,
        Self::BadSelector,
        Self::BadProxyConfig,
        Self::TemplateSyntax,
        Self::UnknownFunction,
        Self::UndefinedVariable,
        Self::UndefinedDefinition,
        Self::WrongArguments,
    ];

    /// The code as it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.row().1
    }

    /// What to do.
    #[must_use]
    pub fn help(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, Severity, &'static str) {
        use Severity::Error;
        match self {
            Self::NotYaml => ("not-yaml", Error, "correct the YAML"),
            Self::WrongType => ("wrong-type", Error, "give the key a value of that type"),
            Self::NoTemplates => ("no-templates", Error, "add templates.sidecar"),
            Self::UnknownTemplate => (
                "unknown-template",
                Error,
                "correct the name, or add the template",
            ),
            Self::BadSelector => (
                "bad-selector",
                Error,
                "write it as Kubernetes does: matchLabels and matchExpressions",
            ),
            Self::BadProxyConfig => (
                "bad-proxy-config",
                Error,
                "correct the field of defaultConfig",
            ),
            Self::TemplateSyntax => ("template-syntax", Error, "correct the template"),
            Self::UnknownFunction => (
                "unknown-function",
                Error,
                "use a function of Go templates, of sprig or of Istio",
            ),
            Self::UndefinedVariable => (
                "undefined-variable",
                Error,
                "declare it with := in this block or around it",
            ),
            Self::UndefinedDefinition => (
                "undefined-definition",
                Error,
                "define it with define or block in the same template",
            ),
            Self::WrongArguments => (
                "wrong-arguments",
                Error,
                "give the function as many arguments as it takes; a value from | counts",
            ),
        }
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
