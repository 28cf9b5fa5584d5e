//! A control plane on a loopback port whose every answer the test gives, and a sidecar's discovery that asks it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use agent::{
    control_plane::Token,
    discovery::{
        Demand, Discovery, Picture, Settings, Source, Status as DiscoveryStatus,
        client::Kind,
        demand::{Unanswered, demand},
        node::node,
    },
    mesh::{Mesh, MeshStore, Own},
    pod_info::Pairs,
    workload::Workload,
};
use prost::Name;
use runtime::{readiness::Readiness, task::Group};
use tempfile::TempDir;
use testkit::pki::Root;
use tokio::{sync::mpsc, time::timeout};
use tonic::{
    Request, Response, Status, Streaming, codegen::tokio_stream::wrappers::ReceiverStream,
};
use wire::{
    Any,
    core::ControlPlane,
    discovery::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
        aggregated_discovery_service_server::{
            AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
        },
    },
    minimesh, workload as wds,
};

use crate::server::{Listening, PATIENCE, Proof};

/// The sidecar's own address, and what it asks for it by.
pub(crate) const OWN: &str = "/10.0.0.1";
pub(crate) const WEB: &str = "shop/web.shop.svc.cluster.local";
pub(crate) const VIP: &str = "10.96.0.1";

/// The control plane: what it holds in its hand when it opens, and the streams that came.
pub(crate) struct Plane {
    streams: mpsc::Receiver<Stream>,
    proof: Proof,
    listening: Listening,
    opened: mpsc::Sender<Stream>,
    folder: TempDir,
    root: Root,
}

/// One stream, from the control plane's side.
pub(crate) struct Stream {
    pub(crate) token: String,
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    n_sent: usize,
    pub(crate) identifier: &'static str,
}

/// A sidecar's discovery.
pub(crate) struct Sidecar {
    pub(crate) store: MeshStore,
    pub(crate) demand: Demand,
    pub(crate) readiness: Readiness,
    pub(crate) status: DiscoveryStatus,
    group: Group,
}

#[derive(Clone)]
struct Service(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let token = request.metadata().get("authorization");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        let (responses, sent) = mpsc::channel(4);
        let stream = Stream {
            token: token.unwrap_or_default(),
            requests: request.into_inner(),
            responses,
            n_sent: 0,
            identifier: "minimesh test",
        };
        self.0.send(stream).await.unwrap();
        Ok(Response::new(ReceiverStream::new(sent)))
    }
}

// === impl Plane ===

