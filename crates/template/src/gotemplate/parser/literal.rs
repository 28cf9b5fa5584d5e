//! Numbers and quoted texts in Go's notation.
//! The parser reads the literals of a template with it, and the functions that turn texts into numbers use the same
//! rules.
//! What is not exactly Go's notation is refused; complex numbers are, too.

use crate::gotemplate::error::ParseReason;
use crate::gotemplate::value::Value;

/// The value of a number literal: an integer unless it is written as a floating-point number.
pub(super) fn number(text: &str) -> Result<Value<'static>, ParseReason> {
    if let Some(number) = integer(text) {
        return Ok(Value::Int(number));
    }
    let bad = || ParseReason::BadNumber(text.to_owned());
    // Without a point or an exponent it is an integer that is too large.
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(bad());
    }
    float(text)
        .filter(|number| number.is_finite())
        .map(Value::Float)
        .ok_or_else(bad)
}

/// An integer as Go writes it: decimal, `0x`, `0o`, `0b`, or octal with a leading 0, with `_` between digits.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    let (radix, digits, prefixed) = radix(digits);
    if digits.is_empty() || !underscores_separate(digits, prefixed) {
        return None;
    }
    let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(&digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// A floating-point number as Go writes it, hexadecimal with `p` exponent included.
pub(crate) fn float(text: &str) -> Option<f64> {
    let (negative, rest) = sign(text);
    let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) else {
        return text.parse().ok();
    };
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let value = value * f64::from(exponent.checked_sub(shift)?).exp2();
    Some(if negative { -value } else { value })
}

/// The value of a character literal: its code point.
pub(super) fn character(text: &str) -> Result<Value<'static>, ParseReason> {
    let bad = || ParseReason::BadLiteral("character constant");
    let inner = inside(text, '\'').ok_or_else(bad)?;
    let mut letters = inner.chars();
    let value = match letters.next().ok_or_else(bad)? {
        '\\' => match escape(&mut letters, '\'').ok_or_else(bad)? {
            Escaped::Byte(byte) => u32::from(byte),
            Escaped::Char(letter) => u32::from(letter),
        },
        letter => u32::from(letter),
    };
    if letters.next().is_some() {
        return Err(bad());
    }
    Ok(Value::Int(i64::from(value)))
}

/// The text of a string literal between double quotes.
pub(super) fn unquote(text: &str) -> Result<String, ParseReason> {
    let bad = || ParseReason::BadLiteral("string literal");
    let mut letters = inside(text, '"').ok_or_else(bad)?.chars();
    let mut bytes = Vec::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '\\' => match escape(&mut letters, '"').ok_or_else(bad)? {
                Escaped::Byte(byte) => {
                    bytes.push(byte);
                    continue;
                }
                Escaped::Char(letter) => letter,
            },
            letter => letter,
        };
        bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
    // Go would take bytes that are not UTF-8; a manifest could not.
    String::from_utf8(bytes).map_err(|_| bad())
}

/// The text of a literal between back-ticks, without carriage returns, as Go reads it.
pub(super) fn raw(text: &str) -> String {
    inside(text, '`').unwrap_or_default().replace('\r', "")
}

/// What an escape sequence stands for.
enum Escaped {
    Byte(u8),
    Char(char),
}

/// The rest of an escape sequence whose backslash is past.
fn escape(letters: &mut std::str::Chars<'_>, quote: char) -> Option<Escaped> {
    let letter = letters.next()?;
    let simple = match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        letter if letter == quote => quote,
        'x' => {
            return u8::try_from(digits(letters, 2, 16, 0)?)
                .ok()
                .map(Escaped::Byte);
        }
        'u' => return char::from_u32(digits(letters, 4, 16, 0)?).map(Escaped::Char),
        'U' => return char::from_u32(digits(letters, 8, 16, 0)?).map(Escaped::Char),
        '0'..='7' => {
            let value = digits(letters, 2, 8, letter.to_digit(8)?)?;
            return u8::try_from(value).ok().map(Escaped::Byte);
        }
        _ => return None,
    };
    Some(Escaped::Char(simple))
}

fn digits(letters: &mut std::str::Chars<'_>, count: u32, radix: u32, start: u32) -> Option<u32> {
    let mut value = start;
    for _ in 0..count {
        let digit = letters.next()?.to_digit(radix)?;
        value = value.checked_mul(radix)?.checked_add(digit)?;
    }
    Some(value)
}

fn inside(text: &str, quote: char) -> Option<&str> {
    text.strip_prefix(quote)?.strip_suffix(quote)
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// The radix that the prefix says, the digits behind it, and whether there was one.
fn radix(digits: &str) -> (u32, &str, bool) {
    let mut letters = digits.chars();
    if letters.next() != Some('0') {
        return (10, digits, false);
    }
    let radix = match letters.next() {
        Some('x' | 'X') => 16,
        Some('o' | 'O') => 8,
        Some('b' | 'B') => 2,
        Some(_) => return (8, letters_after_zero(digits), true),
        None => return (10, digits, false),
    };
    (radix, letters.as_str(), true)
}

fn letters_after_zero(digits: &str) -> &str {
    digits.strip_prefix('0').unwrap_or(digits)
}

/// Whether each `_` stands between digits, or behind the prefix.
fn underscores_separate(digits: &str, prefixed: bool) -> bool {
    let mut previous = if prefixed { '0' } else { '_' };
    for digit in digits.chars() {
        if digit == '_' && previous == '_' {
            return false;
        }
        previous = digit;
    }
    previous != '_'
}
