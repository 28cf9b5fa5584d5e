//! Which names of a host are this machine itself.

use std::net::{IpAddr, SocketAddr};

/// Whether the bytes of a `Host` field or of an authority mean a loopback address: `localhost`, or such an address, with a port or not.
pub(super) fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return is_loopback_address(address.ip());
    }
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(host).parse() {
        return is_loopback_address(address);
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.')
        .unwrap_or(name)
        .eq_ignore_ascii_case("localhost")
}

fn is_loopback_address(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_pass() {
        for host in [
            "localhost",
            "LOCALHOST:15000",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:15000",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:15000",
            "[::ffff:127.0.0.1]:15000",
        ] {
            assert!(is_loopback(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:15000",
            "localhost.evil.example",
            "evil.example:localhost",
            "10.0.0.1:15000",
            "127.0.0.1.evil.example",
            "[fd00::1]:15000",
            "::",
            "localhost:15000x",
            "\u{e9}",
        ] {
            assert!(!is_loopback(host.as_bytes()), "{host}");
        }
        assert!(!is_loopback(b"localhost\xff"));
    }
}
