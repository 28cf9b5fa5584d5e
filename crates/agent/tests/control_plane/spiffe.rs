//! Certificates from a SPIFFE implementation on the node.

use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use agent::{
    spiffe::Source,
    tls::{Store, credentials::Settings, holder::Holder},
};
use runtime::{readiness::Readiness, task::Group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use testkit::pki::{Leaf, Root};
use tokio::{
    net::UnixListener,
    sync::mpsc,
    time::{Instant, sleep},
};
use tonic::{
    Request, Response, Status,
    codegen::tokio_stream::{Stream, StreamExt, wrappers},
};
use wire::spiffe::{
    X509svid, X509svidRequest, X509svidResponse,
    spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer},
};

use crate::server::{PATIENCE, serve};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

type Message = Result<X509svidResponse, Status>;

/// The node's implementation: gives what the test sends.
#[derive(Clone)]
struct Node(Arc<Mutex<Option<mpsc::Receiver<Message>>>>);

#[tonic::async_trait]
impl SpiffeWorkloadApi for Node {
    type FetchX509SVIDStream = Pin<Box<dyn Stream<Item = Message> + Send>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let header = request.metadata().get("workload.spiffe.io");
        if header.is_none_or(|value| value != "true") {
            return Err(Status::invalid_argument("no header"));
        }
        match self.0.lock().unwrap().take() {
            Some(messages) => Ok(Response::new(Box::pin(
                wrappers::ReceiverStream::new(messages).map(|message| message),
            ))),
            None => Err(Status::permission_denied("no identity issued")),
        }
    }
}

/// A node whose socket is in `folder`, and what to say on it.
fn node(folder: &Path, group: &Group) -> mpsc::Sender<Message> {
    let (say, messages) = mpsc::channel(8);
    let node = Node(Arc::new(Mutex::new(Some(messages))));
    let listener = UnixListener::bind(folder.join("socket")).unwrap();
    let token = group.token().clone();
    group.spawn("node", async move {
        let serving = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, SpiffeWorkloadApiServer::new(node.clone())).await;
            }
        };
        token.run_until_cancelled(serving).await;
    });
    say
}

fn start(folder: &Path, group: &Group) -> (Store, Readiness) {
    let readiness = Readiness::new();
    let holder = Holder::new(Box::new(Settings::default), None);
    let source = Source::new(folder.join("socket"), holder, group.clone(), &readiness);
    let store = source.store().clone();
    let token = group.token().clone();
    group.spawn("certificates", async move {
        token.run_until_cancelled(source.run()).await;
    });
    (store, readiness)
}

fn message(leaf: &Leaf, root: &Root) -> Message {
    let der = |pem: &str| {
        CertificateDer::from_pem_slice(pem.as_bytes())
            .unwrap()
            .to_vec()
    };
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    Ok(X509svidResponse {
        svids: vec![X509svid {
            spiffe_id: WEB.to_owned(),
            x509_svid: der(&leaf.chain).into(),
            x509_svid_key: key.secret_der().to_vec().into(),
            bundle: der(root.pem()).into(),
            ..Default::default()
        }],
        ..Default::default()
    })
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_nodes_identity_is_taken_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (group, root) = (Group::new(), Root::new("spire"));
    let say = node(folder.path(), &group);
    let (store, readiness) = start(folder.path(), &group);
    assert!(!readiness.is_ready());
    let first = root.workload(WEB);
    say.send(message(&first, &root)).await.unwrap();
    until("certified", || store.current().is_some()).await;
    assert!(readiness.is_ready());
    let serial = store.current().unwrap().serial().to_owned();
    assert_eq!(store.current().unwrap().id().as_str(), WEB);
    // Something broken leaves the last one.
    say.send(Ok(X509svidResponse::default())).await.unwrap();
    until("refused", || store.refusal().is_some()).await;
    assert_eq!(store.current().unwrap().serial(), serial);
    let other = Root::new("other");
    say.send(message(&other.workload(WEB), &other))
        .await
        .unwrap();
    until("renewed", || store.current().unwrap().serial() != serial).await;
    assert_eq!(
        store.current().unwrap().roots().pem().trim(),
        other.pem().trim()
    );
    // The node goes away.
    drop(say);
    until("told", || {
        let details = readiness.report().details;
        details.contains_key("certificate")
    })
    .await;
    assert!(store.current().is_some());
    assert!(readiness.is_ready());
    group.cancel();
}

#[tokio::test]
async fn a_socket_that_comes_late_is_found_and_nobody_else_is_asked_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (group, root) = (Group::new(), Root::new("spire"));
    let (store, readiness) = start(folder.path(), &group);
    until("told", || store.refusal().is_some()).await;
    let reason = store.refusal().unwrap().reason.clone();
    assert!(reason.contains("socket"), "{reason}");
    assert!(store.speaks_tls() && !readiness.is_ready());
    let say = node(folder.path(), &group);
    say.send(message(&root.workload(WEB), &root)).await.unwrap();
    until("certified", || store.current().is_some()).await;
    assert!(readiness.is_ready());
    group.cancel();
}
