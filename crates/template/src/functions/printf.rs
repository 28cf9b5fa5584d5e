//! `printf`, with Go's verbs, flags and complaints.
//! Templates call it through the table of Go's functions; `quote` and others print values without it.
//! A wrong verb or number of operands is no error: it shows in the text, as in Go.

use super::arguments::{Given, any, from, text};
use crate::gotemplate::limits::{Buffer, Limit};
use crate::gotemplate::{Value, number, print};

/// `printf format operands…`.
pub(super) fn printf<'a>(arguments: &[Value<'a>]) -> Given<'a> {
    let format = text(arguments, 0)?;
    let mut printer = Printer {
        rest: &format,
        operands: from(arguments, 1),
        next: 0,
        reordered: false,
        buffer: Buffer::default(),
    };
    printer.run()?;
    Ok(Value::from(printer.buffer.into_string()))
}

struct Printer<'f, 'a> {
    rest: &'f str,
    operands: &'f [Value<'a>],
    /// The operand that the next verb prints.
    next: usize,
    /// Whether an explicit index such as `[1]` was used: then operands may be left over.
    reordered: bool,
    buffer: Buffer,
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

type Printed = Result<(), Limit>;

/// Widths and precisions that Go does not honour either.
const MAX_WIDTH: usize = 1_000_000;

// === impl Printer ===

impl Printer<'_, '_> {
    fn run(&mut self) -> Printed {
        while let Some((before, after)) = self.rest.split_once('%') {
            self.buffer.push(before)?;
            self.rest = after;
            self.directive()?;
        }
        self.buffer.push(self.rest)?;
        if self.reordered || self.next >= self.operands.len() {
            return Ok(());
        }
        self.buffer.push("%!(EXTRA ")?;
        for (index, operand) in from(self.operands, self.next).iter().enumerate() {
            if index > 0 {
                self.buffer.push(", ")?;
            }
            if operand.is_nil() {
                self.buffer.push("<nil>")?;
                continue;
            }
            self.buffer.push(operand.type_name())?;
            self.buffer.push("=")?;
            print::print(&mut self.buffer, operand)?;
        }
        self.buffer.push(")")
    }

    /// One directive whose `%` is past.
    fn directive(&mut self) -> Printed {
        let mut spec = self.flags();
        let mut good_index = self.index();
        spec.width = self.size(&mut spec, true)?;
        if self.eat('.') {
            good_index &= self.index();
            spec.precision = Some(self.size(&mut spec, false)?.unwrap_or(0));
        }
        good_index &= self.index();
        let mut letters = self.rest.chars();
        let Some(verb) = letters.next() else {
            return self.buffer.push("%!(NOVERB)");
        };
        self.rest = letters.as_str();
        if verb == '%' {
            return self.buffer.push("%");
        }
        if !good_index {
            return self.buffer.push_fmt(format_args!("%!{verb}(BADINDEX)"));
        }
        if self.next >= self.operands.len() {
            return self.buffer.push_fmt(format_args!("%!{verb}(MISSING)"));
        }
        let operands = self.operands;
        let operand = any(operands, self.next);
        self.next += 1;
        print_operand(&mut self.buffer, spec, verb, operand)
    }

