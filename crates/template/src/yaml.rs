//! YAML as kubectl reads it, and YAML that every reader understands.
//!
//! Called for manifests, for the configuration and for each rendered template; nothing else in the crate parses YAML text.
//! Reading follows `sigs.k8s.io/yaml`: YAML 1.1 scalars as go-yaml v2 resolves them, merge keys, string keys only. What is read is
//! bounded in depth and in what aliases may expand to, and a duplicate key is an error; what is written reads back as the same value.
//!
//! ```text
//! text ──► documents() ──► Document ──► quick, else load ──► scalar ──► serde_json::Value ──► to_string() ──► text
//!                              └─ raw: the very bytes, for documents that nobody changes
//! ```

mod emit;
mod load;
mod quick;
mod scalar;
mod split;

use serde_json::Value;

pub use self::{
    emit::to_string,
    split::{Document, documents},
};

/// Nesting that is still read, in maps and lists within each other: the limit of `serde_json`, and far more than any manifest has.
pub const MAX_DEPTH: usize = 128;

/// A text that is not the YAML that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}:{column}: {problem}")]
pub struct Error {
    /// What was read: a file's path, a ConfigMap's key or the name of a template.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is not YAML.
    #[error("{0}")]
    Syntax(String),
    /// A key occurs twice in one map.
    #[error("duplicate key {0:?}")]
    DuplicateKey(String),
    /// A key is null, a list or a map, which JSON cannot express.
    #[error("a key must be a string, a number or a boolean")]
    Key,
    /// `<<` has a value that cannot be merged.
    #[error("merge key `<<` needs a map or a list of maps")]
    Merge,
    /// An alias stands inside the node that it refers to.
    #[error("alias refers to the node that holds it")]
    RecursiveAlias,
    /// Aliases expand to more than can be wanted.
    #[error("aliases expand to more than {0} MiB")]
    Expansion(usize),
    /// Maps and lists are nested too deeply.
    #[error("nested more than {MAX_DEPTH} levels deep")]
    Depth,
    /// The value cannot be what its tag says.
    #[error("cannot read {value:?} as {tag}")]
    Tag {
        /// The scalar as written.
        value: String,
        /// The tag, such as `!!int`.
        tag: String,
    },
    /// JSON has no infinity and no NaN.
    #[error("{0} has no counterpart in JSON; quote it if it is a string")]
    NotFinite(String),
    /// There is a second document where one is expected.
    #[error("a second document begins here, only one is expected")]
    SecondDocument,
}

/// Reads the one document in `text`; `origin` names it in errors.
///
/// An empty text, or one of comments only, is `Null`; empty documents around the one are ignored.
///
/// # Errors
/// An [`Error`] with line and column.
pub fn parse(origin: &str, text: &str) -> Result<Value, Error> {
    load::single(origin, text, 0)
}

/// Whether a plain scalar is something that JSON can express; what is no number is.
pub(crate) fn is_finite(scalar: &str) -> bool {
    scalar::resolve(scalar).is_ok()
}

#[cfg(test)]
mod tests;
