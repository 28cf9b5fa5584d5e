//! Discovery as a sidecar sees it: a stream over TLS, objects that come and go behind it.

use std::{collections::BTreeSet, time::Duration};

use futures_util::stream;
use http::Method;
use prost::{Message as _, Name};
use runtime::task::Group;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};
use tonic::{Code, Request, Status, Streaming};
use wire::{
    core::Node,
    discovery::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
    minimesh::{MeshSettings, MtlsMode, PeerAuthentication, Scope},
    workload::{Address, TunnelProtocol, Workload, WorkloadStatus, address::Type},
};

use crate::{
    api::Api,
    fixture::{LIMIT, Replica, SYSTEM, bundle_in, installed, namespace, until},
    grpc::Channel,
};

const TOKEN: &str = "web.of.shop";
const SERVICE: &str = "shop/web.shop.svc.cluster.local";
const UID: &str = "Kubernetes//Pod/shop/web-0";
const NODE: &str = "sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local";

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "metadata": {
            "name": name,
            "labels": {"app": "web", "security.istio.io/tlsMode": "istio"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        },
        "spec": {
            "serviceAccountName": "web",
            "nodeName": "one",
            "containers": [{"name": "web", "image": "nginx"}],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": null}],
        },
    })
}

fn service() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}],
        },
    })
}

fn slice(pods: &[&str]) -> Value {
    let endpoints = pods.iter().map(|pod| {
        json!({
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "shop"},
        })
    });
    json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn strict() -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"mtls": {"mode": "STRICT"}},
    })
}

/// A cluster with a Service of one pod.
fn shop() -> Api {
    let api = installed();
    api.put("namespaces", "", namespace("shop"));
    api.put("pods", "shop", pod("web-0", "10.0.0.1", true));
    api.put("services", "shop", service());
    api.put("endpointslices", "shop", slice(&["web-0"]));
    api.know(
        TOKEN,
        "istio-ca",
        json!({
            "username": "system:serviceaccount:shop:web",
            "groups": ["system:serviceaccounts"],
            "extra": {
                "authentication.kubernetes.io/pod-name": ["web-0"],
                "authentication.kubernetes.io/pod-uid": ["uid-0"],
            },
        }),
    );
    api
}

async fn replica(api: &Api) -> Replica {
    let replica = Replica::start_with(api, &["--debounce-after=5ms"]);
    let replica = replica.await;
    replica.ready().await;
    until("the root is published", || bundle_in(api, "shop").is_some()).await;
    replica
}

/// A sidecar's stream.
struct Client {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    _tasks: Group,
}

fn asking<T: Name>(names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node {
            id: NODE.to_owned(),
            ..Node::default()
        }),
        type_url: T::type_url(),
        resource_names_subscribe: names.iter().map(|&name| name.to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn names(response: &DeltaDiscoveryResponse) -> BTreeSet<&str> {
    let resources = response.resources.iter();
    resources.map(|resource| resource.name.as_str()).collect()
}

fn decoded<T: Name + Default>(resource: &Resource) -> T {
    resource
        .resource
        .as_ref()
        .and_then(|any| any.unpack().ok())
        .expect("a message of that type")
}

fn workload(resource: &Resource) -> Workload {
    match decoded::<Address>(resource).r#type {
        Some(Type::Workload(workload)) => workload,
        other => panic!("{other:?}"),
    }
}

impl Client {
    async fn try_open(api: &Api, replica: &Replica, token: &str) -> Result<Self, Status> {
        let tasks = Group::new();
        let roots = bundle_in(api, "shop").expect("it is published");
        let channel = Channel::connect(replica.grpc[0], &roots, &tasks).await;
        let (requests, receiver) = mpsc::channel(8);
        let outbound = stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let mut request = Request::new(outbound);
        let bearer = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", bearer);
        let origin = http::Uri::from_static("https://istiod.istio-system.svc:15012");
        let mut client = AggregatedDiscoveryServiceClient::with_origin(channel, origin);
        let responses = client
            .delta_aggregated_resources(request)
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            _tasks: tasks,
        })
    }

    async fn open(api: &Api, replica: &Replica) -> Self {
        Self::try_open(api, replica, TOKEN).await.expect("a stream")
    }

    async fn send(&self, request: DeltaDiscoveryRequest) {
        // A stream that has ended says why to whoever reads.
        let _ = self.requests.send(request).await;
    }

    async fn try_next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let response = time::timeout(LIMIT, self.responses.message()).await;
        let response = response.expect("a response in time")?;
        Ok(response.expect("the stream goes on"))
    }

    /// The next response, acknowledged.
    async fn next(&mut self) -> DeltaDiscoveryResponse {
        let response = self.try_next().await.expect("a response");
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
        response
    }

    async fn ask(&mut self, request: DeltaDiscoveryRequest) -> DeltaDiscoveryResponse {
        self.send(request).await;
        self.next().await
    }

    /// Reads until the workload is as `is_so` says.
    async fn until(&mut self, is_so: impl Fn(&Workload) -> bool) -> Workload {
        loop {
            let response = self.next().await;
            let found = response
                .resources
                .iter()
                .find(|resource| resource.name == UID);
            if let Some(workload) = found.map(workload).filter(&is_so) {
                return workload;
            }
        }
    }
}

