//! Where a value comes from, and what kinds of values there are.
//!
//! Called by the checks; pure. Each reader takes one text and gives a typed value, or says what it
//! expected, so that the caller can put the flag's name in front.

use std::{
    ffi::OsString,
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use contract::ids;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::options::{ALL, Spec};
use crate::capture::PortRange;

/// All options with the value that counts for each.
#[derive(Debug)]
pub(super) struct Settings {
    given: Vec<(&'static Spec, String)>,
    environment: Vec<(&'static Spec, &'static str, String)>,
}

/// An option's value and its origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// The value as text.
    pub(super) value: &'a str,
    spec: &'static Spec,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Flag,
    Variable(&'static str),
    Default,
}

/// Longest part of a value that messages show, in characters.
const SHOWN: usize = 100;

// === impl Settings ===

impl Settings {
    /// Takes the flags as given and looks up every option's variables.
    pub(super) fn new(
        given: Vec<(&'static Spec, String)>,
        variables: &dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        let read = |name: &'static str| {
            let value = variables(name)?.to_string_lossy().into_owned();
            (!value.is_empty()).then_some((name, value))
        };
        let environment = ALL
            .iter()
            .filter_map(|spec| {
                let (name, value) = spec.env.iter().find_map(|name| read(name))?;
                Some((*spec, name, value))
            })
            .collect();
        Self { given, environment }
    }

    /// The flag if given, else the variable if set, else the default.
    pub(super) fn of(&self, spec: &'static Spec) -> Setting<'_> {
        let flag = self
            .given
            .iter()
            .rev()
            .find(|(known, _)| std::ptr::eq(*known, spec));
        if let Some((_, value)) = flag {
            return Setting {
                value,
                spec,
                source: Source::Flag,
            };
        }
        let variable = self
            .environment
            .iter()
            .find(|(known, ..)| std::ptr::eq(*known, spec));
        if let Some((_, name, value)) = variable {
            return Setting {
                value,
                spec,
                source: Source::Variable(name),
            };
        }
        Setting {
            value: spec.default,
            spec,
            source: Source::Default,
        }
    }
}

// === impl Setting ===

impl Setting<'_> {
    /// Names the flag and its variables, and shows `part`, the piece of the value that is meant.
    pub(super) fn origin(&self, part: &str) -> String {
        let shown: String = part.chars().take(SHOWN).collect();
        let flag = self.spec.flag;
        match self.source {
            Source::Variable(name) if flag.is_empty() => format!("{name}={shown:?}"),
            Source::Variable(name) => format!("{name}={shown:?} (flag --{flag})"),
            Source::Flag | Source::Default if self.spec.env.is_empty() => {
                format!("--{flag} {shown:?}")
            }
            Source::Flag | Source::Default => {
                format!("--{flag} {shown:?} (env {})", self.spec.env.join(", "))
            }
        }
    }
}

/// A boolean as Go's strconv reads it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// A number in decimal digits alone: no sign, no blank.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A port, 1 to 65535.
pub(super) fn port(text: &str) -> Result<NonZeroU16, String> {
    let port = number(text)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(NonZeroU16::new);
    port.ok_or_else(|| "a port from 1 to 65535".to_owned())
}

/// A packet mark other than the one that the rules need for themselves.
pub(super) fn mark(text: &str) -> Result<NonZeroU32, String> {
    let mark = number(text).filter(|mark| *mark != ids::SELF_CALL_MARK);
    mark.and_then(NonZeroU32::new).ok_or_else(|| {
        format!(
            "a number from 1 to 4294967295 other than {}, the mark of what the proxy sends to its own pod",
            ids::SELF_CALL_MARK
        )
    })
}

/// A routing table other than those of the kernel, which hold the namespace's own routes.
pub(super) fn route_table(text: &str) -> Result<NonZeroU32, String> {
    let table = number(text).filter(|table| !(253..=255).contains(table));
    table.and_then(NonZeroU32::new).ok_or_else(|| {
        "a number from 1 to 4294967295 other than 253, 254 and 255, the kernel's own tables"
            .to_owned()
    })
}

/// `80`, `6000-8000` or iptables' `6000:8000`.
pub(super) fn port_range(text: &str) -> Result<PortRange, String> {
    let expected = || "a port from 1 to 65535 or a range such as 6000-8000".to_owned();
    let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
    let (first, last) = (
        port(first).map_err(|_| expected())?,
        port(last).map_err(|_| expected())?,
    );
    PortRange::new(first, last)
        .ok_or_else(|| "a range whose first port is the lower one".to_owned())
}

/// `10.0.0.0/8` or `fd00::/8`, with an address as Rust's standard library reads it.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let expected = || "a network such as 10.0.0.0/8 or fd00::/8".to_owned();
    let (address, prefix) = text
        .split_once('/')
        .ok_or_else(|| format!("{}, a single address ends in /32 or /128", expected()))?;
    let prefix = number(prefix)
        .and_then(|prefix| u8::try_from(prefix).ok())
        .ok_or_else(expected)?;
    let address = address.parse().map_err(|_| expected())?;
    let network = IpNet::new(address, prefix)
        .map_err(|_| "a prefix length of at most 32 for IPv4, 128 for IPv6".to_owned())?;
    match network {
        // Such a network holds no IPv6 packet, so whoever writes it means IPv4, and would not get
        // it.
        IpNet::V6(network) if MAPPED_V4.contains(&network) => {
            Err("an IPv4 network in IPv4's notation".to_owned())
        }
        IpNet::V6(_) | IpNet::V4(_) => Ok(network),
    }
}

/// IPv4 addresses dressed as IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED_V4: Ipv6Net =
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// An IPv4 loopback network with a prefix of 8 to 32.
pub(super) fn loopback(text: &str) -> Result<Ipv4Net, String> {
    match network(text) {
        Ok(IpNet::V4(network)) if network.addr().is_loopback() && network.prefix_len() >= 8 => {
            Ok(network)
        }
        Ok(_) | Err(_) => {
            Err("an IPv4 loopback network such as 127.0.0.1/32, its prefix 8 to 32".to_owned())
        }
    }
}

/// Go's notation of a time span that is not negative: `5s`, `1m30s`, `0.5s`, `300ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let expected = || "a time span with a unit such as 5s or 500ms".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let amount = rest.strip_suffix(after).unwrap_or_default();
        let amount = amount.parse::<f64>().map_err(|_| expected())?;
        let unit = after
            .split(|c: char| c.is_ascii_digit() || c == '.')
            .next()
            .unwrap_or_default();
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, factor) = known.ok_or_else(expected)?;
        seconds += amount * factor;
        rest = after.strip_prefix(unit).unwrap_or_default();
    }
    if text.is_empty() {
        return Err(expected());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| expected())
}
