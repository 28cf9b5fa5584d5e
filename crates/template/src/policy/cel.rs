//! Expressions of CEL, the language of Kubernetes' admission policies.
//!
//! Built by the rest of `policy` and by the partial execution of templates, printed once at the end.
//! Texts of configuration and template only ever become literals, so nothing in them can be read as an expression.

mod print;

use std::{borrow::Cow, fmt};

use print::Strength;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Null,
    /// A variable: `object`, `request`, `variables`, or of a comprehension.
    Name(&'static str),
    /// `a.b`; with `true` the optional `a.?b`.
    Field(Box<Self>, Cow<'static, str>, bool),
    /// `a[b]`; with `true` the optional `a[?b]`.
    At(Box<Self>, Box<Self>, bool),
    /// `a.f(b)`, or `f(b)` without a receiver; macros too.
    Call(Option<Box<Self>>, &'static str, Vec<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    Not(Box<Self>),
    /// `a ? b : c`.
    If(Box<[Self; 3]>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// `Type{field: value}`; a field with `true` is optional, `?field`.
    Object(String, Vec<(String, bool, Self)>),
}

/// Operators between two expressions, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Greater,
    In,
    Plus,
    Minus,
}

/// Names that CEL keeps for itself.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The optional's value, or what stands for none.
pub(crate) const OR_VALUE: &str = "orValue";

// === impl Expr ===

impl Expr {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// `self.name`.
    pub(crate) fn field(self, name: impl Into<Cow<'static, str>>) -> Self {
        Self::Field(Box::new(self), name.into(), false)
    }

    /// `self.?name`.
    pub(crate) fn field_if(self, name: &'static str) -> Self {
        Self::Field(Box::new(self), name.into(), true)
    }

    /// `self.?name.orValue(default)`.
    pub(crate) fn field_or(self, name: &'static str, default: Self) -> Self {
        self.field_if(name).call(OR_VALUE, [default])
    }

    /// `self[index]`.
    pub(crate) fn at(self, index: Self) -> Self {
        Self::At(Box::new(self), Box::new(index), false)
    }

    /// `self[?key].orValue(default)`.
    pub(crate) fn at_or(self, key: Self, default: Self) -> Self {
        Self::At(Box::new(self), Box::new(key), true).call(OR_VALUE, [default])
    }

    /// `self.function(arguments)`.
    pub(crate) fn call(
        self,
        function: &'static str,
        arguments: impl IntoIterator<Item = Self>,
    ) -> Self {
        Self::Call(
            Some(Box::new(self)),
            function,
            arguments.into_iter().collect(),
        )
    }

    /// `function(self)`.
    pub(crate) fn apply(self, function: &'static str) -> Self {
        Self::Call(None, function, vec![self])
    }

    /// `has(self)`, of a field.
    pub(crate) fn has(self) -> Self {
        self.apply("has")
    }

    pub(crate) fn binary(self, operator: Operator, other: Self) -> Self {
        Self::Binary(operator, Box::new(self), Box::new(other))
    }

    pub(crate) fn equals(self, other: Self) -> Self {
        self.binary(Operator::Equal, other)
    }

    pub(crate) fn differs(self, other: Self) -> Self {
        self.binary(Operator::Unequal, other)
    }

    pub(crate) fn within(self, other: Self) -> Self {
        self.binary(Operator::In, other)
    }

    /// `self + other`, in which neighbouring literals become one.
    pub(crate) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Self::Text(left + &right),
            (Self::Text(empty), other) | (other, Self::Text(empty)) if empty.is_empty() => other,
            (Self::List(empty), other) | (other, Self::List(empty)) if empty.is_empty() => other,
            (Self::List(mut left), Self::List(right)) => {
                left.extend(right);
                Self::List(left)
            }
            (Self::Binary(Operator::Plus, left, last), Self::Text(text))
                if matches!(*last, Self::Text(_)) =>
            {
                left.binary(Operator::Plus, last.plus(Self::Text(text)))
            }
            (left, right) => left.binary(Operator::Plus, right),
        }
    }

    /// `!self`, in which a negation is taken back rather than doubled.
    pub(crate) fn not(self) -> Self {
        match self {
            Self::Bool(truth) => Self::Bool(!truth),
            Self::Not(inner) => *inner,
            Self::Binary(Operator::Equal, left, right) => {
                Self::Binary(Operator::Unequal, left, right)
            }
            Self::Binary(Operator::Unequal, left, right) => {
                Self::Binary(Operator::Equal, left, right)
            }
            other => Self::Not(Box::new(other)),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bool(true), other) | (other, Self::Bool(true)) => other,
            (Self::Bool(false), _) | (_, Self::Bool(false)) => Self::Bool(false),
            (left, right) => left.binary(Operator::And, right),
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bool(false), other) | (other, Self::Bool(false)) => other,
            (Self::Bool(true), _) | (_, Self::Bool(true)) => Self::Bool(true),
            (left, right) => left.binary(Operator::Or, right),
        }
    }

    /// `self ? then : otherwise`.
    pub(crate) fn choose(self, then: Self, otherwise: Self) -> Self {
        match self {
            Self::Bool(true) => then,
            Self::Bool(false) => otherwise,
            condition if then == otherwise => {
                drop(condition);
                then
            }
            condition => Self::If(Box::new([condition, then, otherwise])),
        }
    }

    /// Calls `visit` with this expression and all within it.
    pub(crate) fn visit(&self, visit: &mut impl FnMut(&Self)) {
        self.visit_dyn(visit);
    }

    fn visit_dyn(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
        self.children(&mut |child| child.visit_dyn(visit));
    }

    /// Calls `visit` with each expression directly within this one.
    pub(crate) fn children(&self, visit: &mut dyn FnMut(&Self)) {
        match self {
            Self::Text(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Bool(_)
            | Self::Null
            | Self::Name(_) => {}
            Self::Field(inner, ..) | Self::Not(inner) => visit(inner),
            Self::At(left, right, _) | Self::Binary(_, left, right) => {
                visit(left);
                visit(right);
            }
            Self::Call(receiver, _, arguments) => {
                receiver.iter().for_each(|receiver| visit(receiver));
                arguments.iter().for_each(visit);
            }
            Self::If(parts) => parts.iter().for_each(visit),
            Self::List(items) => items.iter().for_each(visit),
            Self::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Object(_, fields) => fields.iter().for_each(|(_, _, value)| visit(value)),
        }
    }

    /// As [`Self::children`], to change them. What `has` asks for stays a field.
    pub(crate) fn children_mut(&mut self, visit: &mut dyn FnMut(&mut Self)) {
        match self {
            Self::Text(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Bool(_)
            | Self::Null
            | Self::Name(_) => {}
            Self::Call(None, "has", arguments) => {
                for argument in arguments {
                    argument.children_mut(visit);
                }
            }
            Self::Field(inner, ..) | Self::Not(inner) => visit(inner),
            Self::At(left, right, _) | Self::Binary(_, left, right) => {
                visit(left);
                visit(right);
            }
            Self::Call(receiver, _, arguments) => {
                receiver.iter_mut().for_each(|receiver| visit(receiver));
                arguments.iter_mut().for_each(visit);
            }
            Self::If(parts) => parts.iter_mut().for_each(visit),
            Self::List(items) => items.iter_mut().for_each(visit),
            Self::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Object(_, fields) => fields.iter_mut().for_each(|(_, _, value)| visit(value)),
        }
    }

    /// Whether a variable occurs in it.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        let mut found = false;
        self.visit(&mut |expr| found |= matches!(expr, Self::Name(known) if *known == name));
        found
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.print(&mut out, 0, Strength::If);
        f.write_str(&out)
    }
}

