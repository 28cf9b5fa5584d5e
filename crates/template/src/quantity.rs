//! Quantities of CPU and memory, as `k8s.io/apimachinery/pkg/api/resource` reads and writes them.
//!
//! Asked by the annotation rules whether a text is one, and by [`crate::kubernetes`] for the form that the API server would give it.
//! Nothing here computes with quantities, so one that is out of range is left as it is for the API server to judge.

/// How a quantity is written, which it keeps in its canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Powers of 1000 with a letter: `100m`, `2k`.
    Decimal,
    /// Powers of 1000 with an exponent: `1e3`.
    Exponent,
    /// Powers of 1024: `128Mi`.
    Binary,
}

/// A text taken apart: sign, number, and what it is to be multiplied with.
#[derive(Debug)]
struct Parts<'a> {
    is_negative: bool,
    number: &'a str,
    form: Form,
    /// The power of ten, or of 1024.
    power: i32,
}

/// The units with their powers of ten.
const DECIMAL: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

/// The units with their powers of 1024.
const BINARY: &[(&str, i32)] = &[
    ("Ki", 1),
    ("Mi", 2),
    ("Gi", 3),
    ("Ti", 4),
    ("Pi", 5),
    ("Ei", 6),
];

/// The finest part of a quantity, as a power of ten.
const FINEST: i32 = -9;

/// One in units of the finest part.
const ONE: i128 = 1_000_000_000;

// === impl Parts ===

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at_checked(end)?;
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        if digits == 0 || number.len() - digits > 1 {
            return None;
        }
        let (form, power) = unit(suffix)?;
        Some(Self {
            is_negative: text.starts_with('-'),
            number,
            form,
            power,
        })
    }

    /// The quantity in units of its finest part, if that is exact and not too large.
    fn nanos(&self) -> Option<i128> {
        let (whole, fraction) = self.number.split_once('.').unwrap_or((self.number, ""));
        let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let mut tens = i32::try_from(fraction.len()).ok()?.checked_neg()? - FINEST;
        let mut nanos = if self.is_negative { -digits } else { digits };
        if self.form == Form::Binary {
            nanos = nanos.checked_mul(1024_i128.checked_pow(self.power.unsigned_abs())?)?;
        } else {
            tens += self.power;
        }
        let factor = 10_i128.checked_pow(tens.unsigned_abs())?;
        if tens >= 0 {
            nanos.checked_mul(factor)
        } else {
            (nanos % factor == 0).then(|| nanos / factor)
        }
    }
}

/// Whether `text` is a quantity: a signed decimal number with a binary or decimal suffix or an exponent.
///
/// Examples: `100m`, `0.5`, `1e3`, `128Mi`.
pub(crate) fn is_quantity(text: &str) -> bool {
    Parts::of(text).is_some()
}

/// The quantity as the API server writes it: a whole number with the largest unit that keeps it whole (`2000m` is `2`).
///
/// None for what is no quantity, and for one too fine or too large to be exact here.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let parts = Parts::of(text)?;
    let nanos = parts.nanos()?;
    // Small and broken numbers of bytes are written as decimals.
    if parts.form == Form::Binary && nanos.abs() >= 1024 * ONE && nanos % ONE == 0 {
        let (number, power) = reduce(nanos / ONE, 1024, 6);
        return Some(format!("{number}{}", suffix(BINARY, power)));
    }
    if nanos == 0 {
        return Some("0".to_owned());
    }
    let (number, thousands) = reduce(nanos, 1000, 9);
    let power = FINEST + 3 * thousands;
    Some(match parts.form {
        Form::Exponent if power != 0 => format!("{number}e{power}"),
        Form::Exponent => number.to_string(),
        Form::Decimal | Form::Binary => format!("{number}{}", suffix(DECIMAL, power)),
    })
}

/// The number without as many factors as it has, and how many these are; at most `limit`.
fn reduce(mut number: i128, factor: i128, limit: i32) -> (i128, i32) {
    let mut times = 0;
    while times < limit && number % factor == 0 {
        number /= factor;
        times += 1;
    }
    (number, times)
}

fn suffix(units: &'static [(&str, i32)], power: i32) -> &'static str {
    let unit = units.iter().find(|(_, known)| *known == power);
    unit.map(|(name, _)| *name).unwrap_or_default()
}

fn unit(suffix: &str) -> Option<(Form, i32)> {
    let find = |units: &[(&str, i32)]| {
        let unit = units.iter().find(|(name, _)| *name == suffix);
        unit.map(|(_, power)| *power)
    };
    if let Some(power) = find(DECIMAL) {
        return Some((Form::Decimal, power));
    }
    if let Some(power) = find(BINARY) {
        return Some((Form::Binary, power));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    // More than three digits leave the range that the API server computes with.
    let is_sound =
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_sound.then(|| exponent.parse().ok().map(|power| (Form::Exponent, power)))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quantity_is_written_with_the_largest_unit_that_keeps_it_whole() {
        for (text, expected) in [
            ("2000m", "2"),
            ("100m", "100m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("+3", "3"),
            ("-1500m", "-1500m"),
            ("2000", "2k"),
            ("1024Mi", "1Gi"),
            ("1000Mi", "1000Mi"),
            ("0.5Gi", "512Mi"),
            ("0.5Ki", "512"),
            ("1.0001Ki", "1024102400u"),
            ("0Mi", "0"),
            ("0m", "0"),
            ("1e3", "1e3"),
            ("1E4", "10e3"),
            ("10e-1", "1"),
            ("1000e0", "1e3"),
            ("1n", "1n"),
            ("12345678u", "12345678u"),
            ("1Ei", "1Ei"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_or_not_exact_has_no_canonical_form() {
        for text in [
            "", "m", ".", "1.2.3", "1 Gi", "1gi", "1K", "1e", "1e1234", "--1", "1/2",
        ] {
            assert!(!is_quantity(text), "{text}");
            assert_eq!(canonical(text), None, "{text}");
        }
        for text in [
            "0.1n",
            "1e-20",
            "1e400",
            "99999999999999999999999999999999999999999E",
        ] {
            assert!(is_quantity(text), "{text}");
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_same_quantity_and_its_own_canonical_form(
            text in "[+-]?[0-9]{1,6}(\\.[0-9]{0,4})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9])?"
        ) {
            if let Some(written) = canonical(&text) {
                prop_assert_eq!(Parts::of(&written).and_then(|parts| parts.nanos()), Parts::of(&text).and_then(|parts| parts.nanos()));
                prop_assert_eq!(canonical(&written), Some(written));
            }
        }
    }
}
