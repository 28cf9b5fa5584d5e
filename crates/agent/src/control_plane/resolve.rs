//! Names of the control plane to addresses, without libc.
//!
//! Asked for each new connection: what was true at the last one may have moved. The hosts file goes before DNS, as with glibc; a static program
//! has no other way, because libc's own look-up loads libraries at run time.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use contract::paths;
use hickory_resolver::{TokioResolver, net::NetError};
use runtime::hosts::Hosts;
use tokio::time::timeout;

use super::endpoint::Host;

/// A name without an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither the hosts file nor DNS knows it.
    #[error("{name:?} has no address, is it the control plane's name?")]
    Unknown {
        /// The name.
        name: Box<str>,
        /// Why.
        source: NetError,
    },
    /// No name server answers.
    #[error("no name server of {} told the address of {name:?} within {} s", paths::RESOLV_CONF, LIMIT.as_secs())]
    Timeout {
        /// The name.
        name: Box<str>,
    },
    /// The name servers are not known.
    #[error(
        "{} cannot be used, where the pod's name servers stand",
        paths::RESOLV_CONF
    )]
    Unconfigured(#[source] NetError),
}

/// For all search domains and name servers together.
const LIMIT: Duration = Duration::from_secs(6);
/// Most addresses that are tried.
const MAX_ADDRESSES: usize = 8;

/// The addresses of `host`, in an order of chance where it has several: each is as good, and all sidecars together are to use all of them.
pub(super) async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let name = match host {
        Host::Address(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name,
    };
    let mut found = Hosts::from_system().addresses(name);
    if found.is_empty() {
        found = in_dns(name).await?;
    }
    fastrand::shuffle(&mut found);
    found.truncate(MAX_ADDRESSES);
    let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, port));
    Ok(addresses.collect())
}

/// Asks by a resolver of its own, whose cache and sockets go with it.
async fn in_dns(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let resolver = TokioResolver::builder_tokio()
        .and_then(|builder| builder.build())
        .map_err(ResolveError::Unconfigured)?;
    match timeout(LIMIT, resolver.lookup_ip(name)).await {
        Ok(Ok(found)) => Ok(found.iter().collect()),
        Ok(Err(source)) => Err(ResolveError::Unknown {
            name: name.into(),
            source,
        }),
        Err(_elapsed) => Err(ResolveError::Timeout { name: name.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_asked_of_nobody() {
        let host = Host::Address("192.0.2.7".parse().unwrap());
        let found = resolve(&host, 15012).await.unwrap();
        assert_eq!(found, ["192.0.2.7:15012".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_named() {
        // RFC 6761: `invalid` is answered without asking anybody.
        let host = Host::Name("nowhere.invalid.".into());
        let error = resolve(&host, 15012).await.unwrap_err().to_string();
        assert!(error.contains("nowhere.invalid."), "{error}");
    }
}
