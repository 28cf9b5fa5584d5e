//! The client itself: layers of the client library around a connection of ours.
//!
//! Called by [`crate::Target::client`]; what is ours is that names are resolved without libc and that everything has a time limit.
//! No limit cuts a watch: the answer's head comes at once, and the server ends a watch earlier than [`READ_TIMEOUT`].

use std::time::Duration;

use http::{HeaderValue, Uri, header::USER_AGENT};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::{
        legacy::{
            Client as HttpClient,
            connect::{Connection, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Intercept,
    },
    rt::TokioExecutor,
};
use kube::{
    Client,
    client::{Body, ClientBuilder, ConfigExt as _, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer, timeout::TimeoutLayer};
use tower_service::Service;

use crate::resolver::Resolver;

/// Name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// All addresses of a name together, each its share: one that swallows what is sent must not use up the time of the next.
const TCP_TIMEOUT: Duration = Duration::from_secs(8);
/// Between two reads, and so for the rest of an answer that has begun. Watches are ended by the server after 290 seconds, which is what the client
/// library asks for.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// For a server that does not take what is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that vanished is noticed after about a minute, in the middle of a watch as well.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 3;

/// Makes the client. `response_timeout` is how long the head of an answer may take.
pub(crate) fn build(
    mut config: kube::Config,
    proxy: Option<&Intercept>,
    response_timeout: Duration,
) -> Result<Client, kube::Error> {
    install_crypto_provider();
    let agent = concat!("minimesh/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    let mut tcp = HttpConnector::new_with_resolver(Resolver::from_system());
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(TCP_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    let Some(proxy) = proxy else {
        return over(tcp, &config, response_timeout);
    };
    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
    if let Some(credentials) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(credentials.clone());
    }
    over(tunnel, &config, response_timeout)
}

fn over<C>(
    connector: C,
    config: &kube::Config,
    response_timeout: Duration,
) -> Result<Client, kube::Error>
where
    C: Service<Uri, Error: std::error::Error + Send + Sync> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
{
    let mut connector =
        TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_read_timeout(Some(READ_TIMEOUT));
    connector.set_write_timeout(Some(WRITE_TIMEOUT));
    // Else the time that a kept connection was idle would count.
    connector.set_reset_reader_on_write(true);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(TimeoutLayer::new(response_timeout))
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// The client library makes its TLS configurations with the process's default provider and has no way to pass one. Named here, it is the one
/// we chose whatever features other crates switch on; where the process has one already, that stays.
fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
