//! Expressions of CEL, the language of Kubernetes' admission policies.
//!
//! Built by the rest of `policy` and by the partial execution of templates, printed once at the end.
//! Texts of configuration and template only ever become literals, so nothing in them can be read as an expression.

use std::{borrow::Cow, fmt};

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

/// How strongly an expression holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    If,
    Or,
    And,
    Relation,
    Sum,
    Unary,
    Member,
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

/// Columns after which a list or object is broken into lines.
const WIDTH: usize = 120;

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

    fn strength(&self) -> Strength {
        match self {
            Self::If(_) => Strength::If,
            Self::Binary(Operator::Or, ..) => Strength::Or,
            Self::Binary(Operator::And, ..) => Strength::And,
            Self::Binary(Operator::Plus | Operator::Minus, ..) => Strength::Sum,
            Self::Binary(..) => Strength::Relation,
            Self::Not(_) => Strength::Unary,
            Self::Int(number) if *number < 0 => Strength::Unary,
            Self::Double(number) if *number < 0.0 => Strength::Unary,
            _ => Strength::Member,
        }
    }

    /// Writes it on one line where that fits, else broken and indented by `indent`.
    fn print(&self, out: &mut String, indent: usize, least: Strength) {
        if self.strength() < least {
            out.push('(');
            self.print(out, indent, Strength::If);
            out.push(')');
            return;
        }
        match self {
            Self::Text(text) => quote(out, text),
            Self::Int(number) => *out += &number.to_string(),
            Self::Double(number) => *out += &format!("{number:?}"),
            Self::Bool(truth) => *out += if *truth { "true" } else { "false" },
            Self::Null => *out += "null",
            Self::Name(name) => *out += name,
            Self::Field(inner, name, optional) => {
                inner.print(out, indent, Strength::Member);
                *out += if *optional { ".?" } else { "." };
                *out += name;
            }
            Self::At(inner, index, optional) => {
                inner.print(out, indent, Strength::Member);
                *out += if *optional { "[?" } else { "[" };
                index.print(out, indent, Strength::If);
                out.push(']');
            }
            Self::Call(..) | Self::List(_) | Self::Map(_) | Self::Object(..) => {
                self.print_items(out, indent);
            }
            Self::Binary(operator, left, right) => {
                print_binary(out, indent, *operator, [left, right], self.strength());
            }
            Self::Not(inner) => {
                out.push('!');
                inner.print(out, indent, Strength::Member);
            }
            Self::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                condition.print(out, indent, Strength::Or);
                *out += " ? ";
                then.print(out, indent, Strength::Or);
                *out += " : ";
                otherwise.print(out, indent, Strength::If);
            }
        }
    }

    /// Writes what may take several lines.
    fn print_items(&self, out: &mut String, indent: usize) {
        let print = |item: &Self, out: &mut String, indent| item.print(out, indent, Strength::If);
        match self {
            Self::Call(receiver, function, arguments) => {
                if let Some(receiver) = receiver {
                    receiver.print(out, indent, Strength::Member);
                    out.push('.');
                }
                *out += function;
                items(out, indent, ["(", ")"], arguments, print);
            }
            Self::List(list) => items(out, indent, ["[", "]"], list, print),
            Self::Map(entries) => items(out, indent, ["{", "}"], entries, |entry, out, indent| {
                print(&entry.0, out, indent);
                *out += ": ";
                print(&entry.1, out, indent);
            }),
            Self::Object(name, fields) => {
                *out += name;
                items(out, indent, ["{", "}"], fields, |field, out, indent| {
                    let (name, optional, value) = field;
                    if *optional {
                        out.push('?');
                    }
                    *out += name;
                    *out += ": ";
                    print(value, out, indent);
                });
            }
            _ => {}
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.print(&mut out, 0, Strength::If);
        f.write_str(&out)
    }
}

// === impl Operator ===

impl Operator {
    fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Greater => ">",
            Self::In => "in",
            Self::Plus => "+",
            Self::Minus => "-",
        }
    }
}

fn print_binary(
    out: &mut String,
    indent: usize,
    operator: Operator,
    [left, right]: [&Expr; 2],
    strength: Strength,
) {
    left.print(out, indent, strength);
    let between = if strength <= Strength::And || operator == Operator::Plus {
        breakable(out, indent)
    } else {
        " ".to_owned()
    };
    *out += &between;
    *out += operator.symbol();
    out.push(' ');
    // Relations do not chain, and sums are read from the left.
    let tighter = match strength {
        Strength::Relation => Strength::Sum,
        Strength::Sum => Strength::Unary,
        other => other,
    };
    right.print(out, indent, tighter);
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

/// Items between brackets: on one line if that is short enough, else each on its own.
fn items<T>(
    out: &mut String,
    indent: usize,
    [open, close]: [&str; 2],
    items: &[T],
    print: impl Fn(&T, &mut String, usize),
) {
    let column = out.len() - out.rfind('\n').map_or(0, |newline| newline + 1);
    let mut line = String::from(open);
    for (item_idx, item) in items.iter().enumerate() {
        if item_idx > 0 {
            line += ", ";
        }
        print(item, &mut line, indent);
    }
    line += close;
    if items.is_empty() || (column + line.len() <= WIDTH && !line.contains('\n')) {
        *out += &line;
        return;
    }
    *out += open;
    for (item_idx, item) in items.iter().enumerate() {
        if item_idx > 0 {
            out.push(',');
        }
        out.push('\n');
        *out += &" ".repeat(indent + 2);
        print(item, out, indent + 2);
    }
    out.push('\n');
    *out += &" ".repeat(indent);
    *out += close;
}

/// A line break where the line is long already, else a space.
fn breakable(out: &str, indent: usize) -> String {
    let column = out.len() - out.rfind('\n').map_or(0, |newline| newline + 1);
    if column > WIDTH / 2 || out.ends_with(']') {
        format!("\n{}", " ".repeat(indent))
    } else {
        " ".to_owned()
    }
}

/// A literal that has no other reading: whatever is not a plain character is escaped.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => *out += "\\\"",
            '\\' => *out += "\\\\",
            '\n' => *out += "\\n",
            '\r' => *out += "\\r",
            '\t' => *out += "\\t",
            ' '..='~' => out.push(letter),
            other if u32::from(other) <= 0xFFFF => *out += &format!("\\u{:04X}", u32::from(other)),
            other => *out += &format!("\\U{:08X}", u32::from(other)),
        }
    }
    out.push('"');
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