#[tokio::test]
async fn a_sidecar_is_told_of_pods_and_services_as_they_come_and_go() {
    let api = shop();
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    let first = client.ask(asking::<Address>(&["*"])).await;
    assert_eq!(names(&first), [SERVICE, UID].into());
    let web = first.resources.iter().find(|resource| resource.name == UID);
    let web = workload(web.expect("the pod"));
    assert_eq!(web.tunnel_protocol(), TunnelProtocol::LegacyIstioMtls);
    assert_eq!(web.services[SERVICE].ports[0].target_port, 8080);

    api.put("pods", "shop", pod("web-0", "10.0.0.1", false));
    client
        .until(|workload| workload.status() == WorkloadStatus::Unhealthy)
        .await;
    api.put("pods", "shop", pod("web-0", "10.0.0.1", true));
    client
        .until(|workload| workload.status() == WorkloadStatus::Healthy)
        .await;
    api.delete("endpointslices", "shop", "web-1");
    client.until(|workload| workload.services.is_empty()).await;
    api.delete("pods", "shop", "web-0");
    assert_eq!(client.next().await.removed_resources, [UID]);
    api.delete("services", "shop", "web");
    assert_eq!(client.next().await.removed_resources, [SERVICE]);

    let metrics = replica.page("/metrics").await;
    for line in [
        "pilot_xds 1\n",
        "pilot_xds_pushes_total{type=\"wds\"}",
        "pilot_services 0\n",
    ] {
        assert!(metrics.contains(line), "{line} {metrics}");
    }
    drop(client);
    replica.until_metrics_say("pilot_xds 0\n").await;
    replica.stop().await;
}

