//! Where a client connects to: `http://server.demo:8080/path` or `server:9000`, and how it gets there.
//!
//! Every client parses its argument into a [`Target`] and opens connections through [`Target::connect`].
//! Names are looked up for each connection, as an application without a cache does, so a Service that moves is followed.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use hickory_resolver::TokioResolver;
use http::Uri;
use tokio::{net::TcpStream, time::timeout};

/// A host and a port, and for HTTP the path.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    host: String,
    port: u16,
    /// The `Host` header.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    resolver: Option<TokioResolver>,
}

// === impl Target ===

impl Target {
    /// Parses `http://HOST[:PORT][/PATH]`, or `ws://…` alike.
    ///
    /// # Errors
    /// Another scheme, or no host.
    pub(crate) fn parse_url(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        ensure!(
            matches!(uri.scheme_str(), Some("http" | "ws")),
            "{url} begins neither with http:// nor with ws://"
        );
        let authority = uri
            .authority()
            .with_context(|| format!("{url} names no host"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Self::new(
            authority.host(),
            authority.port_u16().unwrap_or(80),
            authority.as_str(),
            path,
        )
    }

    /// Parses `HOST:PORT`.
    ///
    /// # Errors
    /// There is no port, or it is no number.
    pub(crate) fn parse_address(address: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{address} is not of the form HOST:PORT");
        let (host, port) = address.rsplit_once(':').with_context(wrong)?;
        Self::new(host, port.parse().with_context(wrong)?, address, "/")
    }

    fn new(host: &str, port: u16, authority: &str, path: &str) -> anyhow::Result<Self> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ensure!(!host.is_empty(), "the host is empty");
        let resolver = match host.parse::<IpAddr>() {
            Ok(_) => None,
            Err(_) => Some(
                TokioResolver::builder_tokio()
                    .and_then(|builder| builder.build())
                    .context("cannot read /etc/resolv.conf")?,
            ),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.to_owned(),
            resolver,
        })
    }

    /// A new connection, to the first address that takes it.
    ///
    /// # Errors
    /// The name is unknown, or no address took the connection in `limit`.
    pub(crate) async fn connect(&self, limit: Duration) -> anyhow::Result<TcpStream> {
        match timeout(limit, self.try_connect()).await {
            Ok(result) => result,
            Err(_) => bail!("connect: not in {limit:?}"),
        }
    }

    async fn try_connect(&self) -> anyhow::Result<TcpStream> {
        let mut last = None;
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => bail!("connect: {error}"),
            None => bail!("connect: {} has no address", self.host),
        }
    }

    async fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let Some(resolver) = &self.resolver else {
            return Ok(vec![SocketAddr::new(self.host.parse()?, self.port)]);
        };
        match resolver.lookup_ip(self.host.as_str()).await {
            Ok(found) => Ok(found
                .iter()
                .map(|ip| SocketAddr::new(ip, self.port))
                .collect()),
            Err(error) => bail!("resolve: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_host_port_and_path() {
        for (url, host, port, path) in [
            ("http://10.0.0.1", "10.0.0.1", 80, "/"),
            ("http://10.0.0.1:8080/a?b=c", "10.0.0.1", 8080, "/a?b=c"),
            ("ws://[fd00::1]:9000/chat", "fd00::1", 9000, "/chat"),
        ] {
            let target = Target::parse_url(url).unwrap();
            assert_eq!(
                (&*target.host, target.port, &*target.path),
                (host, port, path)
            );
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for url in ["https://10.0.0.1/", "10.0.0.1", "http://", "/path"] {
            assert!(Target::parse_url(url).is_err(), "{url}");
        }
        for address in ["10.0.0.1", "10.0.0.1:", "10.0.0.1:http", ":80"] {
            assert!(Target::parse_address(address).is_err(), "{address}");
        }
    }
}
