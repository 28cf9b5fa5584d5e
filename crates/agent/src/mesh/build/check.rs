//! Which texts may stand for names in a mesh.
//!
//! Called by `build` for every text of a model. What passes here may be put into identities, server names, metric labels and log lines
//! without a second look.

use super::super::{names, problem::Fault};

const NAME: &str = "a name of letters, digits, `-`, `_` and `.`, at most 253 of them";
const HOSTNAME: &str = "a host name such as web.shop.svc.cluster.local or *.example.com";
const TRUST_DOMAIN: &str = "a trust domain of lower-case letters, digits, `-`, `_` and `.`";
const IDENTITY: &str = "a SPIFFE ID such as spiffe://cluster.local/ns/shop/sa/web";
const TEXT: &str = "a text of at most 253 characters without control characters";

/// A name that may be a part of an identity; nothing but these characters needs no escaping in a SPIFFE ID.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    let fits = !text.is_empty()
        && text.len() <= names::LONGEST
        && text != "."
        && text != ".."
        && text.bytes().all(is_name_byte);
    fits.then_some(()).ok_or_else(|| Fault::value(text, NAME))
}

/// A text that is only ever shown.
pub(super) fn text(text: &str) -> Result<(), Fault> {
    let fits = text.len() <= names::LONGEST && !text.chars().any(char::is_control);
    fits.then_some(()).ok_or_else(|| Fault::value(text, TEXT))
}

/// A host name, in lower case; the first label may be `*`.
pub(super) fn hostname(text: &str) -> Result<String, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name).split('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let fits = name.len() <= names::LONGEST && labels.into_iter().all(is_label);
    if fits {
        Ok(name)
    } else {
        Err(Fault::value(text, HOSTNAME))
    }
}

/// A trust domain (SPIFFE ID, 2.1).
pub(super) fn trust_domain(text: &str) -> Result<(), Fault> {
    let is_byte = |byte: u8| is_name_byte(byte) && !byte.is_ascii_uppercase();
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(is_byte);
    fits.then_some(())
        .ok_or_else(|| Fault::value(text, TRUST_DOMAIN))
}

/// A SPIFFE ID (SPIFFE ID, 2).
pub(super) fn identity(text: &str) -> Result<(), Fault> {
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(is_name_byte)
    };
    let fits = text.len() <= 2048
        && text.strip_prefix("spiffe://").is_some_and(|rest| {
            let (domain, path) = rest.split_once('/').unwrap_or((rest, "path"));
            trust_domain(domain).is_ok() && path.split('/').all(is_segment)
        });
    fits.then_some(())
        .ok_or_else(|| Fault::value(text, IDENTITY))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_pass_for_host_names() {
        let long = "a".repeat(64);
        let longest = format!("{}{}", "a.".repeat(99), "b".repeat(54));
        let table = [
            ("web", true),
            ("Web.Shop.", true),
            ("a_b.example.com", true),
            ("*.example.com", true),
            ("*", false),
            ("*.*.example.com", false),
            ("web*.example.com", false),
            ("", false),
            (".", false),
            ("web..shop", false),
            ("-web", false),
            ("web-", false),
            ("web:80", false),
            ("web shop", false),
            ("wéb", false),
            (long.as_str(), false),
            (longest.as_str(), true),
        ];
        for (text, fits) in table {
            assert_eq!(hostname(text).is_ok(), fits, "{text}");
        }
        assert_eq!(hostname("Web.Shop.").unwrap(), "web.shop");
        assert!(hostname(&format!("a.{longest}")).is_err());
    }

    #[test]
    fn only_spiffe_ids_pass_for_identities() {
        let table = [
            ("spiffe://cluster.local/ns/shop/sa/web", true),
            ("spiffe://cluster.local", true),
            ("spiffe://cluster.local/", false),
            ("spiffe://Cluster.local/ns", false),
            ("spiffe:///ns", false),
            ("spiffe://a/b//c", false),
            ("spiffe://a/../c", false),
            ("spiffe://a/b\0", false),
            ("spiffe://a/b%41", false),
            ("spiffe://user@a/b", false),
            ("https://a/b", false),
            ("web.shop", false),
        ];
        for (text, fits) in table {
            assert_eq!(identity(text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn names_need_no_escaping_anywhere() {
        for text in ["", ".", "..", "a/b", "a b", "a\n", "é", &"a".repeat(254)] {
            assert!(name(text).is_err(), "{text:?}");
        }
        assert!(name("Web-1_a.b").is_ok());
    }
}
