//! Which service a host name means.
//!
//! Asked once a request with the bytes of the `Host` field, so it allocates nothing: the name is written in lower case into a buffer
//! on the stack, completed there by the rules of a pod's DNS search list, and looked up. Only full names are kept, so a service costs
//! one entry.

use std::{collections::HashMap, ops::Range, sync::Arc};

/// Full names in lower case without a final dot; `*.example.com` stands for every name below `example.com`.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Positions of a service's ports, by its name.
    by_name: HashMap<Arc<str>, Range<u32>>,
    /// What completes `svc`, `svc.ns` and `svc.ns.svc`: `.shop.svc.cluster.local`, `.svc.cluster.local` and `.cluster.local`.
    suffixes: [Box<str>; 3],
    n_wildcards: usize,
}

/// A host as a client writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host<'a> {
    pub(super) name: &'a [u8],
    pub(super) port: Option<u16>,
}

/// A name on the stack.
struct Buffer {
    bytes: [u8; LONGEST],
    len: usize,
}

/// Longest name that DNS allows (RFC 1035, 2.3.4), without the final dot.
pub(super) const LONGEST: usize = 253;

// === impl Names ===

impl Names {
    pub(super) fn new(
        by_name: HashMap<Arc<str>, Range<u32>>,
        namespace: &str,
        domain: &str,
    ) -> Self {
        let n_wildcards = by_name.keys().filter(|name| name.starts_with('*')).count();
        Self {
            by_name,
            suffixes: [
                format!(".{namespace}.svc.{domain}").into(),
                format!(".svc.{domain}").into(),
                format!(".{domain}").into(),
            ],
            n_wildcards,
        }
    }

    /// Positions of the ports of the service that `name` means: by its full name, by a short one, by the nearest wildcard.
    pub(super) fn find(&self, name: &[u8]) -> Option<Range<u32>> {
        let mut buffer = Buffer::new(name)?;
        let len = buffer.len;
        let labels = buffer.text()?.split('.').count();
        if let Some(found) = self.by_name.get(buffer.text()?) {
            return Some(found.clone());
        }
        if let Some(suffix) = self.suffixes.get(labels.saturating_sub(1))
            && buffer.push(suffix)
            && let Some(found) = self.by_name.get(buffer.text()?)
        {
            return Some(found.clone());
        }
        buffer.len = len;
        self.find_wildcard(&buffer)
    }

    fn find_wildcard(&self, buffer: &Buffer) -> Option<Range<u32>> {
        if self.n_wildcards == 0 {
            return None;
        }
        let name = buffer.text()?;
        // The star stands for one label at least, and its dot is part of the rest.
        let rests = name
            .match_indices('.')
            .filter_map(|(dot, _)| name.get(dot..));
        let mut pattern = Buffer::new(b"*")?;
        for rest in rests {
            pattern.len = 1;
            if pattern.push(rest)
                && let Some(found) = self.by_name.get(pattern.text()?)
            {
                return Some(found.clone());
            }
        }
        None
    }
}

// === impl Host ===

impl<'a> Host<'a> {
    /// Takes the port and a final dot off a `Host` field; nothing if what stands where a port should be is none.
    pub(super) fn parse(host: &'a [u8]) -> Option<Self> {
        let (name, port) = match memchr::memchr(b':', host) {
            Some(colon) => {
                let port = std::str::from_utf8(host.get(colon + 1..)?).ok()?;
                // `+80` would be a number for Rust.
                if port.starts_with('+') {
                    return None;
                }
                let port = if port.is_empty() {
                    None
                } else {
                    Some(port.parse().ok()?)
                };
                (host.get(..colon)?, port)
            }
            None => (host, None),
        };
        Some(Self {
            name: name.strip_suffix(b".").unwrap_or(name),
            port,
        })
    }
}

// === impl Buffer ===

impl Buffer {
    /// `name` in lower case, if it is not longer than a name can be.
    fn new(name: &[u8]) -> Option<Self> {
        let mut buffer = Self {
            bytes: [0; LONGEST],
            len: name.len(),
        };
        let bytes = buffer.bytes.get_mut(..name.len())?;
        bytes.copy_from_slice(name);
        bytes.make_ascii_lowercase();
        Some(buffer)
    }

    /// Adds `text`, if there is room.
    fn push(&mut self, text: &str) -> bool {
        let end = self.len + text.len();
        let Some(room) = self.bytes.get_mut(self.len..end) else {
            return false;
        };
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        true
    }

    /// The name, if it is text at all.
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.len)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(hostnames: &[&str]) -> Names {
        let by_name = hostnames
            .iter()
            .zip(0..)
            .map(|(name, idx)| (Arc::from(*name), idx..idx + 1))
            .collect();
        Names::new(by_name, "shop", "cluster.local")
    }

    #[test]
    fn short_names_are_completed_as_by_a_search_list() {
        let hostnames = [
            "web.shop.svc.cluster.local",
            "web.bank.svc.cluster.local",
            "example.com",
            "web.odd",
            "*.example.com",
            "*.deep.example.com",
        ];
        let names = names(&hostnames);
        let table = [
            ("web", Some(0)),
            ("WEB", Some(0)),
            ("web.shop", Some(0)),
            ("web.shop.svc", Some(0)),
            ("web.shop.svc.cluster.local", Some(0)),
            ("Web.Bank.Svc", Some(1)),
            ("example.com", Some(2)),
            // A full name is nearer than a completed one.
            ("web.odd", Some(3)),
            ("a.example.com", Some(4)),
            ("a.b.example.com", Some(4)),
            ("a.deep.example.com", Some(5)),
            ("deep.example.com", Some(4)),
            ("web.shop.svc.cluster", None),
            ("web.cluster.local", None),
            ("bank", None),
            ("", None),
            (".", None),
            ("shop.svc.cluster.local", None),
            ("10.0.0.1", None),
        ];
        for (name, expected) in table {
            let found = names.find(name.as_bytes()).map(|ports| ports.start);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_port_and_a_final_dot_are_no_part_of_the_name() {
        type Parsed = Option<(&'static str, Option<u16>)>;
        let table: [(&str, Parsed); 12] = [
            ("web", Some(("web", None))),
            ("web:80", Some(("web", Some(80)))),
            ("web.:80", Some(("web", Some(80)))),
            ("web.", Some(("web", None))),
            ("web:", Some(("web", None))),
            ("web:+80", None),
            ("web:80x", None),
            ("web:65536", None),
            ("web:00080", Some(("web", Some(80)))),
            ("web:80:80", None),
            ("[::1]:80", None),
            ("", Some(("", None))),
        ];
        for (host, expected) in table {
            let parsed = Host::parse(host.as_bytes());
            let parsed = parsed.map(|host| (std::str::from_utf8(host.name).unwrap(), host.port));
            assert_eq!(parsed, expected, "{host}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_nobodys() {
        let names = names(&["web.shop.svc.cluster.local"]);
        assert_eq!(names.find(&[b'a'; LONGEST]), None);
        assert_eq!(names.find(&[b'a'; LONGEST + 1]), None);
        assert_eq!(names.find(&[b'a'; 100_000]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let names = names(&["web.shop.svc.cluster.local", "*.example.com"]);
            if let Some(host) = Host::parse(&bytes) {
                let _ = names.find(host.name);
            }
        }

        #[test]
        fn every_full_name_is_found(name in "[a-z]{1,20}(\\.[a-z]{1,20}){0,5}") {
            prop_assert_eq!(names(&[&name]).find(name.to_ascii_uppercase().as_bytes()), Some(0..1));
        }
    }
}