impl Plane {
    pub(crate) async fn start() -> Self {
        let root = Root::new("mesh");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("root-cert.pem"), root.pem()).unwrap();
        fs::write(folder.path().join("istio-token"), "t0ken").unwrap();
        let (opened, streams) = mpsc::channel(8);
        let proof = Proof::new(&root);
        let listening = listen(&proof, ([127, 0, 0, 1], 0).into(), &opened).await;
        Self {
            streams,
            proof,
            listening,
            opened,
            folder,
            root,
        }
    }

    /// Goes away with all its connections.
    pub(crate) async fn stop(&mut self) {
        self.listening.stop().await;
    }

    /// Comes back at the same address.
    pub(crate) async fn start_again(&mut self) {
        self.listening = listen(&self.proof, self.address(), &self.opened).await;
    }

    /// The next stream that is opened.
    pub(crate) async fn stream(&mut self) -> Stream {
        let stream = timeout(PATIENCE, self.streams.recv()).await;
        stream.expect("the sidecar connects").unwrap()
    }

    /// Discovery of the pod `client` in namespace `shop`.
    pub(crate) fn sidecar(&self, change: impl FnOnce(&mut Settings)) -> Sidecar {
        let labels = Pairs::new();
        let mut own = Own::new("shop", "client");
        own.addresses = vec!["10.0.0.1".parse().unwrap()];
        let mut settings = Settings {
            wildcard: false,
            wait: PATIENCE,
            cache: None,
            network: String::new(),
            node: node(&Workload::default(), &own, &labels, ""),
            own,
        };
        change(&mut settings);
        let (demand, questions, publisher) = demand(settings.wait);
        let (store, status) = (MeshStore::default(), DiscoveryStatus::default());
        let now = std::time::Instant::now();
        let picture = Picture::new(settings, store.clone(), publisher, status.clone(), now);
        let source = Source {
            endpoint: self.listening.endpoint(&self.file("root-cert.pem")),
            token: Some(Token::new(self.folder.path().join("istio-token"), "c")),
            largest_response: 4 << 20,
        };
        let (readiness, group) = (Readiness::new(), Group::new());
        let parts = (picture, questions);
        let discovery = Discovery::new(parts, source, status.clone(), &readiness, &group, |_| ());
        let token = group.token().clone();
        group.spawn("discovery", async move {
            token.run_until_cancelled(discovery.run()).await;
        });
        Sidecar {
            store,
            demand,
            readiness,
            status,
            group,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// Puts what a workload needs for mutual TLS into a folder of this name.
    pub(crate) fn write_certificates(&self, folder: &str) {
        let leaf = self
            .root
            .workload("spiffe://cluster.local/ns/shop/sa/client");
        let folder = self.file(folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, pem) in [
            ("cert-chain.pem", leaf.chain),
            ("key.pem", leaf.key),
            ("root-cert.pem", leaf.roots),
        ] {
            fs::write(folder.join(name), pem).unwrap();
        }
    }

    /// A file in a folder of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn listen(proof: &Proof, address: SocketAddr, opened: &mpsc::Sender<Stream>) -> Listening {
    let service = AggregatedDiscoveryServiceServer::new(Service(opened.clone()));
    proof.listen(address, service).await
}

// === impl Stream ===

impl Stream {
    /// The next request.
    pub(crate) async fn request(&mut self) -> DeltaDiscoveryRequest {
        let request = timeout(PATIENCE, self.requests.message()).await;
        let request = request.expect("the sidecar asks");
        request.unwrap().expect("the stream is open")
    }

    /// The next request about addresses that subscribes or unsubscribes; acknowledgements must be positive.
    pub(crate) async fn change(&mut self) -> DeltaDiscoveryRequest {
        loop {
            let request = self.request().await;
            assert_eq!(request.error_detail, None);
            let is_change = request.response_nonce.is_empty();
            if is_change && request.type_url == Kind::Address.type_url() {
                return request;
            }
        }
    }

    /// Whether the sidecar has closed the stream.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let ended = timeout(PATIENCE, async {
            while let Ok(Some(_)) = self.requests.message().await {}
        });
        ended.await.is_ok()
    }

    pub(crate) async fn send(
        &mut self,
        kind: Kind,
        resources: &[Resource],
        removed: &[&str],
    ) -> bool {
        self.send_version(kind, (resources, removed), "1").await
    }

    /// Sends a part of an answer about addresses, which another one follows or not.
    pub(crate) async fn send_part(&mut self, resources: &[Resource], is_partial: bool) -> bool {
        let version = if is_partial { wire::PARTIAL } else { "1" };
        self.send_version(Kind::Address, (resources, &[]), version)
            .await
    }

    async fn send_version(
        &mut self,
        kind: Kind,
        (resources, removed): (&[Resource], &[&str]),
        version: &str,
    ) -> bool {
        self.n_sent += 1;
        let response = DeltaDiscoveryResponse {
            system_version_info: version.to_owned(),
            type_url: kind.type_url(),
            nonce: self.n_sent.to_string(),
            resources: resources.to_vec(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            control_plane: Some(ControlPlane {
                identifier: self.identifier.to_owned(),
            }),
        };
        self.send_as_it_is(Ok(response)).await
    }

    pub(crate) async fn send_as_it_is(
        &self,
        response: Result<DeltaDiscoveryResponse, Status>,
    ) -> bool {
        self.responses.send(response).await.is_ok()
    }

    /// Says all that a sidecar needs: default settings, no policies, nobody at its own address.
    pub(crate) async fn begin(&mut self) {
        self.send(Kind::Address, &[], &[OWN]).await;
        self.send(Kind::Settings, &[settings("1", |_| ())], &[])
            .await;
        self.send(Kind::PeerAuthentication, &[], &[]).await;
    }
}

