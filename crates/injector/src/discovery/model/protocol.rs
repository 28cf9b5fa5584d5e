//! What the clients of a Service's port speak, as its author declares it.
//!
//! The rules are Istio's (`pkg/config/kube`): `appProtocol`, else the first part of the port's name; a port that says neither is sniffed,
//! unless servers speak first on ports of its number.

use wire::workload::AppProtocol;

/// Ports whose servers speak first: SMTP, DNS, MySQL, MongoDB.
const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];

/// The protocol of `port`; what is unknown is for the sidecar to find out.
#[must_use]
pub fn declared(port: u16, name: &str, app_protocol: Option<&str>) -> AppProtocol {
    let said = match app_protocol.filter(|text| !text.is_empty()) {
        Some(text) => of_app_protocol(&text.to_ascii_lowercase()),
        None => of_name(&name.to_ascii_lowercase()),
    };
    match said {
        Some(protocol) => protocol,
        None if WELL_KNOWN_TCP.contains(&port) => AppProtocol::Tcp,
        None => AppProtocol::Unknown,
    }
}

fn of_app_protocol(text: &str) -> Option<AppProtocol> {
    match text {
        "kubernetes.io/h2c" => Some(AppProtocol::Http2),
        "kubernetes.io/ws" => Some(AppProtocol::Http11),
        "kubernetes.io/wss" => Some(AppProtocol::Tls),
        other => of_name(other),
    }
}

fn of_name(name: &str) -> Option<AppProtocol> {
    // HTTP/2 with gRPC's messages but not its trailers.
    if name == "grpc-web" || name.starts_with("grpc-web-") {
        return Some(AppProtocol::Http2);
    }
    match name.split('-').next().unwrap_or_default() {
        "http" => Some(AppProtocol::Http11),
        "http2" => Some(AppProtocol::Http2),
        "grpc" => Some(AppProtocol::Grpc),
        // As in Istio, whose proxies know more of the last three only if asked.
        "tcp" | "mongo" | "mysql" | "redis" => Some(AppProtocol::Tcp),
        "tls" | "https" => Some(AppProtocol::Tls),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_app_protocols_declare_as_in_istio() {
        use AppProtocol::{Grpc, Http2, Http11, Tcp, Tls, Unknown};
        let table = [
            (80, "http", None, Http11),
            (80, "HTTP-Web", None, Http11),
            (80, "web", None, Unknown),
            (80, "", None, Unknown),
            (80, "http2-x", None, Http2),
            (80, "grpc", None, Grpc),
            (80, "grpc-web-ui", None, Http2),
            (80, "grpc-webhook", None, Grpc),
            (443, "https", None, Tls),
            (443, "tls-x", None, Tls),
            (6379, "redis", None, Tcp),
            (53, "dns", None, Tcp),
            (3306, "db", None, Tcp),
            (3306, "http-db", None, Http11),
            (27017, "", Some(""), Tcp),
            (80, "tcp", Some("http"), Http11),
            (80, "http", Some("kubernetes.io/h2c"), Http2),
            (80, "http", Some("kubernetes.io/ws"), Http11),
            (80, "http", Some("kubernetes.io/wss"), Tls),
            (80, "", Some("GRPC"), Grpc),
            (80, "http", Some("example.com/own"), Unknown),
        ];
        for (port, name, app_protocol, expected) in table {
            let declared = declared(port, name, app_protocol);
            assert_eq!(declared, expected, "{port} {name} {app_protocol:?}");
        }
    }
}
