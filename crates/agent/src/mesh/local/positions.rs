//! Which line and column of a YAML text a value is at.
//!
//! Made only when something is wrong: the text is read a second time, as a tree of places instead of the model. It is asked in both
//! directions, because the parser of types knows the line and no field, and the builder of the mesh the field and no line.

use std::fmt::{self, Formatter};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

use super::super::problem::{Place, Step};

/// The tree of places of a text.
#[derive(Debug)]
pub(super) struct Positions(Option<Spanned<Node>>);

/// A line and a column, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

#[derive(Debug)]
enum Node {
    Scalar,
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

// === impl Positions ===

impl Positions {
    /// The places of `text`; none if it is not YAML. Of a key that is given twice it is the second that somebody asks for.
    pub(super) fn of(text: &str) -> Self {
        let mut options = super::options();
        options.duplicate_keys = serde_saphyr::options::DuplicateKeyPolicy::LastWins;
        Self(serde_saphyr::from_str_with_options(text, options).ok())
    }

    /// Where `place` is, or the nearest of what it is in.
    pub(super) fn position(&self, place: &Place) -> Option<Position> {
        let mut node = self.0.as_ref()?;
        let mut position = Position::of(node.referenced);
        for step in &place.0 {
            let next = match (&node.value, step) {
                (Node::List(entries), Step::Index(idx)) => {
                    let entry = entries.get(*idx);
                    entry.map(|entry| (entry.referenced, entry))
                }
                // The key is what people look for, its value may begin on another line.
                (Node::Map(entries), Step::Field(name)) => entries
                    .iter()
                    .find(|(key, _)| key.value == *name)
                    .map(|(key, value)| (key.referenced, value)),
                (Node::Scalar | Node::List(_) | Node::Map(_), _) => None,
            };
            let Some((location, next)) = next else {
                break;
            };
            node = next;
            position = Position::of(location).or(position);
        }
        // Of a last value that is on the line of its key, the value is shown.
        match Position::of(node.referenced) {
            Some(value) if position.is_some_and(|key| key.line == value.line) => Some(value),
            _ => position,
        }
    }

    /// The place that begins at `position`; the one that is furthest from the top if several do.
    pub(super) fn place(&self, position: Position) -> Option<Place> {
        find(self.0.as_ref()?, position)
    }
}

fn find(node: &Spanned<Node>, position: Position) -> Option<Place> {
    let below = match &node.value {
        Node::Scalar => None,
        Node::List(entries) => entries
            .iter()
            .enumerate()
            .find_map(|(idx, entry)| Some(under(Step::Index(idx), find(entry, position)?))),
        Node::Map(entries) => entries.iter().find_map(|(key, value)| {
            let below = find(value, position)
                .or_else(|| (Position::of(key.referenced) == Some(position)).then(Place::default));
            Some(under(Step::Field(key.value.clone()), below?))
        }),
    };
    below.or_else(|| (Position::of(node.referenced) == Some(position)).then(Place::default))
}

fn under(step: Step, mut place: Place) -> Place {
    place.0.insert(0, step);
    place
}

// === impl Position ===

impl Position {
    /// Nothing for values that come from nowhere.
    pub(super) fn of(location: Location) -> Option<Self> {
        let (line, column) = (location.line(), location.column());
        (line > 0).then_some(Self { line, column })
    }
}

// === impl Node ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Node;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                Ok(Node::Scalar)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(entry);
                }
                Ok(Node::List(entries))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(entries))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
services:
- name: web
  ports:
  - servicePort: 80
    name: http
  addresses:
    - 10.0.0.1
    - {address: 10.0.0.2}
peerAuthentication:
  workloads:
    shop/web: {ports: {8080: STRICT}}
";

    #[test]
    fn a_place_and_its_position_lead_to_each_other() {
        let services = || Place::root("services").index(0);
        let table = [
            (services().field("name"), (2, 9)),
            (services().field("ports").index(0).field("name"), (5, 11)),
            (
                services().field("addresses").index(1).field("address"),
                (8, 17),
            ),
            (
                Place::root("peerAuthentication")
                    .field("workloads")
                    .field("shop/web")
                    .field("ports")
                    .field("8080"),
                (11, 30),
            ),
        ];
        let positions = Positions::of(TEXT);
        for (place, (line, column)) in table {
            let position = Position { line, column };
            assert_eq!(positions.position(&place), Some(position), "{place}");
            assert_eq!(positions.place(position), Some(place));
        }
    }

    #[test]
    fn what_is_absent_is_at_what_it_would_be_in() {
        let positions = Positions::of(TEXT);
        let absent = Place::root("services").index(0).field("hostname");
        let position = positions.position(&absent).unwrap();
        assert_eq!((position.line, position.column), (2, 3));
        let list = Place::root("services").index(0).field("addresses");
        assert_eq!(positions.position(&list).unwrap().line, 6);
    }

    #[test]
    fn a_key_is_found_where_it_begins() {
        let position = Position { line: 5, column: 5 };
        let place = Positions::of(TEXT).place(position);
        assert_eq!(place.unwrap().to_string(), "services[0].ports[0].name");
    }

    #[test]
    fn a_text_that_is_no_yaml_has_no_places() {
        let position = Position { line: 1, column: 1 };
        assert_eq!(Positions::of("a: {").place(position), None);
        assert_eq!(Positions::of("a: {").position(&Place::root("a")), None);
    }
}
