//! One operand under one verb.
//! The printer of a format comes here for each directive that has an operand; a verb that does not fit the operand shows
//! in the text, as in Go.

use super::{Printed, Spec};
use crate::gotemplate::limits::Buffer;
use crate::gotemplate::{Value, number, print};

/// One operand under a verb; collections apply the verb to their elements.
pub(super) fn print_operand(
    buffer: &mut Buffer,
    spec: Spec,
    verb: char,
    operand: &Value<'_>,
) -> Printed {
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
                print_element(buffer, spec, verb, &item)?;
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
                print_element(buffer, spec, verb, &item)?;
            }
            buffer.push("]")
        }
        (verb, operand) => print_scalar(buffer, spec, verb, operand),
    }
}

/// An element of a collection; a null has no verb to be wrong.
fn print_element(buffer: &mut Buffer, spec: Spec, verb: char, item: &Value<'_>) -> Printed {
    if item.is_nil() {
        return buffer.push("<nil>");
    }
    print_operand(buffer, spec, verb, item)
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
                letter => print::escape(&mut text, letter, spec.plus)?,
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
    let prefix = if spec.sharp || verb == 'O' {
        prefix
    } else {
        ""
    };
    let zeros = match spec.width {
        Some(width) if spec.zero && !spec.minus && spec.precision.is_none() => {
            width.saturating_sub(sign.len() + digits.len())
        }
        _ => 0,
    };
    let zeros = "0".repeat(zeros);
    pad(
        buffer,
        Spec {
            zero: false,
            ..spec
        },
        &format!("{sign}{prefix}{zeros}{digits}"),
    )
}

fn float(buffer: &mut Buffer, spec: Spec, verb: char, number: f64, operand: &Value<'_>) -> Printed {
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
        Spec {
            zero: false,
            ..spec
        },
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
        'q' if spec.sharp && !cut.contains(['`', '\n']) => pad(buffer, spec, &format!("`{cut}`")),
        'q' => quoted(buffer, spec, cut),
        'x' | 'X' => hexadecimal(buffer, spec, verb, cut),
        _ => bad_verb(buffer, verb, &Value::from(text)),
    }
}

/// The bytes of a text; with a space between them, and with a prefix, if the flags ask for that.
fn hexadecimal(buffer: &mut Buffer, spec: Spec, verb: char, text: &str) -> Printed {
    let mut digits = Buffer::default();
    for (index, byte) in text.bytes().enumerate() {
        if index > 0 && spec.space {
            digits.push(" ")?;
        }
        if spec.sharp && (index == 0 || spec.space) {
            digits.push(if verb == 'x' { "0x" } else { "0X" })?;
        }
        match verb {
            'x' => digits.push_fmt(format_args!("{byte:02x}"))?,
            _ => digits.push_fmt(format_args!("{byte:02X}"))?,
        }
    }
    pad(buffer, spec, digits.as_str())
}

fn quoted(buffer: &mut Buffer, spec: Spec, text: &str) -> Printed {
    let mut quoted = Buffer::default();
    print::quote(&mut quoted, text, spec.plus)?;
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
