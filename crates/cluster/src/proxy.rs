//! Which proxy stands between here and the API server.
//!
//! Called once, when the client of a kubeconfig is made; what a pod's service account leads to is never proxied.
//! The kubeconfig's own `proxy-url` decides; without one the environment does (`HTTPS_PROXY`, `NO_PROXY` and their kin), but not for the loopback.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The proxy for `server`, if there is one.
pub(crate) fn of(server: &Uri, proxy_url: Option<&str>) -> Option<Intercept> {
    match proxy_url.filter(|url| !url.is_empty()) {
        Some(url) => Matcher::builder().all(url).build().intercept(server),
        None if is_loopback(server) => None,
        None => Matcher::from_env().intercept(server),
    }
}

/// As in Go's `net/http`: a local server, such as kind's, is never behind a proxy of the environment.
fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_the_kubeconfig_holds_even_for_the_loopback() {
        for server in ["https://127.0.0.1:6443", "https://api.example.org"] {
            let proxy = of(
                &server.parse().unwrap(),
                Some("http://me:secret@proxy.example.org:3128"),
            )
            .unwrap();
            assert_eq!(proxy.uri().host(), Some("proxy.example.org"));
            assert!(proxy.basic_auth().is_some());
        }
    }

    #[test]
    fn the_loopback_is_known_in_all_of_its_forms() {
        for server in [
            "https://127.0.0.1:6443",
            "https://127.1.2.3",
            "http://[::1]:8080",
            "http://localhost:1",
        ] {
            assert!(is_loopback(&server.parse().unwrap()), "{server}");
        }
        for server in [
            "https://10.0.0.1",
            "https://[2001:db8::1]",
            "https://localhost.example.org",
        ] {
            assert!(!is_loopback(&server.parse().unwrap()), "{server}");
        }
    }
}