#[tokio::test]
async fn on_demand_a_sidecar_is_told_what_it_asks_for() {
    let api = shop();
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    let mut nothing = asking::<Address>(&["*"]);
    nothing.resource_names_unsubscribe = vec!["*".to_owned()];
    let first = client.ask(nothing).await;
    assert!(first.resources.is_empty());
    let answer = client
        .ask(asking::<Address>(&["/10.0.0.1", "/10.0.0.2"]))
        .await;
    assert_eq!(names(&answer), [UID].into());
    assert_eq!(answer.resources[0].aliases, ["/10.0.0.1"]);
    assert_eq!(answer.removed_resources, ["/10.0.0.2"]);
    let answer = client.ask(asking::<Address>(&["/10.96.0.1"])).await;
    assert!(names(&answer).contains(SERVICE), "{answer:?}");
    api.put("pods", "shop", pod("web-1", "10.0.0.2", true));
    let told = client.next().await;
    assert_eq!(told.resources[0].aliases, ["/10.0.0.2"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_sidecar_is_sent_the_settings_and_the_policies_of_its_own_pod() {
    let api = shop();
    api.put("peerauthentications", "shop", strict());
    api.put("peerauthentications", "default", strict());
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    let settings = client.ask(asking::<MeshSettings>(&[])).await;
    assert_eq!(names(&settings), ["default"].into());
    let settings: MeshSettings = decoded(&settings.resources[0]);
    assert_eq!(settings.trust_domain, "cluster.local");
    assert_eq!(settings.access_log_file.as_deref(), Some("/dev/stdout"));

    let policies = client.ask(asking::<PeerAuthentication>(&[])).await;
    assert_eq!(names(&policies), ["shop/default"].into());
    let policy: PeerAuthentication = decoded(&policies.resources[0]);
    assert_eq!(policy.mode(), MtlsMode::Strict);
    assert_eq!(policy.scope(), Scope::Namespace);
    api.delete("peerauthentications", "shop", "default");
    assert_eq!(client.next().await.removed_resources, ["shop/default"]);
    replica.stop().await;
}

#[tokio::test]
async fn a_policy_that_switches_mutual_tls_off_is_told_to_clients() {
    let api = shop();
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    client.ask(asking::<Address>(&["*"])).await;
    let mut off = strict();
    off["spec"]["mtls"]["mode"] = json!("DISABLE");
    api.put("peerauthentications", "shop", off);
    client
        .until(|workload| workload.tunnel_protocol() == TunnelProtocol::None)
        .await;
    replica.stop().await;
}

#[tokio::test]
async fn who_is_not_who_it_says_is_not_served() {
    let api = shop();
    let replica = replica(&api).await;
    let unknown = Client::try_open(&api, &replica, "forged").await;
    let status = unknown.err().expect("it is refused");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");

    let table = [
        (
            Some("sidecar~10.0.0.1~web-1.shop~x"),
            Code::PermissionDenied,
        ),
        (
            Some("sidecar~10.0.0.1~web-0.bank~x"),
            Code::PermissionDenied,
        ),
        (Some("odd"), Code::InvalidArgument),
        (None, Code::InvalidArgument),
    ];
    for (id, code) in table {
        let mut client = Client::open(&api, &replica).await;
        let mut request = asking::<Address>(&["*"]);
        request.node = id.map(|id| Node {
            id: id.to_owned(),
            ..Node::default()
        });
        client.send(request).await;
        let status = client.try_next().await.expect_err("it is refused");
        assert_eq!(status.code(), code, "{id:?} {status}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_client_that_does_what_it_must_not_ends_its_own_stream_only() {
    let api = shop();
    let replica = replica(&api).await;
    let mut bad = Client::open(&api, &replica).await;
    let mut good = Client::open(&api, &replica).await;
    good.ask(asking::<Address>(&["*"])).await;
    bad.send(asking::<Address>(&[&"x".repeat(10_000)])).await;
    let status = bad.try_next().await.expect_err("it is refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    api.put("pods", "shop", pod("web-1", "10.0.0.2", true));
    assert_eq!(good.next().await.resources.len(), 1);
    replica
        .until_metrics_say("minimesh_discovery_stream_ends_total{reason=\"violation\"} 1\n")
        .await;
    replica.stop().await;
}

#[tokio::test]
async fn what_happened_while_the_api_server_was_away_is_told_afterwards() {
    let api = shop();
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    client.ask(asking::<Address>(&["*"])).await;
    api.go_down();
    replica.until_ready_says("pods: ").await;
    replica.until_ready_says("endpoint slices: ").await;
    api.delete("pods", "shop", "web-0");
    api.put("pods", "shop", pod("web-9", "10.0.0.9", true));
    api.put("endpointslices", "shop", slice(&["web-9"]));
    api.come_back();
    let (mut there, mut gone) = (BTreeSet::new(), BTreeSet::new());
    while !there.contains("Kubernetes//Pod/shop/web-9") || !gone.contains(UID) {
        let response = client.next().await;
        there.extend(names(&response).into_iter().map(str::to_owned));
        gone.extend(response.removed_resources);
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_list_that_is_forbidden_keeps_a_replica_from_being_ready_and_half_a_cluster_from_being_told()
 {
    let api = shop();
    api.fail(Method::GET, "services", 403, "services is forbidden");
    let options = ["--debounce-after=5ms"];
    let replica = Replica::start_with(&api, &options).await;
    replica.until_ready_says("services is forbidden").await;
    until("the root is published", || {
        bundle_in(&api, "shop").is_some()
    })
    .await;
    let report = replica.page("/ready").await;
    assert!(report.contains("discovery"), "{report}");
    api.mend();
    replica.ready().await;
    let mut client = Client::open(&api, &replica).await;
    let first = client.ask(asking::<Address>(&["*"])).await;
    assert_eq!(names(&first), [SERVICE, UID].into());
    replica.stop().await;
}

#[tokio::test]
async fn a_stream_is_resumed_at_another_replica_without_being_sent_what_is_known() {
    let api = shop();
    let (one, two) = (replica(&api).await, replica(&api).await);
    let mut client = Client::open(&api, &one).await;
    let first = client.ask(asking::<Address>(&["*"])).await;
    let mut resumed = asking::<Address>(&["*"]);
    for resource in &first.resources {
        let (name, version) = (resource.name.clone(), resource.version.clone());
        resumed.initial_resource_versions.insert(name, version);
    }
    let gone = "Kubernetes//Pod/shop/gone".to_owned();
    resumed
        .initial_resource_versions
        .insert(gone.clone(), "1".to_owned());
    one.stop().await;
    let mut client = Client::open(&api, &two).await;
    let answer = client.ask(resumed).await;
    assert!(answer.resources.is_empty(), "{answer:?}");
    assert_eq!(answer.removed_resources, [gone]);
    two.stop().await;
}

#[tokio::test]
async fn an_object_that_cannot_be_used_stops_no_other() {
    let api = shop();
    api.put("pods", "shop", pod("odd", "no address", true));
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    let first = client.ask(asking::<Address>(&["*"])).await;
    assert_eq!(names(&first), [SERVICE, UID].into());
    replica
        .until_metrics_say("minimesh_discovery_unusable_objects_total{kind=\"Pods\"}")
        .await;
    replica.stop().await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_catches_up() {
    let api = shop();
    let replica = replica(&api).await;
    let mut slow = Client::open(&api, &replica).await;
    slow.send(asking::<Address>(&["*"])).await;
    let mut quick = Client::open(&api, &replica).await;
    quick.ask(asking::<Address>(&["*"])).await;
    for round in 0..20 {
        api.put("pods", "shop", pod("web-0", "10.0.0.1", round % 2 == 0));
        let expected = match round % 2 {
            0 => WorkloadStatus::Healthy,
            _ => WorkloadStatus::Unhealthy,
        };
        if round > 0 {
            quick.until(|workload| workload.status() == expected).await;
        }
        time::sleep(Duration::from_millis(1)).await;
    }
    let first = slow.next().await;
    assert_eq!(first.resources.len(), 2);
    let second = slow.next().await;
    let last = workload(&second.resources[0]);
    assert_eq!(
        last.status(),
        WorkloadStatus::Unhealthy,
        "the last of twenty"
    );
    assert!(second.encoded_len() < 1000);
    replica.stop().await;
}

#[tokio::test]
async fn a_list_that_is_read_again_after_a_gap_is_told_by_its_difference_alone() {
    let api = shop();
    api.put("pods", "shop", pod("web-1", "10.0.0.2", true));
    api.put("endpointslices", "shop", slice(&["web-0", "web-1"]));
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    let first = client.ask(asking::<Address>(&["*"])).await;
    assert_eq!(first.resources.len(), 3);
    let lists = || api.count(&Method::GET, "pods");
    // A resumed watch of each kind is answered by 410 Gone; meanwhile one pod has gone and another has come.
    api.expire();
    api.delete("pods", "shop", "web-1");
    api.put("pods", "shop", pod("web-2", "10.0.0.3", true));
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    while there.is_empty() || gone.is_empty() {
        let response = client.next().await;
        there.extend(names(&response).into_iter().map(str::to_owned));
        gone.extend(response.removed_resources);
    }
    assert_eq!(there, ["Kubernetes//Pod/shop/web-2"]);
    assert_eq!(gone, ["Kubernetes//Pod/shop/web-1"]);
    // The same once more without any difference: the next that is told is what happens afterwards.
    let before = lists();
    api.expire();
    until("they are listed again", || lists() > before + 1).await;
    api.put("pods", "shop", pod("web-3", "10.0.0.4", true));
    let next = client.next().await;
    assert_eq!(names(&next), ["Kubernetes//Pod/shop/web-3"].into());
    assert!(next.removed_resources.is_empty());
    replica.stop().await;
}

#[tokio::test]
async fn while_a_list_is_slow_nobody_is_told_half_and_whoever_is_served_goes_on() {
    let api = shop();
    api.hold("pods");
    let slow = Replica::start_with(&api, &["--debounce-after=5ms"]).await;
    until("the root is published", || {
        bundle_in(&api, "shop").is_some()
    })
    .await;
    let report = slow.until_ready_says("discovery").await;
    assert!(report.starts_with("not ready"), "{report}");
    api.release();
    slow.ready().await;

    let mut client = Client::open(&api, &slow).await;
    client.ask(asking::<Address>(&["*"])).await;
    let before = api.count(&Method::GET, "services");
    api.hold("pods");
    api.expire();
    until("the others are listed", || {
        api.count(&Method::GET, "services") > before + 1
    })
    .await;
    let mut other = service();
    other["metadata"]["name"] = json!("other");
    other["spec"]["clusterIPs"] = json!(["10.96.0.2"]);
    api.put("services", "shop", other);
    let told = client.next().await;
    assert_eq!(names(&told), ["shop/other.shop.svc.cluster.local"].into());
    assert!(told.removed_resources.is_empty());
    let mut fresh = Client::open(&api, &slow).await;
    let everything = fresh.ask(asking::<Address>(&["*"])).await;
    assert_eq!(everything.resources.len(), 3);
    api.release();
    slow.stop().await;
}

#[tokio::test]
async fn the_policy_of_the_whole_mesh_is_in_the_root_namespace_of_the_mesh_configuration() {
    let api = shop();
    api.put("peerauthentications", SYSTEM, strict());
    api.put("peerauthentications", "root", strict());
    let replica = replica(&api).await;
    let mut client = Client::open(&api, &replica).await;
    let policies = client.ask(asking::<PeerAuthentication>(&[])).await;
    assert_eq!(names(&policies), ["istio-system/default"].into());
    std::fs::write(replica.dir.path().join("mesh"), "rootNamespace: root\n").expect("a file");
    let policies = client.next().await;
    assert_eq!(names(&policies), ["root/default"].into());
    assert_eq!(policies.removed_resources, ["istio-system/default"]);
    let policy: PeerAuthentication = decoded(&policies.resources[0]);
    assert_eq!(policy.scope(), Scope::Mesh);
    replica.stop().await;
}
