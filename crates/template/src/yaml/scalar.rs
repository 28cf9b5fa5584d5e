//! What a plain scalar means: null, boolean, number or string.
//!
//! Called by the loader for scalars without quotes or with a tag, and by the emitter, which must quote a string that would be read as something else.
//! The rules are those of go-yaml v2 (`resolve.go`), because that is what kubectl and the API machinery use.

use serde_json::{Number, Value};

/// A scalar that JSON cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotFinite;

/// Resolves a plain scalar.
///
/// `0400` is 256, `0o14` 12, `0b11` 3, `1_000` 1000, `yes` true, `~` null; timestamps and base-60 numbers stay strings.
/// Whole floats become integers, as they do on their way through Go's JSON encoder.
pub(super) fn resolve(text: &str) -> Result<Value, NotFinite> {
    match text.as_bytes().first() {
        None => return Ok(Value::Null),
        Some(b'+' | b'-' | b'0'..=b'9' | b'.') => {}
        Some(_) => return Ok(word(text).unwrap_or_else(|| Value::String(text.to_owned()))),
    }
    if is_not_finite(text) {
        return Err(NotFinite);
    }
    Ok(number(text).unwrap_or_else(|| Value::String(text.to_owned())))
}

/// Null and the booleans, in each spelling.
fn word(text: &str) -> Option<Value> {
    match text {
        "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(Value::Bool(true))
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        _ => None,
    }
}

fn is_not_finite(text: &str) -> bool {
    matches!(
        text,
        ".nan"
            | ".NaN"
            | ".NAN"
            | ".inf"
            | ".Inf"
            | ".INF"
            | "+.inf"
            | "+.Inf"
            | "+.INF"
            | "-.inf"
            | "-.Inf"
            | "-.INF"
    )
}

fn number(text: &str) -> Option<Value> {
    if text.starts_with('.') {
        return float(text);
    }
    if !text.contains('_') {
        return integer(text).or_else(|| float(text));
    }
    let plain = text.replace('_', "");
    integer(&plain).or_else(|| float(&plain))
}

/// An integer in Go's base 0: prefixes `0x`, `0o`, `0b` and the old octal `0`; a sign only where it fits an `i64`.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let signed = digits.len() != text.len();
    let (radix, digits) = radix(digits);
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !signed {
        return Some(Value::from(magnitude));
    }
    let magnitude = i128::from(magnitude);
    i64::try_from(if negative { -magnitude } else { magnitude })
        .ok()
        .map(Value::from)
}

fn radix(digits: &str) -> (u32, &str) {
    let prefix = |lower: &str, upper: &str| {
        digits
            .strip_prefix(lower)
            .or_else(|| digits.strip_prefix(upper))
    };
    if let Some(rest) = prefix("0x", "0X") {
        (16, rest)
    } else if let Some(rest) = prefix("0o", "0O") {
        (8, rest)
    } else if let Some(rest) = prefix("0b", "0B") {
        (2, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits)
    } else {
        (10, digits)
    }
}

/// A decimal float: `1.5`, `.5`, `1.`, `1e3`. One that is too large for an `f64` stays a string.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, Some(unsigned.get(at + 1..)?)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits =
        digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    from_f64(text.parse().ok()?)
}

/// A finite float as JSON holds it: whole numbers without a fraction.
fn from_f64(value: f64) -> Option<Value> {
    /// 2 to the 63rd: below it, every whole float is an `i64`.
    const WHOLE: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() == 0.0 && (-WHOLE..WHOLE).contains(&value) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within range")]
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

/// Whether some YAML reader, 1.1 or 1.2, might take the plain text for anything but this string.
pub(super) fn is_ambiguous(text: &str) -> bool {
    match text.as_bytes().first() {
        None => true,
        // Numbers, dates and base-60 numbers all begin so.
        Some(b'0'..=b'9' | b'+' | b'.' | b'-') => looks_numeric(text),
        Some(b'=' | b'<') => matches!(text, "=" | "<<"),
        Some(_) => word(text).is_some(),
    }
}

/// Generous: numbers of any base, dates and times; but not addresses and versions, which have a second dot.
fn looks_numeric(text: &str) -> bool {
    let in_number = |byte: u8| byte.is_ascii_hexdigit() || b"+-._:xXoO".contains(&byte);
    let in_time = |byte: u8| in_number(byte) || b"tTzZ ".contains(&byte);
    let dots = text.bytes().filter(|byte| *byte == b'.').count();
    is_not_finite(text)
        || text.bytes().any(|byte| byte.is_ascii_digit())
            && (text.bytes().all(in_number) && dots < 2
                || text.bytes().all(in_time) && text.contains(':'))
}
