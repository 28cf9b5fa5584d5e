//! The two formats of a line, written without allocating.
//!
//! Whatever a peer has sent is escaped and cut, so that no value can end its field or its line.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What one line says.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) started: SystemTime,
    /// `None` for an opaque connection.
    pub(crate) http: Option<Http<'a>>,
    /// 0 where nothing was answered.
    pub(crate) status: u16,
    pub(crate) flags: &'static str,
    /// Why the proxy answered as it did; `via_upstream` when it did not.
    pub(crate) details: Option<&'static str>,
    /// Why the proxy ended the client's connection, one word.
    pub(crate) termination: Option<&'static str>,
    /// Why the connection to the upstream could not be secured, in words that may be the peer's.
    pub(crate) transport_failure: Option<&'a str>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) duration: Duration,
    /// Until the upstream began to answer.
    pub(crate) upstream_time: Option<Duration>,
    pub(crate) upstream_host: Option<SocketAddr>,
    pub(crate) upstream_local: Option<SocketAddr>,
    pub(crate) cluster: Cluster<'a>,
    /// Where the client wanted to go.
    pub(crate) downstream_local: SocketAddr,
    pub(crate) downstream_remote: SocketAddr,
    /// What the client's TLS has asked for (SNI).
    pub(crate) server_name: Option<&'a str>,
    pub(crate) route: Option<&'static str>,
}

/// What the request's head says; empty values are absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Http<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) protocol: &'a str,
    pub(crate) forwarded_for: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) authority: &'a [u8],
}

/// The name of the upstream in Istio's words, which also shows the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cluster<'a> {
    /// `PassthroughCluster` or `BlackHoleCluster`.
    Named(&'a str),
    /// `inbound|8080||`.
    Inbound(u16),
    /// `outbound|80||web.shop.svc.cluster.local`.
    Outbound(u16, &'a str),
}

/// Longest value of a peer that is shown, in bytes before escaping.
const MAX_VALUE: usize = 1024;

/// Adds the line in Istio's default text format.
pub(crate) fn text(line: &Line<'_>, out: &mut Vec<u8>) {
    let http = line.http.unwrap_or_default();
    out.push(b'[');
    timestamp(out, line.started);
    out.extend_from_slice(b"] \"");
    value(out, http.method, Escape::Text);
    out.push(b' ');
    value(out, http.path, Escape::Text);
    out.push(b' ');
    value(out, http.protocol.as_bytes(), Escape::Text);
    out.extend_from_slice(b"\" ");
    number(out, u64::from(line.status));
    word(out, Some(line.flags));
    word(out, line.details);
    word(out, line.termination);
    quoted(out, line.transport_failure.unwrap_or_default().as_bytes());
    for count in [line.bytes_received, line.bytes_sent, millis(line.duration)] {
        out.push(b' ');
        number(out, count);
    }
    out.push(b' ');
    match line.upstream_time {
        Some(time) => number(out, millis(time)),
        None => out.push(b'-'),
    }
    for field in [
        http.forwarded_for,
        http.user_agent,
        http.request_id,
        http.authority,
    ] {
        quoted(out, field);
    }
    out.extend_from_slice(b" \"");
    address(out, line.upstream_host);
    out.extend_from_slice(b"\" ");
    cluster(out, line.cluster, Escape::Text);
    for field in [
        line.upstream_local,
        Some(line.downstream_local),
        Some(line.downstream_remote),
    ] {
        out.push(b' ');
        address(out, field);
    }
    out.push(b' ');
    let server_name = line.server_name.unwrap_or_default();
    value(out, server_name.as_bytes(), Escape::Text);
    word(out, line.route);
    out.push(b'\n');
}

/// Adds the line as an object with Istio's default keys; what is absent is `null`.
pub(crate) fn json<'a>(line: &Line<'a>, out: &mut Vec<u8>) {
    let http = line.http.unwrap_or_default();
    out.extend_from_slice(b"{\"start_time\":\"");
    timestamp(out, line.started);
    out.push(b'"');
    member(out, "method", http.method);
    member(out, "path", http.path);
    member(out, "protocol", http.protocol.as_bytes());
    key(out, "response_code");
    number(out, u64::from(line.status));
    member(out, "response_flags", line.flags.as_bytes());
    member(
        out,
        "response_code_details",
        line.details.unwrap_or_default().as_bytes(),
    );
    let text = |text: Option<&'a str>| text.unwrap_or_default().as_bytes();
    member(
        out,
        "connection_termination_details",
        text(line.termination),
    );
    member(
        out,
        "upstream_transport_failure_reason",
        text(line.transport_failure),
    );
    key(out, "bytes_received");
    number(out, line.bytes_received);
    key(out, "bytes_sent");
    number(out, line.bytes_sent);
    key(out, "duration");
    number(out, millis(line.duration));
    key(out, "upstream_service_time");
    match line.upstream_time {
        Some(time) => number(out, millis(time)),
        None => out.extend_from_slice(b"null"),
    }
    member(out, "x_forwarded_for", http.forwarded_for);
    member(out, "user_agent", http.user_agent);
    member(out, "request_id", http.request_id);
    member(out, "authority", http.authority);
    address_member(out, "upstream_host", line.upstream_host);
    key(out, "upstream_cluster");
    out.push(b'"');
    cluster(out, line.cluster, Escape::Json);
    out.push(b'"');
    address_member(out, "upstream_local_address", line.upstream_local);
    address_member(out, "downstream_local_address", Some(line.downstream_local));
    address_member(
        out,
        "downstream_remote_address",
        Some(line.downstream_remote),
    );
    member(out, "requested_server_name", text(line.server_name));
    member(out, "route_name", line.route.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"}\n");
}

