//! Labels and annotations of the own pod, as the downward API writes them into files.
//!
//! Read once at start by `app` for the workload's name and for the annotations that configure the agent.
//! An absent file means nothing is known; a line that is not understood is left out, because such a file is no reason not to start.

use std::{collections::BTreeMap, fs, io, path::Path};

/// Keys and values of one file.
pub type Pairs = BTreeMap<String, String>;

/// Why a file of the downward API could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the pod's metadata from {path}, going on without it")]
#[non_exhaustive]
pub struct ReadError {
    /// The file.
    pub path: String,
    /// What the kernel said.
    pub source: io::Error,
}

/// No more is read of a file: the API server limits all annotations of an object to 256 KiB, quoting at most quadruples that.
const SIZE_LIMIT: u64 = 1 << 20;

/// Reads `path`; an absent file gives no pairs.
///
/// # Errors
/// When the file is there but cannot be read, for example because its mode forbids it.
pub fn read(path: &Path) -> Result<Pairs, ReadError> {
    let text = fs::File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, SIZE_LIMIT), &mut bytes)?;
        Ok(bytes)
    });
    match text {
        Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pairs::new()),
        Err(source) => Err(ReadError {
            path: path.display().to_string(),
            source,
        }),
    }
}

/// Reads `key="value"` lines, the value quoted as a Go string (`%q`).
#[must_use]
pub fn parse(text: &str) -> Pairs {
    text.lines()
        .filter_map(|line| {
            let (key, quoted) = line.split_once('=')?;
            Some((key.trim().to_owned(), unquote(quoted.trim())?))
        })
        .collect()
}

/// Undoes Go's `strconv.Quote`; nothing if `quoted` is not such a text. Bytes that are not UTF-8 are replaced.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(char) = rest.next() {
        match char {
            '"' => return None,
            '\\' => unescape(&mut rest, &mut bytes)?,
            other => push(&mut bytes, other),
        }
    }
    Some(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

fn unescape(rest: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    match rest.next()? {
        'a' => bytes.push(0x07),
        'b' => bytes.push(0x08),
        'f' => bytes.push(0x0c),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(0x0b),
        '\\' => bytes.push(b'\\'),
        '"' => bytes.push(b'"'),
        'x' => bytes.push(u8::try_from(digits(rest, 2, 16, 0)?).ok()?),
        'u' => push(bytes, char::from_u32(digits(rest, 4, 16, 0)?)?),
        'U' => push(bytes, char::from_u32(digits(rest, 8, 16, 0)?)?),
        first => {
            let first = first.to_digit(8)?;
            bytes.push(u8::try_from(digits(rest, 2, 8, first)?).ok()?);
        }
    }
    Some(())
}

/// Reads `n_digits` more digits of a number that begins with `first`.
fn digits(rest: &mut std::str::Chars<'_>, n_digits: usize, radix: u32, first: u32) -> Option<u32> {
    (0..n_digits).try_fold(first, |number, _| {
        let digit = rest.next()?.to_digit(radix)?;
        number.checked_mul(radix)?.checked_add(digit)
    })
}

fn push(bytes: &mut Vec<u8>, char: char) {
    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_the_downward_api_are_read() {
        let pairs = parse(concat!(
            "app=\"web\"\n",
            "example.com/note=\"two\\nlines, \\\"quoted\\\" \\\\ = \\u00e9\\x21\\101\\U0001f600\"\n",
            "empty=\"\"\n",
        ));
        assert_eq!(pairs["app"], "web");
        assert_eq!(
            pairs["example.com/note"],
            "two\nlines, \"quoted\" \\ = é!A😀"
        );
        assert_eq!(pairs["empty"], "");
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        for line in [
            "",
            "no value",
            "bare=web",
            "open=\"web",
            "inner=\"a\"b\"",
            "end=\"a\\\"",
            "short=\"\\x4\"",
            "none=\"\\q\"",
            "surrogate=\"\\ud800\"",
            "big=\"\\777\"",
        ] {
            assert_eq!(parse(line), Pairs::new(), "{line}");
        }
    }

    #[test]
    fn an_absent_file_gives_nothing() {
        assert_eq!(
            read(Path::new("/nonexistent/labels")).unwrap(),
            Pairs::new()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn plain_values_come_back(value in "[a-zA-Z0-9 =._/-]*") {
            prop_assert_eq!(&parse(&format!("key=\"{value}\""))["key"], &value);
        }
    }
}
