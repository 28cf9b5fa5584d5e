//! Whom a sidecar has verified, told to the application: the field `x-forwarded-client-cert`.
//!
//! [`element`] writes what is known of a client's certificate, as Envoy does under Istio's settings; [`append`] puts it behind what a
//! verified client has passed on, if that is in the format at all. Nothing that a certificate says can end a value or the field.

/// Who a verified client is.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// SHA-256 of its certificate in lower-case hexadecimal digits.
    pub hash: &'a str,
    /// Subject of its certificate as RFC 2253 writes it, empty if it has none: Istio's have none.
    pub subject: &'a str,
    /// Its identity, `spiffe://cluster.local/ns/shop/sa/web`.
    pub uri: &'a str,
    /// DNS names of its certificate.
    pub dns: &'a [&'a str],
}

/// Longest field that is passed on, in bytes. Istio's elements have about 200.
pub const MAX_FIELD: usize = 4 * 1024;

/// What is told of a client that the workload with the identity `own` has verified:
/// `By=spiffe://…;Hash=…;Subject="…";URI=spiffe://…;DNS=…`.
#[must_use]
pub fn element(own: &str, client: &Client<'_>) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("By=");
    value(&mut out, own);
    out.push_str(";Hash=");
    value(&mut out, client.hash);
    out.push_str(";Subject=");
    quoted(&mut out, client.subject);
    out.push_str(";URI=");
    value(&mut out, client.uri);
    for name in client.dns {
        out.push_str(";DNS=");
        value(&mut out, name);
    }
    out
}

/// The field for the application: `received` from a verified client, if it is well-formed and not too long, and `element` behind it.
pub fn append(received: &[u8], element: &str, out: &mut Vec<u8>) {
    let fits = received.len() + element.len() < MAX_FIELD;
    if !received.is_empty() && fits && is_well_formed(received) {
        out.extend_from_slice(received);
        out.push(b',');
    }
    out.extend_from_slice(element.as_bytes());
}

/// Whether these are elements of `key=value` pairs with known keys, separated by `;` and `,`, every quote of which is closed.
#[must_use]
pub fn is_well_formed(field: &[u8]) -> bool {
    let mut rest = field;
    loop {
        let Some((key, behind)) = split_at_byte(rest, b'=') else {
            return false;
        };
        let is_known = [
            &b"By"[..],
            b"Hash",
            b"Cert",
            b"Chain",
            b"Subject",
            b"URI",
            b"DNS",
        ]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(key.trim_ascii_start()));
        let Some(behind) = skip_value(behind).filter(|_| is_known) else {
            return false;
        };
        match behind.split_first() {
            None => return true,
            Some((b';' | b',', next)) => rest = next,
            Some(_) => return false,
        }
    }
}

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// What follows a value, which is in quotes or has nothing that separates.
fn skip_value(bytes: &[u8]) -> Option<&[u8]> {
    let Some(mut rest) = bytes.strip_prefix(b"\"") else {
        let end = bytes
            .iter()
            .position(|byte| matches!(byte, b';' | b',' | b'"' | b'='));
        return bytes.get(end.unwrap_or(bytes.len())..);
    };
    loop {
        match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', _, behind @ ..] | [_, behind @ ..] => rest = behind,
            [] => return None,
        }
    }
}

/// A value, in quotes if it has anything that separates.
fn value(out: &mut String, text: &str) {
    if text.contains([';', ',', '=', '"']) {
        quoted(out, text);
    } else {
        out.extend(text.chars().filter(is_visible));
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars().filter(is_visible) {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

/// What a field's value may have (RFC 9110, section 5.5), other alphabets aside.
fn is_visible(char: &char) -> bool {
    char.is_ascii_graphic() || *char == ' '
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "spiffe://cluster.local/ns/shop/sa/cart";
    const CLIENT: Client<'_> = Client {
        hash: "abab",
        subject: "",
        uri: "spiffe://cluster.local/ns/shop/sa/web",
        dns: &[],
    };

    fn appended(received: &str, element: &str) -> String {
        let mut out = Vec::new();
        append(received.as_bytes(), element, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_client_is_told_in_istios_words() {
        assert_eq!(
            element(OWN, &CLIENT),
            format!("By={OWN};Hash=abab;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/web")
        );
        let client = Client {
            subject: "O=\"A, B\",CN=a\\b\r\nc",
            dns: &["web.shop.svc", "a,b"],
            ..CLIENT
        };
        let told = element(OWN, &client);
        let expect = "Subject=\"O=\\\"A, B\\\",CN=a\\\\bc\";URI=spiffe://cluster.local/ns/shop/sa/web;DNS=web.shop.svc;DNS=\"a,b\"";
        assert!(told.ends_with(expect), "{told}");
    }

    #[test]
    fn only_what_is_well_formed_is_passed_on() {
        let own = element(OWN, &CLIENT);
        let long = format!("Hash={}", "a".repeat(MAX_FIELD));
        let table = [
            ("", false),
            ("By=a;Hash=b;Subject=\"x;y,z=\\\"\";URI=c", true),
            ("By=a;Hash=b,by=c;hash=d, URI=e;DNS=", true),
            ("Subject=\"open", false),
            ("Subject=\"a\"b", false),
            ("Subject=\"a\\", false),
            ("By=a;", false),
            ("By=a,", false),
            ("Other=a", false),
            ("By=a=b", false),
            ("By=a\"b", false),
            ("nothing", false),
            (long.as_str(), false),
        ];
        for (received, is_passed_on) in table {
            let expect = if is_passed_on {
                format!("{received},{own}")
            } else {
                own.clone()
            };
            assert_eq!(appended(received, &own), expect, "{received}");
        }
    }

    proptest! {
        #[test]
        fn no_name_in_a_certificate_can_forge_another(
            own in ".{0,20}", subject in ".{0,40}", uri in "[\\PC;,=\"\\\\\r\n]{0,40}", dns in ".{0,20}",
        ) {
            let client = Client { subject: &subject, uri: &uri, dns: &[&dns], ..CLIENT };
            let told = element(&own, &client);
            prop_assert!(is_well_formed(told.as_bytes()), "{}", told);
            prop_assert!(!told.contains(['\r', '\n', '\0']));
            // One element of five pairs, whatever the names are.
            let mut rest = told.as_bytes();
            let mut pairs = 0;
            while let Some((_, behind)) = split_at_byte(rest, b'=') {
                let behind = skip_value(behind).unwrap();
                prop_assert_ne!(behind.first(), Some(&b','));
                rest = behind.get(1..).unwrap_or_default();
                pairs += 1;
            }
            prop_assert_eq!(pairs, 5);
        }

        #[test]
        fn bytes_of_anybody_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            append(&bytes, "By=a", &mut out);
            prop_assert!(is_well_formed(&out));
        }
    }
}
