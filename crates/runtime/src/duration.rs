//! Durations as Go writes them.
//!
//! Parsed by the programs' arguments, so that a value copied from an Istio manual means here what it means there: `5s`, `1m30s`,
//! `1.5h`, `250ms`. A number without a unit is refused (but for `0`), because nobody can tell what it means.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Not numbers each followed by its unit.
    #[error("`{text}` is no duration, give numbers with units such as 5s, 1m30s or 250ms")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// More than 290 years, as in Go.
    #[error("`{text}` is longer than any duration can be")]
    TooLong {
        /// What was given.
        text: String,
    },
}

/// Nanoseconds of each unit; `µ` has two code points.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// Reads a duration such as `1m30s`; never negative.
///
/// # Errors
/// When a unit is missing or unknown, or the sum passes 2⁶³ nanoseconds.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed {
        text: text.to_owned(),
    };
    let too_long = || DurationError::TooLong {
        text: text.to_owned(),
    };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| !c.is_ascii_digit() && c != '.');
        let (_, scale) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(malformed)?;
        let n_nanos = nanos(number, scale).ok_or_else(malformed)?;
        total = n_nanos
            .and_then(|n_nanos| total.checked_add(n_nanos))
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(too_long)?;
        rest = after;
    }
    Ok(Duration::from_nanos(total))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// `number` times `scale`, rounded down: nothing if it is not a number, and `Some(None)` if it is too large.
fn nanos(number: &str, scale: u64) -> Option<Option<u64>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let mut total = Some(0_u64);
    for digit in whole.bytes() {
        total = total.and_then(|total| total.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    }
    let mut place = scale;
    let mut part = 0;
    for digit in fraction.bytes() {
        // Exact down to the nanosecond; what is smaller does not count.
        part += u64::from(digit - b'0') * place / 10;
        place /= 10;
    }
    Some(total.and_then(|total| total.checked_mul(scale)?.checked_add(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_mean_what_they_mean_in_go() {
        let table = [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("250ms", 250_000_000),
            ("3µs", 3_000),
            ("3μs", 3_000),
            ("3us7ns", 3_007),
            ("0.1ns", 0),
            ("1.000000001s", 1_000_000_001),
            ("2562047h47m16.854775807s", 9_223_372_036_854_775_807),
        ];
        for (text, n_nanos) in table {
            assert_eq!(parse(text), Ok(Duration::from_nanos(n_nanos)), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_is_refused() {
        for text in [
            "", "+", "5", "s", ".s", "-5s", "5 s", "5x", "1.2.3s", "5s3", "1e3s", "²s", "5d",
        ] {
            assert!(
                matches!(parse(text), Err(DurationError::Malformed { .. })),
                "{text}"
            );
        }
        for text in ["2562047h47m16.854775808s", "99999999999999999999h"] {
            assert!(
                matches!(parse(text), Err(DurationError::TooLong { .. })),
                "{text}"
            );
        }
    }
}
