//! Where a redirect leads: to the application again, or elsewhere.
//!
//! Called by `http_get` for every redirect that a probed application answers with. Pure: no name is resolved, because only the
//! address that the probe was meant for is ever asked again.

use std::net::IpAddr;

use http::uri::Authority;

/// What to ask the application for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether to speak TLS.
    pub tls: bool,
    /// The port.
    pub port: u16,
    /// Path and query, fit for a request line.
    pub path: String,
}

/// What a `Location` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The application again. A relative location keeps the `Host` header of the request before, an absolute one does not.
    Again {
        /// What to ask for.
        target: Target,
        /// Whether the location was relative.
        relative: bool,
    },
    /// Some other host: the application works, whatever the other host may do.
    Elsewhere,
    /// Not a location.
    Invalid,
}

// === impl Target ===

impl Target {
    /// Resolves `location` against this target at address `host` (RFC 3986, section 5.2).
    #[must_use]
    pub fn redirect(&self, host: IpAddr, location: &str) -> Redirect {
        let location = location
            .split_once('#')
            .map_or(location, |(before, _)| before);
        if let Some(rest) = location.strip_prefix("//") {
            return absolute(self.tls, host, rest);
        }
        match scheme(location) {
            Some(("http", rest)) => {
                return rest
                    .strip_prefix("//")
                    .map_or(Redirect::Invalid, |rest| absolute(false, host, rest));
            }
            Some(("https", rest)) => {
                return rest
                    .strip_prefix("//")
                    .map_or(Redirect::Invalid, |rest| absolute(true, host, rest));
            }
            Some(_) => return Redirect::Elsewhere,
            None => {}
        }
        let base = self
            .path
            .split_once('?')
            .map_or(self.path.as_str(), |(path, _)| path);
        let path = if location.is_empty() {
            self.path.clone()
        } else if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{base}{location}")
        } else {
            let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        Redirect::Again {
            target: Self {
                path: request_target(&without_dots(&path)),
                ..self.clone()
            },
            relative: true,
        }
    }
}

/// Path and query as a request line may hold them: with a first slash, without a fragment, and with whatever else may not stand
/// there percent-encoded.
#[must_use]
pub fn request_target(path: &str) -> String {
    let path = path.split_once('#').map_or(path, |(before, _)| before);
    let mut target = String::new();
    if !path.starts_with('/') {
        target.push('/');
    }
    encode(path, &mut target);
    target
}

/// Takes `.` and `..` segments out of the path, not out of the query (RFC 3986, section 5.2.4).
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let end = if is_folder && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}{query}", kept.join("/"))
}

/// The scheme in lower case and what follows its colon; only the two that matter are told apart.
fn scheme(location: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let valid = scheme.starts_with(|char: char| char.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char));
    valid.then(|| {
        if scheme.eq_ignore_ascii_case("http") {
            ("http", rest)
        } else if scheme.eq_ignore_ascii_case("https") {
            ("https", rest)
        } else {
            ("other", rest)
        }
    })
}

fn absolute(tls: bool, host: IpAddr, rest: &str) -> Redirect {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Ok(authority) = authority.parse::<Authority>() else {
        return Redirect::Invalid;
    };
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if name.parse() != Ok(host) {
        return Redirect::Elsewhere;
    }
    let port = match (authority.port(), tls) {
        (Some(port), _) => port.as_u16(),
        (None, true) => 443,
        (None, false) => 80,
    };
    Redirect::Again {
        target: Target {
            tls,
            port,
            path: request_target(&without_dots(path)),
        },
        relative: false,
    }
}

fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                into.push(digit.to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use proptest::prelude::*;

    use super::*;

    fn at(tls: bool, port: u16, path: &str) -> Target {
        Target {
            tls,
            port,
            path: path.to_owned(),
        }
    }

    #[test]
    fn redirects_lead_to_the_application_or_elsewhere() {
        let again = |target, relative| Redirect::Again { target, relative };
        let table = [
            ("/b", again(at(false, 80, "/b"), true)),
            ("c", again(at(false, 80, "/x/c"), true)),
            ("../c?q=1#f", again(at(false, 80, "/c?q=1"), true)),
            ("?q=2", again(at(false, 80, "/x/y?q=2"), true)),
            ("", again(at(false, 80, "/x/y?old"), true)),
            ("http://10.0.0.1/b", again(at(false, 80, "/b"), false)),
            ("http://10.0.0.1:8080", again(at(false, 8080, "/"), false)),
            ("HTTPS://10.0.0.1?q", again(at(true, 443, "/?q"), false)),
            ("//10.0.0.1:81/b", again(at(false, 81, "/b"), false)),
            ("http://user@10.0.0.1/b", again(at(false, 80, "/b"), false)),
            ("http://10.0.0.2/b", Redirect::Elsewhere),
            ("http://example.com/b", Redirect::Elsewhere),
            ("//example.com/b", Redirect::Elsewhere),
            ("ftp://10.0.0.1/b", Redirect::Elsewhere),
            ("mailto:a@example.com", Redirect::Elsewhere),
            ("http://[", Redirect::Invalid),
            ("http:relative", Redirect::Invalid),
        ];
        let base = at(false, 80, "/x/y?old");
        for (location, expected) in table {
            assert_eq!(
                base.redirect([10, 0, 0, 1].into(), location),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn addresses_of_version_6_are_recognised() {
        let host = "fd00::1".parse().unwrap();
        let expected = Redirect::Again {
            target: at(false, 81, "/b"),
            relative: false,
        };
        assert_eq!(
            at(true, 1, "/").redirect(host, "http://[fd00:0::1]:81/b"),
            expected
        );
    }

    #[test]
    fn paths_are_made_fit_for_a_request_line() {
        let table = [
            ("", "/"),
            ("healthz", "/healthz"),
            ("/a/", "/a/"),
            ("/a b?c d", "/a%20b?c%20d"),
            ("/%20", "/%20"),
            ("/é\r\n", "/%C3%A9%0D%0A"),
            ("/a#b", "/a"),
        ];
        for (path, expected) in table {
            assert_eq!(request_target(path), expected, "{path}");
        }
    }

    #[test]
    fn dots_are_resolved() {
        let table = [
            ("/", "/"),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..?../x", "/a/?../x"),
            ("/a//b", "/a//b"),
        ];
        for (path, expected) in table {
            assert_eq!(without_dots(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_location_gives_a_target_that_can_be_asked(location in any::<String>()) {
            if let Redirect::Again { target, .. } = at(false, 80, "/x").redirect([127, 0, 0, 1].into(), &location) {
                prop_assert!(target.path.parse::<PathAndQuery>().is_ok(), "{}", target.path);
            }
        }
    }
}