/// How bytes that could end a field are written.
#[derive(Clone, Copy)]
enum Escape {
    /// `\x0a`.
    Text,
    /// `\u000a`; bytes above ASCII count as Latin-1, so that the result is JSON whatever was sent.
    Json,
}

/// A peer's value, `-` if it is empty in a text line.
fn value(out: &mut Vec<u8>, value: &[u8], escape: Escape) {
    if value.is_empty() {
        out.push(b'-');
        return;
    }
    let shown = value.get(..MAX_VALUE).unwrap_or(value);
    // Most values have nothing to escape, and are copied whole.
    for run in shown.split_inclusive(|byte| !is_plain(*byte)) {
        match run.split_last() {
            Some((last, plain)) if !is_plain(*last) => {
                out.extend_from_slice(plain);
                escaped(out, *last, escape);
            }
            _ => out.extend_from_slice(run),
        }
    }
    if shown.len() < value.len() {
        out.extend_from_slice(b"...");
    }
}

/// A peer's value in a field of its own of a text line.
fn quoted(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(b" \"");
    value(out, content, Escape::Text);
    out.push(b'"');
}

/// A word of ours in a field of its own of a text line.
fn word(out: &mut Vec<u8>, word: Option<&str>) {
    out.push(b' ');
    out.extend_from_slice(word.unwrap_or("-").as_bytes());
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

fn escaped(out: &mut Vec<u8>, byte: u8, escape: Escape) {
    match (byte, escape) {
        (b'"' | b'\\', _) => out.extend_from_slice(&[b'\\', byte]),
        (_, Escape::Text) => hexadecimal(out, b"\\x", byte),
        (_, Escape::Json) => hexadecimal(out, b"\\u00", byte),
    }
}

fn hexadecimal(out: &mut Vec<u8>, prefix: &[u8], byte: u8) {
    out.extend_from_slice(prefix);
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(nibble), 16).map_or(b'?', |digit| digit as u8));
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn member(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    key(out, name);
    if content.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    value(out, content, Escape::Json);
    out.push(b'"');
}

fn address_member(out: &mut Vec<u8>, name: &str, content: Option<SocketAddr>) {
    key(out, name);
    match content {
        Some(_) => {
            out.push(b'"');
            address(out, content);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn address(out: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        // Three of them a line: the standard library's way to write one takes more time than the rest of the line.
        Some(SocketAddr::V4(address)) => {
            for (position, octet) in address.ip().octets().into_iter().enumerate() {
                if position > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
            out.push(b':');
            number(out, u64::from(address.port()));
        }
        // Writing to memory does not fail.
        Some(SocketAddr::V6(address)) => drop(write!(out, "{address}")),
        None => out.push(b'-'),
    }
}

fn cluster(out: &mut Vec<u8>, cluster: Cluster<'_>, escape: Escape) {
    match cluster {
        Cluster::Outbound(port, host) => {
            out.extend_from_slice(b"outbound|");
            number(out, u64::from(port));
            out.extend_from_slice(b"||");
            value(out, host.as_bytes(), escape);
        }
        Cluster::Named(name) => out.extend_from_slice(name.as_bytes()),
        Cluster::Inbound(port) => {
            out.extend_from_slice(b"inbound|");
            number(out, u64::from(port));
            out.extend_from_slice(b"||");
        }
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-11-21T05:06:07.089Z`.
fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(b'T');
    padded(out, seconds / 3600, 2);
    out.push(b':');
    padded(out, seconds / 60 % 60, 2);
    out.push(b':');
    padded(out, seconds % 60, 2);
    out.push(b'.');
    padded(out, u64::from(since.subsec_millis()), 3);
    out.push(b'Z');
}

fn padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    out.extend(std::iter::repeat_n(
        b'0',
        width.saturating_sub(digits.len()),
    ));
    out.extend_from_slice(digits);
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are taken to begin in March, so that the leap day is the last of a year and months have a regular pattern of lengths:
/// 153 days for each five of them.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468; // from 1 March of the year 0
    const ERA: u64 = 146_097; // days in 400 years
    let days = days + DAYS_TO_1970;
    let of_era = days % ERA;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = days / ERA * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests;
