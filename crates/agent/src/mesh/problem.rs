//! What can be wrong with a description of the mesh, and where in it.
//!
//! `build` collects the problems of a whole model before it gives up; whoever read the model from a file knows which line a [`Place`]
//! is. Texts that come from the model are shortened, and no more problems are kept than anybody reads.

use std::fmt::{self, Display, Formatter};

use runtime::error::lines;

/// Everything that is wrong with a model; one line for each, and at most [`MOST`] of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Problem {
    /// Where in the model.
    pub place: Place,
    /// What it is.
    pub fault: Fault,
}

/// The way from the top of a model to one value, `services[0].ports[1].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub Vec<Step>);

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a field of an object, or to a key of a map.
    Field(String),
    /// To an entry of a list, counted from 0.
    Index(usize),
}

/// What can be wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Text that is not what the field takes.
    #[error("`{value}` is not {expected}")]
    Value {
        /// What was given, shortened.
        value: String,
        /// What would make sense.
        expected: &'static str,
    },
    /// A value that must be unique and is not.
    #[error("`{value}` is given at {first} already, give each {what} once")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// What was given.
        value: String,
        /// Where it was given first.
        first: Place,
    },
    /// A name of something that is not there.
    #[error("there is no {what} `{name}`{}", alternatives(.known))]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// Names that there are, some of them.
        known: Vec<String>,
    },
    /// A list that must not be empty.
    #[error("give at least one {what}")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Something that the agent cannot do.
    #[error("{what} is not possible: {instead}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// No more problems than these are kept.
pub const MOST: usize = 20;
/// Longest part of a value that is shown.
const LONGEST: usize = 100;
/// Most names that are shown of those that there are.
const SHOWN: usize = 5;

// === impl Problems ===

impl Display for Problems {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        lines(&self.0, f)
    }
}

// === impl Place ===

impl Place {
    /// The value of `name` at the top.
    #[must_use]
    pub fn root(name: &str) -> Self {
        Self::default().field(name)
    }

    /// The field `name` of the object at this place.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.0.push(Step::Field(name.to_owned()));
        self
    }

    /// The entry `idx` of the list at this place.
    #[must_use]
    pub fn index(mut self, idx: usize) -> Self {
        self.0.push(Step::Index(idx));
        self
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (idx, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(entry) => write!(f, "[{entry}]")?,
                // Keys such as `shop/web.shop.svc.cluster.local` have dots of their own.
                Step::Field(name) if name.contains(['.', '/', '[']) => {
                    write!(f, "[\"{}\"]", shortened(name))?;
                }
                Step::Field(name) if idx == 0 => write!(f, "{}", shortened(name))?,
                Step::Field(name) => write!(f, ".{}", shortened(name))?,
            }
        }
        Ok(())
    }
}

// === impl Fault ===

impl Fault {
    /// `value` is not `expected`.
    pub(crate) fn value(value: impl Display, expected: &'static str) -> Self {
        Self::Value {
            value: shortened(&value.to_string()),
            expected,
        }
    }

    /// There is no `what` of that name, but `known` ones.
    pub(super) fn unknown<T: Display>(
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = T>,
    ) -> Self {
        Self::Unknown {
            what,
            name: shortened(name),
            known: known
                .take(SHOWN)
                .map(|name| shortened(&name.to_string()))
                .collect(),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn alternatives(names: &[String]) -> String {
    match names.len() {
        0 => String::new(),
        SHOWN => format!(", only {} and maybe others", names.join(", ")),
        _ => format!(", only {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_like_a_path() {
        let place = Place::root("workloads")
            .index(2)
            .field("services")
            .field("shop/web.shop.svc")
            .field("ports")
            .index(0);
        assert_eq!(
            place.to_string(),
            "workloads[2].services[\"shop/web.shop.svc\"].ports[0]"
        );
    }

    #[test]
    fn long_values_are_shortened() {
        let fault = Fault::value("x".repeat(1000), "a name");
        assert_eq!(fault.to_string().len(), LONGEST + "`` is not a name".len());
    }
}