    fn flags(&mut self) -> Spec {
        let mut spec = Spec::default();
        loop {
            match self.rest.chars().next() {
                Some('-') => spec.minus = true,
                Some('+') => spec.plus = true,
                Some('#') => spec.sharp = true,
                Some(' ') => spec.space = true,
                Some('0') => spec.zero = true,
                _ => return spec,
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    /// A width or a precision: digits, or `*` for an operand.
    fn size(&mut self, spec: &mut Spec, is_width: bool) -> Result<Option<usize>, Limit> {
        if self.eat('*') {
            let operands = self.operands;
            let size = match operands.get(self.next) {
                Some(Value::Int(size)) => Some(*size),
                _ => None,
            };
            self.next += 1;
            let sized = size.and_then(|size| usize::try_from(size.unsigned_abs()).ok());
            return match (size, sized.filter(|size| *size <= MAX_WIDTH)) {
                (Some(size), Some(width)) if is_width => {
                    spec.minus |= size < 0;
                    Ok(Some(width))
                }
                (Some(0..), Some(precision)) => Ok(Some(precision)),
                (Some(_), Some(_)) => Ok(None),
                _ => {
                    let complaint = if is_width { "%!(BADWIDTH)" } else { "%!(BADPREC)" };
                    self.buffer.push(complaint)?;
                    Ok(None)
                }
            };
        }
        let digits = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = self.rest.split_at_checked(digits).unwrap_or_default();
        let size = number.parse().ok().filter(|size| *size <= MAX_WIDTH);
        if size.is_some() {
            self.rest = rest;
        }
        Ok(size)
    }

    /// An explicit operand index, `[1]`. Whether it is good, or not there.
    fn index(&mut self) -> bool {
        let Some(inside) = self.rest.strip_prefix('[') else {
            return true;
        };
        self.reordered = true;
        let Some((number, rest)) = inside.split_once(']') else {
            self.rest = inside;
            return false;
        };
        self.rest = rest;
        match number.parse::<usize>() {
            Ok(number) if (1..=self.operands.len()).contains(&number) => {
                self.next = number - 1;
                true
            }
            _ => false,
        }
    }

    fn eat(&mut self, letter: char) -> bool {
        let rest = self.rest.strip_prefix(letter);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// One operand under a verb; collections apply the verb to their elements.
fn print_operand(buffer: &mut Buffer, spec: Spec, verb: char, operand: &Value<'_>) -> Printed {
    match (verb, operand) {
        ('T', operand) => pad(buffer, spec, operand.type_name()),
        ('v', operand) if !is_scalar(operand) || operand.is_nil() => {
            let mut text = Buffer::default();
            print::print(&mut text, operand)?;
            pad(buffer, spec, text.as_str())
        }
        (verb, Value::Missing | Value::Nil) => bad_verb(buffer, verb, operand),
        (verb, Value::List(list)) => {
            buffer.push("[")?;
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    buffer.push(" ")?;
                }
                print_operand(buffer, spec, verb, &item)?;
            }
            buffer.push("]")
        }
        (verb, Value::Map(map)) => {
            buffer.push("map[")?;
            for (index, (key, item)) in map.sorted().into_iter().enumerate() {
                if index > 0 {
                    buffer.push(" ")?;
                }
                print_operand(buffer, spec, verb, &Value::String(key))?;
                buffer.push(":")?;
                print_operand(buffer, spec, verb, &item)?;
            }
            buffer.push("]")
        }
        (verb, operand) => print_scalar(buffer, spec, verb, operand),
    }
}

fn is_scalar(value: &Value<'_>) -> bool {
    !matches!(value, Value::List(_) | Value::Map(_) | Value::Record(_))
}

fn print_scalar(buffer: &mut Buffer, spec: Spec, verb: char, operand: &Value<'_>) -> Printed {
    match (operand, verb) {
        (Value::Bool(truth), 't' | 'v') => pad(buffer, spec, if *truth { "true" } else { "false" }),
        (Value::Int(number), verb) => integer(buffer, spec, verb, *number),
        (Value::Number(number), 'v') => pad_number(buffer, spec, &number::configured(*number)),
        (Value::Float(number) | Value::Number(number), verb) => {
            float(buffer, spec, verb, *number, operand)
        }
        (Value::String(text), verb) => string(buffer, spec, verb, text),
        (Value::Absent, 'd' | 'b' | 'o' | 'O' | 'c' | 'U') => integer(buffer, spec, verb, 0),
        (Value::Absent, 'e' | 'E' | 'f' | 'F' | 'g' | 'G') => {
            float(buffer, spec, verb, 0.0, &Value::Float(0.0))
        }
        (Value::Absent, 't') => pad(buffer, spec, "false"),
        (Value::Absent, verb) => string(buffer, spec, verb, ""),
        (operand, verb) => bad_verb(buffer, verb, operand),
    }
}

fn integer(buffer: &mut Buffer, spec: Spec, verb: char, number: i64) -> Printed {
    let magnitude = number.unsigned_abs();
    let letter = || {
        let code = u32::try_from(number).ok();
        code.and_then(char::from_u32).unwrap_or('\u{fffd}')
    };
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", magnitude.to_string()),
        'b' => ("0b", format!("{magnitude:b}")),
        'o' => ("0", format!("{magnitude:o}")),
        'O' => ("0o", format!("{magnitude:o}")),
        'x' => ("0x", format!("{magnitude:x}")),
        'X' => ("0X", format!("{magnitude:X}")),
        'c' => return pad(buffer, spec, letter().encode_utf8(&mut [0; 4])),
        'q' => {
            let mut text = Buffer::default();
            text.push("'")?;
            match letter() {
                '\'' => text.push("\\'")?,
                letter => print::escape(&mut text, letter)?,
            }
            text.push("'")?;
            return pad(buffer, spec, text.as_str());
        }
        'U' => return pad(buffer, spec, &format!("U+{magnitude:04X}")),
        _ => return bad_verb(buffer, verb, &Value::Int(number)),
    };
    let digits = match spec.precision {
        Some(0) if number == 0 => String::new(),
        Some(precision) => format!("{digits:0>precision$}"),
        None => digits,
    };
    let sign = sign(spec, number < 0);
    let prefix = if spec.sharp || verb == 'O' { prefix } else { "" };
    let zeros = match spec.width {
        Some(width) if spec.zero && !spec.minus && spec.precision.is_none() => {
            width.saturating_sub(sign.len() + digits.len())
        }
        _ => 0,
    };
    let zeros = "0".repeat(zeros);
    pad(
        buffer,
        Spec { zero: false, ..spec },
        &format!("{sign}{prefix}{zeros}{digits}"),
    )
}

fn float(
    buffer: &mut Buffer,
    spec: Spec,
    verb: char,
    number: f64,
    operand: &Value<'_>,
) -> Printed {
    let text = match (verb, spec.precision) {
        ('v' | 'g' | 'G', None) => number::shortest(number),
        ('v' | 'g' | 'G', Some(precision)) => number::significant(number, precision),
        ('e' | 'E', precision) => number::exponential(number, Some(precision.unwrap_or(6))),
        ('f' | 'F', precision) => number::fixed(number, Some(precision.unwrap_or(6))),
        _ => return bad_verb(buffer, verb, operand),
    };
    let text = if verb.is_ascii_uppercase() && number.is_finite() {
        text.to_uppercase()
    } else {
        text
    };
    pad_number(buffer, spec, &text)
}

/// A number that may have a sign, in front of which `+` and ` ` and behind which `0` put something.
fn pad_number(buffer: &mut Buffer, spec: Spec, text: &str) -> Printed {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let infinite = digits == "Inf";
    let sign = if infinite && !negative {
        "+"
    } else {
        sign(spec, negative)
    };
    let zeros = match spec.width {
        Some(width) if spec.zero && !spec.minus && !infinite && digits != "NaN" => {
            width.saturating_sub(sign.len() + digits.len())
        }
        _ => 0,
    };
    let zeros = "0".repeat(zeros);
    pad(
        buffer,
        Spec { zero: false, ..spec },
        &format!("{sign}{zeros}{digits}"),
    )
}

fn sign(spec: Spec, negative: bool) -> &'static str {
    match (negative, spec) {
        (true, _) => "-",
        (false, Spec { plus: true, .. }) => "+",
        (false, Spec { space: true, .. }) => " ",
        _ => "",
    }
}

fn string(buffer: &mut Buffer, spec: Spec, verb: char, text: &str) -> Printed {
    let cut = match spec.precision {
        Some(precision) => match text.char_indices().nth(precision) {
            Some((end, _)) => text.get(..end).unwrap_or_default(),
            None => text,
        },
        None => text,
    };
    match verb {
        'v' if spec.sharp => quoted(buffer, spec, text),
        'v' | 's' => pad(buffer, spec, cut),
        'q' if spec.sharp && !cut.contains(['`', '\n']) => {
            pad(buffer, spec, &format!("`{cut}`"))
        }
        'q' => quoted(buffer, spec, cut),
        'x' | 'X' => {
            let mut hexadecimal = Buffer::default();
            for byte in cut.bytes() {
                match verb {
                    'x' => hexadecimal.push_fmt(format_args!("{byte:02x}"))?,
                    _ => hexadecimal.push_fmt(format_args!("{byte:02X}"))?,
                }
            }
            pad(buffer, spec, hexadecimal.as_str())
        }
        _ => bad_verb(buffer, verb, &Value::from(text)),
    }
}

fn quoted(buffer: &mut Buffer, spec: Spec, text: &str) -> Printed {
    let mut quoted = Buffer::default();
    print::quote(&mut quoted, text)?;
    pad(buffer, spec, quoted.as_str())
}

fn bad_verb(buffer: &mut Buffer, verb: char, operand: &Value<'_>) -> Printed {
    buffer.push_fmt(format_args!("%!{verb}("))?;
    if operand.is_nil() {
        buffer.push("<nil>")?;
    } else {
        buffer.push(operand.type_name())?;
        buffer.push("=")?;
        print::print(buffer, operand)?;
    }
    buffer.push(")")
}

/// Fills up to the width, counted in characters.
fn pad(buffer: &mut Buffer, spec: Spec, text: &str) -> Printed {
    let missing = spec
        .width
        .map_or(0, |width| width.saturating_sub(text.chars().count()));
    if spec.minus {
        buffer.push(text)?;
        return buffer.push_repeated(" ", missing);
    }
    buffer.push_repeated(if spec.zero { "0" } else { " " }, missing)?;
    buffer.push(text)
}
