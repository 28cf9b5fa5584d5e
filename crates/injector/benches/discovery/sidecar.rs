//! A sidecar: a connection over TLS and a stream on it, on demand or of everything.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::bail;
use futures_util::{FutureExt as _, future::BoxFuture, stream};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use injector::{discovery::object::Key, webhook::tls};
use prost::{Message as _, Name as _};
use runtime::task::Group;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsConnector;
use tonic::{Request, Streaming, body::Body};
use wire::{
    core::Node,
    discovery::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
    workload::Address,
};

use crate::{
    cluster::{N_SERVICES, key},
    server::{Background, NAME},
};

/// Services that a sidecar talks to.
pub(crate) const N_ASKED: usize = 20;

/// A stream.
pub(crate) struct Sidecar {
    number: usize,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    /// What has been told so far.
    pub(crate) n_bytes: usize,
}

/// A connection as tonic wants it.
struct Channel(SendRequest<Body>);

/// What the sidecar of this number talks to: one Service is everybody's, the others differ.
pub(crate) fn services_of(number: usize) -> Vec<String> {
    let others = (1..N_ASKED).map(|step| (number * N_ASKED + step * 7) % N_SERVICES);
    let services = [0].into_iter().chain(others);
    services
        .map(|number| {
            let Key { namespace, name } = key("service", number);
            format!("{namespace}/{name}.{namespace}.svc.cluster.local")
        })
        .collect()
}

// === impl Sidecar ===

impl Sidecar {
    pub(crate) async fn open(
        number: usize,
        server: &Background,
        tasks: &Group,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(server.root.clone())?;
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(NAME)?, stream)
            .await?;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await?;
        tasks.spawn("connection", async move { drop(connection.await) });
        let (requests, receiver) = mpsc::channel(8);
        let outbound = stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let Key { namespace, name } = key("pod", number);
        let mut request = Request::new(outbound);
        let bearer = format!("Bearer {}", token(&name, &namespace)).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let origin = http::Uri::from_static("https://istiod.istio-system.svc:15012");
        let mut client = AggregatedDiscoveryServiceClient::with_origin(Channel(sender), origin);
        let responses = client.delta_aggregated_resources(request).await?;
        Ok(Self {
            number,
            requests,
            responses: responses.into_inner(),
            n_bytes: 0,
        })
    }

    /// Asks for these names and takes the answer.
    pub(crate) async fn ask(&mut self, names: &[String]) -> anyhow::Result<()> {
        let Key { namespace, name } = key("pod", self.number);
        let request = DeltaDiscoveryRequest {
            node: Some(Node {
                id: format!("sidecar~10.0.0.1~{name}.{namespace}~x"),
                ..Node::default()
            }),
            type_url: Address::type_url(),
            resource_names_subscribe: names.to_vec(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await?;
        while self.next().await? {}
        Ok(())
    }

    /// Takes a response; says whether more of the same answer follows.
    pub(crate) async fn next(&mut self) -> anyhow::Result<bool> {
        let Some(response) = self.responses.message().await? else {
            bail!("the stream ended");
        };
        self.n_bytes += response.encoded_len();
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(ack).await?;
        Ok(response.system_version_info == wire::PARTIAL)
    }
}

/// A token of the length that a projected one has.
fn token(pod: &str, namespace: &str) -> String {
    format!("{pod}.{}.{namespace}", "x".repeat(1000))
}

// === impl Channel ===

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.send_request(request).boxed()
    }
}