/// Whether a text can be the name of a field in an object.
pub(crate) fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric())
        && !RESERVED.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expr: &Expr, expected: &str) {
        assert_eq!(expr.to_string(), expected);
    }

    #[test]
    fn parentheses_stand_where_precedence_needs_them() {
        let (a, b, c) = (Expr::Name("a"), Expr::Name("b"), Expr::Name("c"));
        check(&a.clone().or(b.clone()).and(c.clone()), "(a || b) && c");
        check(&a.clone().and(b.clone()).or(c.clone()), "a && b || c");
        check(&a.clone().or(b.clone()).not(), "!(a || b)");
        check(&a.clone().equals(b.clone()).not(), "a != b");
        check(
            &a.clone().choose(b.clone(), c.clone()).plus(a.clone()),
            "(a ? b : c) + a",
        );
        check(
            &a.clone().binary(
                Operator::Minus,
                b.clone().binary(Operator::Minus, c.clone()),
            ),
            "a - (b - c)",
        );
        check(
            &a.clone().plus(b.clone()).call("join", [c.clone()]),
            "(a + b).join(c)",
        );
        check(
            &a.clone().choose(b.clone(), c.clone()).choose(b, c),
            "(a ? b : c) ? b : c",
        );
    }

    #[test]
    fn a_text_is_one_literal_whatever_it_holds() {
        for (text, expected) in [
            ("a\"+object+\"", r#""a\"+object+\"""#),
            ("\\\n\r\t", r#""\\\n\r\t""#),
            ("\u{1}é\u{1F600}", r#""\u0001\u00E9\U0001F600""#),
        ] {
            check(&Expr::text(text), expected);
        }
    }

    #[test]
    fn literals_join_and_constants_fold() {
        check(&Expr::text("a").plus(Expr::text("b")), "\"ab\"");
        check(
            &Expr::Bool(true).and(Expr::Name("a")).or(Expr::Bool(false)),
            "a",
        );
        check(&Expr::Bool(false).choose(Expr::Int(1), Expr::Int(-2)), "-2");
        check(
            &Expr::Name("a").at_or(Expr::text("k"), Expr::text("")),
            "a[?\"k\"].orValue(\"\")",
        );
    }

    #[test]
    fn names_of_fields_are_letters_and_no_words_of_the_language() {
        for (text, expected) in [
            ("runAsUser", true),
            ("in", false),
            ("a-b", false),
            ("", false),
            ("1a", false),
        ] {
            assert_eq!(is_name(text), expected, "{text}");
        }
    }
}
