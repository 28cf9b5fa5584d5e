//! The Go types that templates see, and the type of a pod: which fields there are, and of what kind.
//!
//! Asked when a template is checked, and when what it gave is; injection itself knows no types, so that fields which are newer than this table work.
//! The table is `schema.txt`, read once.

use std::{collections::HashMap, sync::LazyLock};

use crate::gotemplate::FieldName;

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Boolean,
    Integer,
    Float,
    /// An enumeration, which prints its name.
    Enum,
    /// A text or a number.
    Quantity,
    /// A port by number or name.
    Port,
    Any,
    List(Box<Self>),
    Map(Box<Self>),
    /// A type of the table.
    Struct(&'static str),
}

/// A field of a type.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) go: &'static str,
    /// `None` where JSON does not show it.
    pub(crate) json: Option<String>,
    pub(crate) kind: Kind,
}

/// The type of a pod.
pub(crate) const POD: &str = "Pod";

static TYPES: LazyLock<HashMap<&'static str, Vec<Field>>> =
    LazyLock::new(|| read(include_str!("schema.txt")));

/// The fields of a type; empty for a type that there is not.
pub(crate) fn fields(type_name: &str) -> &'static [Field] {
    TYPES.get(type_name).map(Vec::as_slice).unwrap_or_default()
}

/// The kind of a field by its name in Go; `GetX` is `X`.
pub(crate) fn go_field(type_name: &str, go: &str) -> Option<&'static Kind> {
    let fields = fields(type_name);
    let find = |name: &str| fields.iter().find(|field| field.go == name);
    let found = find(go).or_else(|| find(go.strip_prefix("Get")?))?;
    Some(&found.kind)
}

/// The kind of a field by its name in JSON.
pub(crate) fn json_field(type_name: &str, json: &str) -> Option<&'static Kind> {
    let mut fields = fields(type_name).iter();
    let found = fields.find(|field| field.json.as_deref() == Some(json))?;
    Some(&found.kind)
}

/// The name among `known` that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match name.chars().count() {
        0..3 => return None,
        3..6 => 1,
        _ => 2,
    };
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| (1..=limit).contains(distance))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must change to make one name of the other; the case of a letter counts for nothing but is not the same name.
fn distance(a: &str, b: &str) -> usize {
    if a == b {
        return 0;
    }
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    if a == b {
        return 1;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, other) in row.iter().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *above;
            left = replaced.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn read(table: &'static str) -> HashMap<&'static str, Vec<Field>> {
    let mut types: HashMap<&'static str, Vec<Field>> = HashMap::new();
    let mut current = "";
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if !line.starts_with(' ') {
            current = words.next().unwrap_or_default();
        }
        let fields = types.entry(current).or_default();
        fields.extend(words.filter_map(field));
    }
    types
}

fn field(word: &'static str) -> Option<Field> {
    let (name, kind) = word.trim_start_matches('+').split_once(':')?;
    let (go, json) = match name.split_once('=') {
        None => (name, Some(FieldName::new(name).json().to_owned())),
        Some((go, "-")) => (go, None),
        Some((go, json)) => (go, Some(json.to_owned())),
    };
    let kind = kind_of(kind);
    Some(Field { go, json, kind })
}

fn kind_of(word: &'static str) -> Kind {
    if let Some(item) = word.strip_prefix('[') {
        return Kind::List(Box::new(kind_of(item)));
    }
    if let Some(item) = word.strip_prefix('{') {
        return Kind::Map(Box::new(kind_of(item)));
    }
    match word {
        "s" => Kind::Text,
        "b" => Kind::Boolean,
        "i" => Kind::Integer,
        "f" => Kind::Float,
        "e" => Kind::Enum,
        "q" => Kind::Quantity,
        "p" => Kind::Port,
        "*" => Kind::Any,
        name => Kind::Struct(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_a_field_has_is_in_the_table() {
        fn check(kind: &Kind) {
            match kind {
                Kind::List(item) | Kind::Map(item) => check(item),
                Kind::Struct(name) => assert!(TYPES.contains_key(name), "{name}"),
                _ => {}
            }
        }
        let fields = TYPES.values().flatten();
        fields.for_each(|field| check(&field.kind));
    }

    #[test]
    fn fields_are_found_by_both_of_their_names() {
        assert_eq!(go_field("Container", "TTY"), Some(&Kind::Boolean));
        assert_eq!(json_field("Container", "tty"), Some(&Kind::Boolean));
        assert_eq!(
            go_field("ProxyConfig", "GetStatusPort"),
            Some(&Kind::Integer)
        );
        assert_eq!(
            json_field("Volume", "emptyDir"),
            Some(&Kind::Struct("EmptyDirVolumeSource"))
        );
        assert_eq!(json_field("Volume", "volumeSource"), None);
        assert_eq!(go_field("Container", "Nmae"), None);
    }

    #[test]
    fn the_nearest_name_is_a_near_one() {
        let known = || ["image", "imagePullPolicy", "args"].into_iter();
        assert_eq!(nearest("imgae", known()), None, "two letters of five");
        assert_eq!(nearest("imag", known()), Some("image"));
        assert_eq!(nearest("Image", known()), Some("image"));
        assert_eq!(nearest("imagePullPolcy", known()), Some("imagePullPolicy"));
        assert_eq!(nearest("volumes", known()), None);
    }
}
