//! Floating-point numbers as Go prints them.
//! Printing values and `printf` come here; the digits are Rust's, which are correctly rounded as Go's are.

/// `%v`, `%g` and `%G` without precision: the shortest digits that read back as the same number.
pub(crate) fn shortest(number: f64) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let (negative, digits, exponent) = decompose(&format!("{number:e}"));
    general(negative, &digits, exponent, SHORTEST_EXPONENT)
}

/// `%g` with a precision: that many significant digits.
pub(crate) fn significant(number: f64, precision: usize) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let precision = precision.max(1);
    let (negative, digits, exponent) = decompose(&format!("{number:.*e}", precision - 1));
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    general(negative, digits, exponent, limit)
}

/// `%e`: one digit before the point; `None` means the shortest digits.
pub(crate) fn exponential(number: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let text = match precision {
        Some(precision) => format!("{number:.precision$e}"),
        None => format!("{number:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}e{}", two_digits(exponent.parse().unwrap_or(0)))
}

/// `%f`: no exponent.
pub(crate) fn fixed(number: f64, precision: Option<usize>) -> String {
    match (special(number), precision) {
        (Some(text), _) => text,
        (None, Some(precision)) => format!("{number:.precision$}"),
        (None, None) => format!("{number}"),
    }
}

/// A number of a configuration: without exponent when it is whole and exact, else as Go prints it.
pub(crate) fn configured(number: f64) -> String {
    match whole(number) {
        Some(number) => number.to_string(),
        None => shortest(number),
    }
}

/// The number as an integer, when it is one and no digit of it is lost.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked: whole and within the range where every integer is exact"
)]
pub(crate) fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

fn special(number: f64) -> Option<String> {
    if number.is_nan() {
        return Some("NaN".to_owned());
    }
    number
        .is_infinite()
        .then(|| if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
}

/// Sign, digits and decimal exponent of `-1.25e3`.
fn decompose(text: &str) -> (bool, String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
    (
        mantissa.starts_with('-'),
        digits,
        exponent.parse().unwrap_or(0),
    )
}

/// With an exponent when it is below -4 or not below `limit`, else without.
fn general(negative: bool, digits: &str, exponent: i32, limit: i32) -> String {
    let sign = if negative { "-" } else { "" };
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}e{}", two_digits(exponent));
    }
    let Ok(before) = usize::try_from(exponent + 1) else {
        return format!("{sign}0.{}{digits}", zeros(-exponent - 1));
    };
    if before == 0 {
        return format!("{sign}0.{digits}");
    }
    match digits.split_at_checked(before) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits:0<before$}"),
    }
}

fn two_digits(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:02}", exponent.unsigned_abs())
}

fn zeros(count: i32) -> String {
    "0".repeat(usize::try_from(count).unwrap_or_default())
}

/// From which exponent on the shortest form is exponential.
const SHORTEST_EXPONENT: i32 = 6;
