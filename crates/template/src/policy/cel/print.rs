//! The text of expressions: parentheses where precedence needs them, lines broken where they grow long.
//! Called once an expression is finished. Every text of its becomes a literal here, and nothing else.

use super::{Expr, Operator};

/// How strongly an expression holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    If,
    Or,
    And,
    Relation,
    Sum,
    Unary,
    Member,
}

/// Columns after which a list or object is broken into lines.
const WIDTH: usize = 120;

// === impl Expr ===

impl Expr {
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
    pub(super) fn print(&self, out: &mut String, indent: usize, least: Strength) {
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