// === impl Sidecar ===

impl Sidecar {
    /// Waits until the mesh is as `condition` wants it.
    pub(crate) async fn knows(&self, what: &str, condition: impl Fn(&Mesh) -> bool) {
        self.comes_to(what, || condition(&self.store.load())).await;
    }

    pub(crate) async fn comes_to(&self, what: &str, condition: impl Fn() -> bool) {
        let waiting = timeout(PATIENCE, async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waiting.await.is_ok(), "never happened: {what}");
    }

    pub(crate) async fn is_ready(&self) {
        let ready = timeout(PATIENCE, self.readiness.ready()).await;
        assert!(ready.is_ok(), "{}", self.readiness.report());
    }

    /// Asks as a worker does.
    pub(crate) async fn settle(&self, address: &str) -> Result<(), Unanswered> {
        self.demand.settle(address.parse().unwrap()).await
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// The settings of the mesh.
pub(crate) fn settings(
    version: &str,
    change: impl FnOnce(&mut minimesh::MeshSettings),
) -> Resource {
    let mut settings = minimesh::MeshSettings::default();
    change(&mut settings);
    resource("default", version, &settings)
}

/// A pod with a sidecar, behind these services.
pub(crate) fn pod(name: &str, address: [u8; 4], services: &[&str]) -> Resource {
    pod_with(name, address, |pod| {
        let services = services
            .iter()
            .map(|name| ((*name).to_owned(), wds::PortList::default()));
        pod.services = services.collect();
    })
}

/// A pod with a sidecar.
pub(crate) fn pod_with(
    name: &str,
    address: [u8; 4],
    change: impl FnOnce(&mut wds::Workload),
) -> Resource {
    let mut pod = wds::Workload {
        uid: uid(name),
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        addresses: vec![address.to_vec().into()],
        tunnel_protocol: wds::TunnelProtocol::LegacyIstioMtls.into(),
        ..Default::default()
    };
    change(&mut pod);
    let alias = format!("/{}", IpAddr::from(address));
    let r#type = Some(wds::address::Type::Workload(pod));
    Resource {
        aliases: vec![alias],
        ..resource(&uid(name), "1", &wds::Address { r#type })
    }
}

pub(crate) fn uid(name: &str) -> String {
    format!("c//Pod/shop/{name}")
}

/// Service `web` on port 80.
pub(crate) fn web() -> Resource {
    service("web", [10, 96, 0, 1])
}

pub(crate) fn service(name: &str, address: [u8; 4]) -> Resource {
    let service = wds::Service {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        hostname: format!("{name}.shop.svc.cluster.local"),
        addresses: vec![wds::NetworkAddress {
            address: address.to_vec().into(),
            ..Default::default()
        }],
        ports: vec![wds::Port {
            service_port: 80,
            ..Default::default()
        }],
        ..Default::default()
    };
    let key = format!("shop/{}", service.hostname);
    let r#type = Some(wds::address::Type::Service(service));
    resource(&key, "1", &wds::Address { r#type })
}

/// A PeerAuthentication for the whole mesh.
pub(crate) fn policy(name: &str, mode: minimesh::MtlsMode) -> Resource {
    let policy = minimesh::PeerAuthentication {
        name: name.to_owned(),
        namespace: "istio-system".to_owned(),
        scope: minimesh::Scope::Mesh.into(),
        mode: mode.into(),
        ..Default::default()
    };
    resource(&format!("istio-system/{name}"), "1", &policy)
}

fn resource<M: prost::Message + Name>(name: &str, version: &str, message: &M) -> Resource {
    Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        resource: Some(Any::pack(message)),
        aliases: Vec::new(),
    }
}
