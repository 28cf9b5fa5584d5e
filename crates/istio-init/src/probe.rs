//! Real connections that tell whether the rules are in force, whoever set them.
//!
//! Called by [`app`](crate::app) for `--run-validation`, after the rules were set or in the place of
//! that. Which connections tell something is decided by `scheme` from the plan alone; this module
//! makes them, in as many users' names as the process may use, and says which of them did not
//! arrive where it must. A process that can only be the proxy cannot show that an application is
//! captured, and says so.
//!
//! ```text
//! Plan ─┐                     ┌─► listener on the proxy's port ─┐
//!       ├─ scheme ─► Probe ───┼─► listener of its destination   ├─► as expected, or which rule is not there
//! Facts ┘    (pure)           └─► nobody here ──────────────────┘
//! ```

mod connection;
mod facts;
mod read_back;
mod scheme;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    thread,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use self::{
    connection::{Connected, Listener, Token, accepted_at, dial, find},
    read_back::{ReadBack, read_back},
    scheme::{Expected, Probe},
};
use crate::{
    capture::Capture,
    plan::{Backend, Families, Family, Plan},
};

/// How to validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Give up after this time.
    pub timeout: Duration,
    /// Port of the connections to other hosts.
    pub port: NonZeroU16,
}

/// What was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The process could read the rules, and they are those of the plan.
    pub is_read_back: bool,
    /// How many connections fared as they must.
    pub n_connections: usize,
    /// Families in which a connection out was captured.
    pub outbound: Vec<Family>,
    /// Families in which a call to the pod itself was captured as inbound.
    pub inbound: Vec<Family>,
}

/// Why the rules are not shown to be in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// The interfaces cannot be listed.
    #[error("cannot validate the rules: cannot list the addresses of the network namespace")]
    Addresses {
        /// The reason.
        source: Errno,
    },
    /// The proxy's port cannot be listened on.
    #[error("cannot validate the rules: cannot listen on {address}, where they send connections")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// There is no address to connect to.
    #[error(
        "cannot validate the rules: no connection can be made in this network namespace; is the interface lo up?"
    )]
    Nothing,
    /// The kernel has other rules.
    #[error(
        "the rules are not in force: the kernel has others than these flags ask for, the first one that is missing or in another place is {missing}"
    )]
    Different {
        /// The rule, or the name of what differs.
        missing: String,
    },
    /// What the rules need beside themselves is missing.
    #[error(
        "the rules are not in force: inbound TPROXY lacks its routing rule or route, so the proxy gets no packet"
    )]
    Routes,
    /// Connections did not fare as they must.
    #[error("the rules are not in force: {}", one_line(failures))]
    Rules {
        /// One or more.
        failures: Vec<Failure>,
    },
}

/// A connection that did not fare as it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    probe: Probe,
    seen: Seen,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// A listener of ours on this port had it; it was meant for this destination.
    Arrived(SocketAddr, SocketAddr),
    /// Somebody else accepted.
    Stranger,
    /// Nobody accepted.
    Refused(Errno),
    /// Nobody answered.
    Unanswered,
    /// It could not be made.
    Failed(String),
}

/// What is captured is answered from `lo`, in microseconds; a busy machine may take a while.
const ANSWERED: Duration = Duration::from_millis(100);
/// So long is waited for what is to leave.
const UNANSWERED: Duration = Duration::from_millis(50);
/// What is accepted is handed over at once, or was accepted by somebody else.
const HANDED_OVER: Duration = Duration::from_millis(200);
/// The last round may take so long, in which it names as many failures as it can.
const OVERTIME: Duration = Duration::from_millis(500);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(50);
/// A message names no more failures than these: the first ones tell enough.
const NAMED: usize = 4;

/// Makes connections until all fare as the plan says, or until the time is up.
///
/// # Errors
/// Which connections do not, or why none could be made.
pub fn validate(
    plan: &Plan,
    backend: Backend,
    capture: &Capture,
    options: Options,
) -> Result<Shown, ValidationError> {
    let end = Instant::now() + options.timeout;
    let is_read_back = match read_back(plan) {
        ReadBack::Different(missing) => return Err(ValidationError::Different { missing }),
        found => found == ReadBack::Equal,
    };
    let proxies = proxies(plan, capture)?;
    loop {
        // An address that is new may not be usable yet, so what there is to probe is looked up again.
        let (facts, servers) = facts::gather(plan.families, capture)
            .map_err(|source| ValidationError::Addresses { source })?;
        let probes = scheme::probes(plan, backend, capture, options.port, &facts);
        let listeners: Vec<&Listener> = proxies.iter().chain(&servers).collect();
        let failures = round(&probes, &listeners, end);
        if failures.is_empty() && !probes.is_empty() {
            return Ok(Shown {
                is_read_back,
                ..scheme::shown(&probes, capture)
            });
        }
        if Instant::now() + PAUSE >= end {
            return Err(match failures.is_empty() {
                true => ValidationError::Nothing,
                false => ValidationError::Rules { failures },
            });
        }
        thread::sleep(PAUSE);
    }
}

