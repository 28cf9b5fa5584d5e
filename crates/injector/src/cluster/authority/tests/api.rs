//! An API server that knows one Secret, one ClusterRole and Events, in memory.
//!
//! It numbers versions, refuses stale writes and feeds watches as the real one does; tests make it fail, go away, and come back.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use contract::control_plane::{CA_SECRET, GIVEN_CA_SECRET};
use futures_util::stream;
use http::{Method, Request, StatusCode};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

/// The server; clones share it.
#[derive(Clone, Default)]
pub(super) struct FakeApi(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) secret: Option<Secret>,
    /// The user's own authority.
    pub(super) given: Option<Secret>,
    /// Reasons of the Events that were written.
    pub(super) events: Vec<String>,
    /// Every request is answered with this.
    pub(super) outage: Option<StatusCode>,
    /// Every write of the Secret is answered with this.
    pub(super) no_writes: Option<StatusCode>,
    /// What somebody else creates just before our own creation arrives.
    pub(super) faster: Option<Secret>,
    /// What somebody else puts back after each write of ours.
    pub(super) quarrel: Option<Secret>,
    /// Attempts to write the Secret.
    pub(super) n_writes: usize,
    version: u64,
    history: Vec<(u64, &'static str, Secret)>,
    watches: Vec<mpsc::UnboundedSender<Bytes>>,
}

// === impl FakeApi ===

impl FakeApi {
    pub(super) fn client(&self) -> Client {
        let api = self.clone();
        let router = Router::new().fallback(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        Client::new(router, "istio-system")
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Waits for `condition`, for at most an hour of the paused clock.
    #[track_caller]
    pub(super) fn until(&self, condition: impl Fn(&Inner) -> bool) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let wait = async {
                while !condition(&self.lock()) {
                    time::sleep(Duration::from_millis(50)).await;
                }
            };
            if time::timeout(Duration::from_secs(3600), wait)
                .await
                .is_err()
            {
                panic!("{caller}: it never came to that");
            }
        }
    }

    /// Sets a key of the Secret, as a person does.
    pub(super) fn edit(&self, key: &str, value: &str) {
        let mut inner = self.lock();
        let mut secret = inner.secret.clone().unwrap();
        let data = secret.data.get_or_insert_default();
        data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        inner.put("MODIFIED", secret);
    }

    /// Creates or replaces the Secret, as a person does.
    pub(super) fn put(&self, secret: Secret) {
        self.lock().put("MODIFIED", secret);
    }

    /// Deletes the Secret, as a person does.
    pub(super) fn delete(&self) {
        let mut inner = self.lock();
        if let Some(secret) = inner.secret.take() {
            inner.version += 1;
            inner.tell("DELETED", secret);
        }
    }

    /// Goes away, and ends all watches.
    pub(super) fn go_away(&self) {
        let mut inner = self.lock();
        inner.outage = Some(StatusCode::SERVICE_UNAVAILABLE);
        inner.watches.clear();
    }

    async fn answer(&self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let mut inner = self.lock();
        if let Some(outage) = inner.outage {
            return failure(outage);
        }
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        if path.contains("/clusterroles/") {
            return role(path);
        }
        if path.ends_with("/events") {
            return inner.event(&body);
        }
        if !path.contains("/namespaces/istio-system/secrets") {
            return failure(StatusCode::NOT_FOUND);
        }
        if query.contains(GIVEN_CA_SECRET) {
            return inner.given(query);
        }
        let is_named = path.ends_with(CA_SECRET);
        // The rights are for one name, and lists and watches without it are refused.
        if !is_named && parts.method == Method::GET && !query.contains(CA_SECRET) {
            return failure(StatusCode::FORBIDDEN);
        }
        match (&parts.method, is_named) {
            (&Method::GET, false) if query.contains("watch=true") => inner.watch(query),
            (&Method::GET, false) => inner.list(),
            (&Method::GET, true) => inner.get(),
            (&Method::POST, false) => inner.create(&body),
            (&Method::PUT, true) => inner.replace(&body),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

// === impl Inner ===

impl Inner {
    /// A value of the Secret as text.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let data = self.secret.as_ref()?.data.as_ref()?;
        String::from_utf8(data.get(key)?.0.clone()).ok()
    }

    fn put(&mut self, type_: &'static str, mut secret: Secret) -> Secret {
        self.version += 1;
        secret.metadata.resource_version = Some(self.version.to_string());
        self.secret = Some(secret.clone());
        self.tell(type_, secret.clone());
        secret
    }

    fn tell(&mut self, type_: &'static str, mut secret: Secret) {
        secret.metadata.resource_version = Some(self.version.to_string());
        let line = line(type_, &secret);
        self.watches
            .retain(|watch| watch.send(line.clone()).is_ok());
        self.history.push((self.version, type_, secret));
    }

    fn watch(&mut self, query: &str) -> Response {
        let from = query
            .split('&')
            .find_map(|part| part.strip_prefix("resourceVersion="))
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let (sender, receiver) = mpsc::unbounded_channel();
        for (version, type_, secret) in &self.history {
            if *version > from {
                sender.send(line(type_, secret)).unwrap();
            }
        }
        self.watches.push(sender);
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            Some((Ok::<_, Infallible>(line), receiver))
        });
        Body::from_stream(lines).into_response()
    }

