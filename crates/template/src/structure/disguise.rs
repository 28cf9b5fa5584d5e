//! Texts with every character that could mean something to YAML in disguise.
//!
//! Used by the second rendering of [`super`] and, through [`super::masked`], by the functions that look into texts.
//! Each disguise is one character of a private plane, which YAML takes for a letter, and each can be taken off again; a text of its author's that
//! holds such a character loses it, so nobody can put on a disguise himself.

use crate::yaml;

/// The disguise of character 0; the others follow in the order of their code points.
const FIRST: u32 = 0x10_FE00;

/// The disguise after the last one.
const END: u32 = FIRST + 0x100;

/// How many characters from 0 on have a disguise at their own place: ASCII, and the control characters after it with YAML's line break among them.
const DIRECT: u32 = 0xA0;

/// Further characters that break lines, mark the order of bytes, or that YAML does not allow.
const OTHERS: [char; 5] = ['\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'];

/// The first byte of every disguise in UTF-8.
const LEAD: u8 = 0xF4;

/// Whether YAML reads the text as one string, number or boolean wherever it stands.
pub(super) fn is_harmless(text: &str) -> bool {
    text.chars().all(is_plain) && !is_marker(text)
}

/// The text with a letter in the place of each character that is not harmless.
pub(super) fn disguise(text: &str) -> String {
    let whole = text.chars().all(is_plain) && is_marker(text);
    let letter = |character: char| {
        let wants_one = whole || !is_plain(character);
        let number = number(character).filter(|_| wants_one);
        match number.and_then(|number| char::from_u32(FIRST + number)) {
            Some(disguised) => disguised,
            None if is_disguise(character) => 'x',
            None => character,
        }
    };
    text.chars().map(letter).collect()
}

/// The text without disguise; none if it wears none.
pub(super) fn reveal(text: &str) -> Option<String> {
    let wears_one = text.as_bytes().contains(&LEAD) && text.chars().any(is_disguise);
    wears_one.then(|| text.chars().map(revealed).collect())
}

/// Null, which deletes where partial pods are merged, what YAML takes for a dash of a list or the border of a document, and what is no number.
fn is_marker(text: &str) -> bool {
    let only = |letter: u8| text.bytes().all(|byte| byte == letter);
    match text.as_bytes().first() {
        Some(b'n' | b'N') => matches!(text, "null" | "Null" | "NULL"),
        Some(b'-' | b'.') if only(b'-') || only(b'.') => true,
        Some(b'-' | b'.') => !yaml::is_finite(text),
        _ => false,
    }
}

fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/');
    }
    number(character).is_none() && !is_disguise(character)
}

fn is_disguise(character: char) -> bool {
    (FIRST..END).contains(&u32::from(character))
}

fn number(character: char) -> Option<u32> {
    if u32::from(character) < DIRECT {
        return Some(u32::from(character));
    }
    let at = (DIRECT..)
        .zip(OTHERS)
        .find(|(_, other)| *other == character);
    at.map(|(number, _)| number)
}

fn revealed(character: char) -> char {
    if !is_disguise(character) {
        return character;
    }
    let number = u32::from(character) - FIRST;
    let other = || (DIRECT..).zip(OTHERS).find(|(at, _)| *at == number);
    match char::from_u32(number).filter(|_| number < DIRECT) {
        Some(plain) => plain,
        None => other().map_or(character, |(_, plain)| plain),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_numbers_and_versions_are_harmless_and_punctuation_is_not() {
        for text in [
            "",
            "web",
            "true",
            "1.27-alpine",
            "apps/v1",
            "80",
            "größer",
            "-x",
            "a-",
        ] {
            assert!(is_harmless(text), "{text:?}");
        }
        for text in [
            "a: b",
            "a b",
            "a,b",
            "a:b",
            "\"",
            "'",
            "\n",
            "\t",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "#",
            "{",
            "&a",
            "*a",
            "!t",
            "null",
            "~",
            "-",
            "---",
            "...",
            "$patch",
            "<<",
            "\0",
            "\u{10fe22}",
        ] {
            assert!(!is_harmless(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_disguise_hides_everything_and_comes_off(text in any::<String>()) {
            let disguised = disguise(&text);
            prop_assert!(disguised.chars().all(|letter| is_disguise(letter) || is_plain(letter)));
            prop_assert_eq!(disguised.chars().count(), text.chars().count());
            if !text.chars().any(is_disguise) {
                prop_assert_eq!(reveal(&disguised).unwrap_or(disguised), text);
            }
        }
    }
}
