//! What the clients of a port speak, as its author declares it.
//!
//! Kubernetes knows two ways of saying it: the first part of the port's name, `http-web`, and `appProtocol`, which wins. The rules are
//! Istio's (`pkg/config/kube`, `pkg/config/protocol`); a port that says neither is [`Protocol::Auto`] and its traffic is looked at.

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1; upgrades, such as WebSocket, included.
    Http,
    /// HTTP/2 without TLS, from the first byte.
    Http2,
    /// gRPC, which is HTTP/2 with trailers.
    Grpc,
    /// Bytes that nothing is known about: also TLS of the application's own, mongo, mysql and redis.
    Tcp,
    /// Datagrams, which the mesh does not carry.
    Udp,
    /// Nobody said; the first bytes decide.
    #[default]
    Auto,
}

/// Ports whose servers speak first, so that looking at a client's first bytes would only delay it: SMTP, DNS, MySQL, MongoDB.
const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];

// === impl Protocol ===

impl Protocol {
    /// The protocol of `port` of a service. Texts of any case, `HTTP2-web` as well as `http2-web`; an unknown text says nothing.
    #[must_use]
    pub fn declared(port: u16, name: &str, app_protocol: Option<&str>) -> Self {
        let protocol = match app_protocol.filter(|text| !text.is_empty()) {
            Some(text) => Self::of_app_protocol(text),
            None => Self::of_name(name),
        };
        match protocol {
            Self::Auto => Self::undeclared(port),
            declared => declared,
        }
    }

    /// The protocol of a port that nobody has said anything about.
    #[must_use]
    pub fn undeclared(port: u16) -> Self {
        if WELL_KNOWN_TCP.contains(&port) {
            Self::Tcp
        } else {
            Self::Auto
        }
    }

    /// The name, as in the configuration dump.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Auto => "auto",
        }
    }

    fn of_app_protocol(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "kubernetes.io/h2c" => Self::Http2,
            "kubernetes.io/ws" => Self::Http,
            // TLS of the application's own.
            "kubernetes.io/wss" => Self::Tcp,
            // The discovery protocol's name for it.
            "http11" => Self::Http,
            other => Self::of_name(other),
        }
    }

    fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name == "grpc-web" || name.starts_with("grpc-web-") {
            return Self::Http2;
        }
        match name.split('-').next().unwrap_or_default() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" => Self::Tcp,
            "udp" => Self::Udp,
            _ => Self::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_app_protocols_declare_as_in_istio() {
        let table = [
            (80, "http", None, Protocol::Http),
            (80, "http-web", None, Protocol::Http),
            (80, "HTTP-Web", None, Protocol::Http),
            (80, "httpweb", None, Protocol::Auto),
            (80, "web", None, Protocol::Auto),
            (80, "", None, Protocol::Auto),
            (80, "http2-x", None, Protocol::Http2),
            (80, "grpc", None, Protocol::Grpc),
            (80, "grpc-web", None, Protocol::Http2),
            (80, "grpc-web-ui", None, Protocol::Http2),
            (80, "grpc-webhook", None, Protocol::Grpc),
            (443, "https", None, Protocol::Tcp),
            (443, "tls-x", None, Protocol::Tcp),
            (6379, "redis", None, Protocol::Tcp),
            (53, "udp-dns", None, Protocol::Udp),
            (53, "dns", None, Protocol::Tcp),
            (3306, "db", None, Protocol::Tcp),
            (3306, "http-db", None, Protocol::Http),
            (25, "", None, Protocol::Tcp),
            (27017, "", Some(""), Protocol::Tcp),
            (80, "tcp", Some("http"), Protocol::Http),
            (80, "http", Some("kubernetes.io/h2c"), Protocol::Http2),
            (80, "http", Some("kubernetes.io/ws"), Protocol::Http),
            (80, "http", Some("kubernetes.io/wss"), Protocol::Tcp),
            (80, "", Some("HTTP11"), Protocol::Http),
            (80, "", Some("GRPC"), Protocol::Grpc),
            (80, "http", Some("example.com/own"), Protocol::Auto),
        ];
        for (port, name, app_protocol, expected) in table {
            assert_eq!(
                Protocol::declared(port, name, app_protocol),
                expected,
                "{port} {name} {app_protocol:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(port in any::<u16>(), name in any::<String>(), app_protocol in any::<Option<String>>()) {
            let _ = Protocol::declared(port, &name, app_protocol.as_deref());
        }
    }
}