    fn list(&self) -> Response {
        self.list_of(self.secret.as_ref())
    }

    /// Lists and watches of the user's own authority, which nobody changes here.
    fn given(&mut self, query: &str) -> Response {
        if !query.contains("watch=true") {
            return self.list_of(self.given.as_ref());
        }
        let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
        self.watches.push(sender);
        let lines = stream::unfold(receiver, |mut receiver| async move {
            // What the watches are told is about another Secret.
            while receiver.recv().await.is_some() {}
            None::<(Result<Bytes, Infallible>, _)>
        });
        Body::from_stream(lines).into_response()
    }

    fn list_of(&self, item: Option<&Secret>) -> Response {
        answer(&json!({
            "apiVersion": "v1",
            "kind": "SecretList",
            "metadata": {"resourceVersion": self.version.to_string()},
            "items": item.into_iter().collect::<Vec<_>>(),
        }))
    }

    fn get(&self) -> Response {
        self.secret.as_ref().map_or_else(
            || failure(StatusCode::NOT_FOUND),
            |secret| answer(&json!(secret)),
        )
    }

    fn create(&mut self, body: &Bytes) -> Response {
        self.n_writes += 1;
        if let Some(status) = self.no_writes {
            return failure(status);
        }
        if let Some(faster) = self.faster.take() {
            self.put("ADDED", faster);
        }
        if self.secret.is_some() {
            return failure(StatusCode::CONFLICT);
        }
        let created = self.put("ADDED", serde_json::from_slice(body).unwrap());
        answer(&json!(created))
    }

    fn replace(&mut self, body: &Bytes) -> Response {
        self.n_writes += 1;
        if let Some(status) = self.no_writes {
            return failure(status);
        }
        let fresh: Secret = serde_json::from_slice(body).unwrap();
        let version = |secret: &Secret| secret.metadata.resource_version.clone();
        match &self.secret {
            None => failure(StatusCode::NOT_FOUND),
            Some(there) if version(there) != version(&fresh) => failure(StatusCode::CONFLICT),
            Some(_) => {
                let written = self.put("MODIFIED", fresh);
                if let Some(other) = self.quarrel.clone() {
                    self.put("MODIFIED", other);
                }
                answer(&json!(written))
            }
        }
    }

    fn event(&mut self, body: &Bytes) -> Response {
        let event: Value = serde_json::from_slice(body).unwrap();
        let reason = event["reason"].as_str().unwrap_or_default();
        self.events.push(reason.to_owned());
        answer(&event)
    }
}

fn role(path: &str) -> Response {
    let name = path.rsplit('/').next();
    answer(&json!({
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "uid": "role-uid"},
    }))
}

fn line(type_: &str, secret: &Secret) -> Bytes {
    let mut line = json!({"type": type_, "object": secret}).to_string();
    line.push('\n');
    line.into()
}

fn answer(value: &Value) -> Response {
    value.to_string().into_response()
}

fn failure(status: StatusCode) -> Response {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": format!("the test says {status}"),
        "reason": status.canonical_reason(),
        "code": status.as_u16(),
    });
    (status, body.to_string()).into_response()
}
