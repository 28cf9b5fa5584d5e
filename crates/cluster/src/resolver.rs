//! Names of API servers and proxies to addresses, without libc.
//!
//! Called by the client's connector for each new connection to a name; addresses never come here.
//! As with glibc the hosts file goes before DNS, and a system without name servers has one on the loopback. A static program has no other way:
//! libc's own look-up loads libraries at run time.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use hyper_util::client::legacy::connect::dns;
use runtime::hosts::Hosts;
use tower_service::Service;

/// The resolver of the system's configuration: `/etc/hosts`, `/etc/resolv.conf`.
#[derive(Clone)]
pub(crate) struct Resolver {
    hosts: Arc<Hosts>,
    /// `None` where the system's configuration cannot be used.
    dns: Option<TokioResolver>,
}

/// A name without an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither the hosts file nor DNS knows it.
    #[error("cannot find the address of {name:?}")]
    Lookup {
        /// The name.
        name: String,
        /// Why.
        source: NetError,
    },
    /// No name server answers.
    #[error("no name server of /etc/resolv.conf told the address of {name:?} within {limit:?}")]
    Timeout {
        /// The name.
        name: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The system's configuration of DNS cannot be used, and the hosts file does not have the name.
    #[error("cannot find the address of {name:?}: /etc/resolv.conf cannot be used")]
    Unconfigured {
        /// The name.
        name: String,
    },
}

type Addresses = std::vec::IntoIter<SocketAddr>;

/// Shorter than the time limit of the whole connection, so that the error names the name.
const LIMIT: Duration = Duration::from_secs(6);

// === impl Resolver ===

impl Resolver {
    pub(crate) fn from_system() -> Self {
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
            let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
            TokioResolver::builder_with_config(config, provider)
        });
        Self {
            hosts: Arc::new(Hosts::from_system()),
            dns: builder.build().ok(),
        }
    }

    async fn lookup(self, host: String) -> Result<Addresses, ResolveError> {
        let known = self.hosts.addresses(&host);
        if !known.is_empty() {
            return Ok(sockets(known));
        }
        let Some(dns) = self.dns else {
            return Err(ResolveError::Unconfigured { name: host });
        };
        match tokio::time::timeout(LIMIT, dns.lookup_ip(host.as_str())).await {
            Ok(Ok(found)) => Ok(sockets(found.iter())),
            Ok(Err(source)) => Err(ResolveError::Lookup { name: host, source }),
            Err(_) => Err(ResolveError::Timeout {
                name: host,
                limit: LIMIT,
            }),
        }
    }
}

impl Service<dns::Name> for Resolver {
    type Response = Addresses;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Addresses, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        Box::pin(self.clone().lookup(name.as_str().to_owned()))
    }
}

/// The connector puts the port in.
fn sockets(addresses: impl IntoIterator<Item = IpAddr>) -> Addresses {
    let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
    sockets.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(hosts: &str) -> Resolver {
        Resolver {
            hosts: Arc::new(Hosts::from_text(hosts)),
            ..Resolver::from_system()
        }
    }

    async fn addresses(resolver: &mut Resolver, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let found = resolver.call(name.parse().unwrap()).await?;
        Ok(found.map(|address| address.ip()).collect())
    }

    #[tokio::test]
    async fn the_hosts_file_goes_first_for_both_families() {
        let mut resolver = resolver("192.0.2.7 api api.example.org\n2001:db8::7 API\n");
        let both: [IpAddr; 2] = ["2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        assert_eq!(addresses(&mut resolver, "api").await.unwrap(), both);
        assert_eq!(addresses(&mut resolver, "Api").await.unwrap(), both);
        assert_eq!(
            addresses(&mut resolver, "api.example.org").await.unwrap(),
            both[1..]
        );
    }

    #[tokio::test]
    async fn localhost_needs_neither_hosts_file_nor_name_server() {
        let found = addresses(&mut resolver(""), "localhost").await.unwrap();
        assert!(
            found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_named_in_the_error() {
        // RFC 6761: `invalid` is answered without asking anybody.
        for name in ["nowhere.invalid.", "no name", &"a".repeat(300)] {
            let error = addresses(&mut resolver(""), name).await.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[tokio::test]
    async fn without_dns_the_hosts_file_still_serves() {
        let mut resolver = Resolver {
            dns: None,
            ..resolver("192.0.2.7 api\n")
        };
        assert_eq!(addresses(&mut resolver, "api").await.unwrap().len(), 1);
        let error = addresses(&mut resolver, "other").await.unwrap_err();
        assert!(error.to_string().contains("\"other\""), "{error}");
    }
}
