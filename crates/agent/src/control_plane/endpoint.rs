//! Where the control plane is, and how it is to be spoken to.
//!
//! `config` parses the texts that it is given; [`connect`](Endpoint::connect) is in a module of its own. An `Endpoint` that exists has a
//! host that can be looked up and a name that a certificate can be for.

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use contract::{paths, ports};
use http::Uri;
use rustls::pki_types::ServerName;

/// An address of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) server_name: ServerName<'static>,
    pub(super) roots: PathBuf,
    origin: Uri,
}

/// What comes before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(Box<str>),
    Address(IpAddr),
}

/// Why a text is no address of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a name or an IP address with a port, such as istiod.istio-system.svc:15012")]
pub struct AddressError;

// === impl Endpoint ===

impl Endpoint {
    /// Reads `istiod.istio-system.svc:15012`, `10.96.0.7:15012` or `[fd00::7]:15012`. Port 15010 is spoken to without TLS, as in Istio.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port, server_name) = match text.parse::<SocketAddr>() {
            Ok(address) => {
                let ip = address.ip();
                (Host::Address(ip), address.port(), ServerName::from(ip))
            }
            Err(_) => {
                let (name, port) = text.rsplit_once(':').ok_or(AddressError)?;
                let port = port.parse().map_err(|_| AddressError)?;
                let server_name = dns_name(name)?;
                (Host::Name(name.into()), port, server_name)
            }
        };
        if port == 0 {
            return Err(AddressError);
        }
        let scheme = if port == ports::DISCOVERY_PLAINTEXT {
            "http"
        } else {
            "https"
        };
        let origin = format!("{scheme}://{host}:{port}");
        Ok(Self {
            origin: origin.parse().map_err(|_| AddressError)?,
            host,
            port,
            server_name,
            roots: PathBuf::from(paths::ROOT_CERT),
        })
    }

    /// The same, where the server's certificate is for `name` rather than for the host of the address.
    ///
    /// # Errors
    /// When that is no name.
    pub fn named(mut self, name: &str) -> Result<Self, AddressError> {
        self.server_name = dns_name(name)?;
        Ok(self)
    }

    /// The same, verified against the roots in `file`, PEM, instead of the mesh's.
    #[must_use]
    pub fn rooted_in(mut self, file: PathBuf) -> Self {
        self.roots = file;
        self
    }

    /// The file with the roots that the server's certificate has to lead to.
    #[must_use]
    pub fn roots(&self) -> &Path {
        &self.roots
    }

    /// Scheme and authority of requests, for `with_origin` of the generated clients.
    #[must_use]
    pub fn origin(&self) -> Uri {
        self.origin.clone()
    }

    /// Whether the connection is not encrypted.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        self.port == ports::DISCOVERY_PLAINTEXT
    }
}

/// The address as it was given.
impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

// === impl Host ===

/// An IPv6 address in brackets.
impl Display for Host {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A name that certificates can be for; a dot at its end says that it is whole and is no part of it.
fn dns_name(text: &str) -> Result<ServerName<'static>, AddressError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    match ServerName::try_from(text.to_owned()) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        _ => Err(AddressError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_give_host_port_name_and_origin() {
        let table = [
            (
                "istiod.istio-system.svc:15012",
                "https://istiod.istio-system.svc:15012/",
                false,
            ),
            (
                "istiod-canary.istio-system.svc.cluster.local.:15012",
                "https://istiod-canary.istio-system.svc.cluster.local.:15012/",
                false,
            ),
            ("istiod:15010", "http://istiod:15010/", true),
            ("10.96.0.7:443", "https://10.96.0.7:443/", false),
            ("[fd00::7]:15012", "https://[fd00::7]:15012/", false),
        ];
        for (text, origin, is_plaintext) in table {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.origin().to_string(), origin, "{text}");
            assert_eq!(endpoint.is_plaintext(), is_plaintext, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":15012",
            "istiod",
            "istiod:",
            "istiod:0",
            "istiod:65536",
            "istiod:http",
            "https://istiod:15012",
            "istiod:15012/path",
            "two words:15012",
            "fd00::7",
            "[istiod]:15012",
            "user@istiod:15012",
            "-a-:15012",
        ] {
            assert_eq!(Endpoint::parse(text), Err(AddressError), "{text}");
        }
    }

    #[test]
    fn the_certificate_may_be_for_another_name() {
        let endpoint = Endpoint::parse("127.0.0.1:15012").unwrap();
        let named = endpoint.clone().named("istiod.istio-system.svc").unwrap();
        assert_eq!(
            named.server_name,
            ServerName::try_from("istiod.istio-system.svc").unwrap()
        );
        assert_eq!(named.to_string(), "127.0.0.1:15012");
        assert_eq!(endpoint.named("not a name"), Err(AddressError));
    }
}
