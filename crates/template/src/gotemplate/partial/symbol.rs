//! Values of a partial execution: known ones, expressions, and the parts of the pod that templates ask.
//! What a part gives for a field is the whole list of what expressions can say about a pod.

use std::collections::BTreeSet;

use super::Listing;
use crate::gotemplate::value::Value;
use crate::policy::cel::Expr;
use crate::policy::facts;

/// A value, known or not.
#[derive(Clone, Debug)]
pub(super) enum Symbol<'a> {
    Known(Value<'a>),
    /// A text.
    Text(Expr),
    /// A text between quotes.
    Quoted(Expr),
    Truth(Expr),
    Texts(Listing),
    /// A part of the pod or of its owner.
    Part(Part),
    /// Something that no expression says; using it is an error.
    Unsayable(BTreeSet<String>),
}

/// A part of the pod that templates see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of the data.
    Data,
    TypeMeta,
    DeploymentMeta,
    ObjectMeta,
    Labels,
    Annotations,
    Spec,
    /// How long the pod may take to end: a number, which the API server gives to every pod.
    GracePeriod,
    Containers,
    Container,
    /// The ports of the container at hand.
    Ports,
    Port,
}

// === impl Symbol ===

impl Symbol<'_> {
    /// The annotations that it depends on.
    pub(super) fn annotations(&self) -> Vec<String> {
        match self {
            Self::Text(expr) | Self::Quoted(expr) | Self::Truth(expr) => {
                facts::annotation_keys(expr)
            }
            Self::Texts(listing) => listing
                .expressions()
                .flat_map(facts::annotation_keys)
                .collect(),
            Self::Unsayable(keys) => keys.iter().cloned().collect(),
            Self::Known(_) | Self::Part(_) => Vec::new(),
        }
    }
}

// === impl Part ===

impl Part {
    /// A field of the part that expressions can say.
    pub(super) fn field<'a>(self, name: &str) -> Option<Symbol<'a>> {
        let container = || Expr::Name(facts::CONTAINER);
        let port = || Expr::Name(facts::PORT);
        let empty = || Expr::text("");
        Some(match (self, name) {
            (Self::TypeMeta, "APIVersion") => Symbol::Text(facts::owner("apiVersion")),
            (Self::TypeMeta, "Kind") => Symbol::Text(facts::owner("kind")),
            (Self::DeploymentMeta, "Name") => Symbol::Text(facts::owner("name")),
            (Self::DeploymentMeta | Self::ObjectMeta, "Namespace") => {
                Symbol::Text(facts::namespace())
            }
            (Self::ObjectMeta, "Name") => Symbol::Text(facts::metadata("name")),
            (Self::ObjectMeta, "GenerateName") => Symbol::Text(facts::metadata("generateName")),
            (Self::ObjectMeta, "Labels") => Symbol::Part(Self::Labels),
            (Self::ObjectMeta, "Annotations") => Symbol::Part(Self::Annotations),
            (Self::Spec, "ServiceAccountName") => {
                Symbol::Text(facts::spec_text("serviceAccountName"))
            }
            (Self::Spec, "DNSPolicy") => Symbol::Text(facts::spec_text("dnsPolicy")),
            (Self::Spec, "TerminationGracePeriodSeconds") => Symbol::Part(Self::GracePeriod),
            (Self::Spec, "Containers") => Symbol::Part(Self::Containers),
            (Self::Container, "Name") => Symbol::Text(container().field("name")),
            (Self::Container, "Image") => Symbol::Text(container().field_or("image", empty())),
            (Self::Container, "Ports") => Symbol::Part(Self::Ports),
            (Self::Port, "Name") => Symbol::Text(port().field_or("name", empty())),
            (Self::Port, "Protocol") => Symbol::Text(port().field_or("protocol", empty())),
            _ => return None,
        })
    }

    /// The list of containers or ports, and the variable for one of them.
    pub(super) fn items(self) -> (Expr, &'static str) {
        match self {
            Self::Ports => {
                let container = Expr::Name(facts::CONTAINER);
                let ports = container.field_or("ports", Expr::List(Vec::new()));
                (ports, facts::PORT)
            }
            _ => (facts::containers(), facts::CONTAINER),
        }
    }
}
