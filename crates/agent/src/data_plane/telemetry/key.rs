//! What tells one series from another.
//!
//! The request path puts a [`Key`] together from handles that it holds anyway, so that finding a series neither allocates nor counts
//! references; the table keeps an [`OwnedKey`] of each series. Handles are compared by address, everything else is a small number.

use std::hash::{Hash, Hasher};

use indexmap::Equivalent;

use crate::{
    data_plane::error::Flag,
    peer::{Party, ServiceNames, names::OVERFLOW},
};

/// Which side of the traffic this proxy is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reporter {
    /// Outbound: this workload calls.
    Source,
    /// Inbound: this workload is called.
    Destination,
}

/// What the traffic is for, as far as the proxy knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Outbound to an address that no service of the mesh is known to have.
    Passthrough,
    /// Inbound to a port of this workload.
    InboundPassthrough,
    /// Nowhere: policy refuses it.
    BlackHole,
    /// A service of the mesh.
    Known(ServiceNames),
    /// Any, because there are too many to count them apart.
    Overflow,
}

/// Protocol and, for HTTP, the answer's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Code {
    /// Not HTTP.
    Tcp,
    /// HTTP with this status; 0 where none was sent.
    Http(u16),
    /// HTTP with a status that came after all places were taken.
    HttpOverflow,
}

/// How the connection between the two proxies was secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Security {
    /// Not at all, or by the application itself.
    Plaintext,
    /// Both sides have proven who they are.
    MutualTls,
}

/// What tells one series of a worker from another, to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) reporter: Reporter,
    /// The other side: the destination where the source reports, else the source.
    pub(crate) peer: &'a Party,
    pub(crate) service: &'a Service,
    pub(crate) code: Code,
    pub(crate) flag: Flag,
    pub(crate) security: Security,
}

/// The same, to keep it.
#[derive(Clone, Debug)]
pub(crate) struct OwnedKey {
    reporter: Reporter,
    peer: Party,
    service: Service,
    code: Code,
    flag: Flag,
    security: Security,
}

// === impl Service ===

impl Service {
    /// The short name; Istio's name of what is no service.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Passthrough => "PassthroughCluster",
            Self::InboundPassthrough => "InboundPassthroughCluster",
            Self::BlackHole => "BlackHoleCluster",
            Self::Known(names) => &names.name,
            Self::Overflow => OVERFLOW,
        }
    }
}

// === impl Security ===

impl Security {
    /// What a connection is whose other side has proven who it is, or has not.
    pub(crate) fn of(is_proven: bool) -> Self {
        if is_proven {
            Self::MutualTls
        } else {
            Self::Plaintext
        }
    }
}

// === impl Key ===

impl Key<'_> {
    /// The key of everybody and every service together.
    pub(super) fn of_anybody(self) -> Self {
        Self {
            peer: Party::overflow(),
            service: &Service::Overflow,
            ..self
        }
    }

    /// The key of every status together.
    pub(super) fn of_any_code(self) -> Self {
        let code = match self.code {
            Code::Tcp => Code::Tcp,
            Code::Http(_) | Code::HttpOverflow => Code::HttpOverflow,
        };
        Self { code, ..self }
    }

    pub(super) fn to_owned(self) -> OwnedKey {
        OwnedKey {
            reporter: self.reporter,
            peer: self.peer.clone(),
            service: self.service.clone(),
            code: self.code,
            flag: self.flag,
            security: self.security,
        }
    }
}

/// Three words, because what is hashed one by one costs more than finding it.
impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let code = match self.code {
            Code::Http(status) => u64::from(status),
            Code::Tcp => 1 << 16,
            Code::HttpOverflow => 1 << 17,
        };
        let small = [self.reporter as u64, self.flag as u64, self.security as u64];
        let small = small
            .into_iter()
            .fold(code, |word, number| word << 8 | number);
        state.write_u64(small);
        self.peer.hash(state);
        match self.service {
            Service::Known(names) => names.hash(state),
            // The few others are told apart by comparison.
            Service::Passthrough
            | Service::InboundPassthrough
            | Service::BlackHole
            | Service::Overflow => {}
        }
    }
}

impl Equivalent<OwnedKey> for Key<'_> {
    fn equivalent(&self, key: &OwnedKey) -> bool {
        *self == key.as_key()
    }
}

// === impl OwnedKey ===

impl OwnedKey {
    pub(super) fn as_key(&self) -> Key<'_> {
        Key {
            reporter: self.reporter,
            peer: &self.peer,
            service: &self.service,
            code: self.code,
            flag: self.flag,
            security: self.security,
        }
    }
}

impl PartialEq for OwnedKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_key() == other.as_key()
    }
}

impl Eq for OwnedKey {}

impl Hash for OwnedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_key().hash(state);
    }
}
