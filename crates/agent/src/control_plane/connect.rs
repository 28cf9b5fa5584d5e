//! How a connection is made.
//!
//! One step after the other, each with a limit of time of its own and an error that says which step it was. The future may be dropped at any time;
//! what is made so far is closed then.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use runtime::task::Group;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Channel, ConnectError, Endpoint,
    error::shown,
    resolve::resolve,
    tls::{self, H2},
};

/// For one address; a connection within a cluster takes milliseconds.
const TCP_LIMIT: Duration = Duration::from_secs(3);
/// For TLS and the beginning of HTTP/2, each. A thousand sidecars that start at once may keep the server busy for a while.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

// === impl Endpoint ===

impl Endpoint {
    /// Makes a connection. Its tasks belong to `group` and end with it, or when the last clone of the channel is dropped.
    ///
    /// # Errors
    /// Any [`ConnectError`]; all of them may be over at the next attempt.
    pub async fn connect(&self, group: &Group) -> Result<Channel, ConnectError> {
        let addresses =
            resolve(&self.host, self.port)
                .await
                .map_err(|source| ConnectError::Resolve {
                    endpoint: shown(self),
                    source,
                })?;
        let stream = self.dial(&addresses).await?;
        if self.is_plaintext() {
            return self.begin(stream, group).await;
        }
        let stream = Box::pin(self.secure(stream)).await?;
        if stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(ConnectError::NotHttp2 {
                endpoint: shown(self),
            });
        }
        self.begin(stream, group).await
    }

    async fn dial(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        let mut failed = None;
        for address in addresses {
            let error = match timeout(TCP_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small messages, and somebody waits for each; without it they only come later.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => error,
                Err(elapsed) => io::Error::new(io::ErrorKind::TimedOut, elapsed),
            };
            failed = Some((*address, error));
        }
        let (last, source) = failed.unwrap_or_else(|| {
            let unspecified = SocketAddr::from(([0, 0, 0, 0], self.port));
            (unspecified, io::ErrorKind::AddrNotAvailable.into())
        });
        Err(ConnectError::Tcp {
            endpoint: shown(self),
            n_addresses: addresses.len(),
            last,
            source,
        })
    }

    async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
        let config = tls::client(self).map_err(|source| ConnectError::Roots {
            endpoint: shown(self),
            source,
        })?;
        let connector = TlsConnector::from(Arc::new(config));
        let handshake = connector.connect(self.server_name.clone(), stream);
        match timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(ConnectError::Handshake {
                endpoint: shown(self),
                name: self.server_name.to_str().into(),
                roots: self.roots.clone(),
                source,
            }),
            Err(_elapsed) => Err(ConnectError::Silent {
                endpoint: shown(self),
            }),
        }
    }

    async fn begin<S>(&self, stream: S, group: &Group) -> Result<Channel, ConnectError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        match timeout(HANDSHAKE_LIMIT, Channel::over(stream, group)).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(source)) => Err(ConnectError::Http2 {
                endpoint: shown(self),
                source,
            }),
            Err(_elapsed) => Err(ConnectError::Silent {
                endpoint: shown(self),
            }),
        }
    }
}
