//! Quantities of CPU and memory, as `k8s.io/apimachinery/pkg/api/resource` reads them.
//!
//! Asked by the annotation rules only; the value itself is passed on as text and read by the API server.

/// Whether `text` is a quantity: a signed decimal number with a binary or decimal suffix or an exponent.
///
/// Examples: `100m`, `0.5`, `1e3`, `128Mi`.
pub(super) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(unsigned.len());
    let (Some(number), Some(suffix)) = (unsigned.get(..end), unsigned.get(end..)) else {
        return false;
    };
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    digits > 0 && number.len() - digits <= 1 && is_suffix(suffix)
}

fn is_suffix(suffix: &str) -> bool {
    if matches!(
        suffix,
        "" | "n"
            | "u"
            | "m"
            | "k"
            | "M"
            | "G"
            | "T"
            | "P"
            | "E"
            | "Ki"
            | "Mi"
            | "Gi"
            | "Ti"
            | "Pi"
            | "Ei"
    ) {
        return true;
    }
    suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        // More than three digits leave the range that the API server computes with.
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
