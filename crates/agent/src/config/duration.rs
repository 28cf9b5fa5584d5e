//! Durations as Go and protobuf's JSON write them.
//!
//! Called by `config` for flags and PROXY_CONFIG. A bare number is refused, because nobody can tell its unit, except for zero.

use std::time::Duration;

/// Longest duration that is accepted: far beyond any grace period, and safe to add to any clock.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Nanoseconds of each unit of Go's `time.ParseDuration`.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 60 * 60 * 1_000_000_000),
];

/// Reads `5s`, `1m30s`, `1.5h`, `100ms` or `0`; nothing for anything else, negative and longer than a week included.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let n_number = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, tail) = rest.split_at_checked(n_number)?;
        let n_unit = tail
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(n_unit)?;
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scale(number, *nanos)?)?;
        rest = tail;
    }
    (total <= LONGEST).then_some(total)
}

/// `number`, which may have a fraction, times `nanos`.
fn scale(number: &str, nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Digits beyond these are below a nanosecond for every unit.
    let fraction = fraction.get(..15).unwrap_or(fraction);
    let (part, scale) = fraction.bytes().fold((0, 1), |(part, scale), byte| {
        (part * 10 + u128::from(byte - b'0'), scale * 10)
    });
    let part = u64::try_from(u128::from(nanos) * part / scale).ok()?;
    Some(Duration::from_nanos(
        whole.checked_mul(nanos)?.checked_add(part)?,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let table = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("5s", Some(5_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5_000_000_000)),
            ("5.000000001s", Some(5_000_000_001)),
            ("3µs", Some(3_000)),
            ("", None),
            ("5", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("-5s", None),
            ("+5s", None),
            ("5 s", None),
            ("5sec", None),
            ("5S", None),
            ("99999999999999999999s", None),
            ("9999h", None),
        ];
        for (text, nanos) in table {
            assert_eq!(parse(text), nanos.map(Duration::from_nanos), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn numbers_with_units_are_survived(text in "[0-9.]{0,40}(ns|µs|s|h)[0-9.]{0,5}(m|s)?") {
            let _ = parse(&text);
        }
    }
}