/// Makes each connection once; when the time is long up, the failures so far are enough.
fn round(probes: &[Probe], listeners: &[&Listener], end: Instant) -> Vec<Failure> {
    let mut failures = Vec::new();
    for probe in probes {
        let seen = make(probe, listeners);
        if !is_expected(probe, &seen) {
            let probe = probe.clone();
            failures.push(Failure { probe, seen });
            if Instant::now() >= end + OVERTIME {
                break;
            }
        }
    }
    failures
}

/// Listeners in the place of the proxy's; a local connection that is redirected arrives at localhost.
/// Where the proxy listens itself, the kernel's table of connections says what it was given.
fn proxies(plan: &Plan, capture: &Capture) -> Result<Vec<Listener>, ValidationError> {
    let mut listeners = Vec::new();
    let mut ports = vec![capture.outbound_port, capture.inbound_port];
    ports.extend(scheme::dns_port(capture));
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let mut addresses = vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.get())];
        if plan.families == Families::V4AndV6 {
            addresses.push(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port.get()));
        }
        for address in addresses {
            match Listener::bind(address) {
                Ok(listener) => listeners.push(listener),
                // The proxy runs already, as where the kubelet runs an init container again.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(source) => return Err(ValidationError::Listen { address, source }),
            }
        }
    }
    Ok(listeners)
}

fn make(probe: &Probe, listeners: &[&Listener]) -> Seen {
    let token = Token::new();
    let limit = match probe.expected {
        Expected::Elsewhere => UNANSWERED,
        Expected::Proxy(_) | Expected::Destination => ANSWERED,
    };
    match dial(probe.owner, probe.source, probe.destination, limit) {
        Ok(Connected::Accepted(mut stream)) => {
            if let Err(error) = token.say(&mut stream) {
                return Seen::Failed(error.to_string());
            }
            match find(listeners, token, HANDED_OVER) {
                Some((listener, meant)) => Seen::Arrived(listener.address, meant),
                None => match stream.local_addr().ok().and_then(accepted_at) {
                    Some(port) => {
                        let at = SocketAddr::new(probe.destination.ip(), port);
                        Seen::Arrived(at, probe.destination)
                    }
                    None => Seen::Stranger,
                },
            }
        }
        Ok(Connected::Refused(reason)) => Seen::Refused(reason),
        Ok(Connected::Unanswered) => Seen::Unanswered,
        Err(error) => Seen::Failed(error.to_string()),
    }
}

fn is_expected(probe: &Probe, seen: &Seen) -> bool {
    let is_meant = |meant: &SocketAddr| {
        (meant.ip(), meant.port()) == (probe.destination.ip(), probe.destination.port())
    };
    match (probe.expected, seen) {
        (Expected::Proxy(port), Seen::Arrived(at, meant)) => {
            at.port() == port.get() && is_meant(meant)
        }
        (Expected::Destination, Seen::Arrived(at, _)) => *at == probe.destination,
        (Expected::Elsewhere, Seen::Arrived(..) | Seen::Failed(_)) => false,
        (Expected::Elsewhere, _) => true,
        (Expected::Proxy(_) | Expected::Destination, _) => false,
    }
}

fn one_line(failures: &[Failure]) -> String {
    let named = failures.iter().take(NAMED).map(Failure::to_string);
    let mut text = named.collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = failures.len().checked_sub(NAMED) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, but ", self.probe)?;
        match &self.seen {
            Seen::Arrived(at, meant) if at.port() == meant.port() => {
                f.write_str("it was not captured")?;
            }
            Seen::Arrived(at, meant) => {
                write!(f, "it arrived at port {}, meant for {meant}", at.port())?;
            }
            Seen::Stranger => f.write_str("somebody else accepted it")?,
            Seen::Refused(reason) => write!(f, "nobody accepted it ({})", reason.desc())?,
            Seen::Unanswered => f.write_str("it left the pod")?,
            Seen::Failed(reason) => write!(f, "it could not be made ({reason})")?,
        }
        match self.probe.rules.as_str() {
            "" => Ok(()),
            rules => write!(f, "; see the rules {rules}"),
        }
    }
}

// === impl Shown ===

/// `rules validated by 12 connections; capture outbound: IPv4 and IPv6, inbound: IPv4`
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = |families: &[Family]| match families {
            [] => "not shown",
            [Family::V4] => "IPv4",
            [Family::V6] => "IPv6",
            _ => "IPv4 and IPv6",
        };
        write!(
            f,
            "rules validated{} by {} connections; capture outbound: {}, inbound: {}",
            if self.is_read_back {
                ", as read back and"
            } else {
                ""
            },
            self.n_connections,
            families(&self.outbound),
            families(&self.inbound)
        )
    }
}
