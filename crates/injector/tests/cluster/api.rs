//! An API server with a memory: objects with versions, lists in pages, watches, conflicts, and trouble on demand.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower_service::Service;

/// Resource, namespace (empty if it has none), name.
type Key = (String, String, String);
type Reply = Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>>;

/// The API server; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    version: u64,
    watches: Vec<Watch>,
    faults: Vec<Fault>,
    /// Resources whose lists do not come.
    held: HashSet<String>,
    /// What happened up to this version is forgotten.
    forgotten: u64,
    is_down: bool,
    counts: HashMap<String, usize>,
    /// Users by their tokens, each for an audience.
    tokens: HashMap<String, (Value, String)>,
}

struct Watch {
    resource: String,
    name: Option<String>,
    labels: Labels,
    lines: mpsc::UnboundedSender<Bytes>,
}

/// A label selector: keys, and values where they matter.
#[derive(Clone, Default)]
struct Labels(Vec<(String, Option<String>)>);

/// What a kind of request is answered instead.
struct Fault {
    method: Method,
    resource: String,
    status: Value,
}

/// A request, taken apart.
struct Asked {
    method: Method,
    key: Key,
    is_one: bool,
    query: HashMap<String, String>,
    body: Value,
    is_json_patch: bool,
}

// === impl Api ===

impl Api {
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// Adds or replaces an object, as anybody else in the cluster would.
    pub(crate) fn put(&self, resource: &str, namespace: &str, object: Value) {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let key = (resource.to_owned(), namespace.to_owned(), name);
        self.state().store(key, object);
    }

    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.state().objects.get(&key).cloned()
    }

    pub(crate) fn list(&self, resource: &str) -> Vec<Value> {
        let state = self.state();
        let of_resource = state.objects.iter().filter(|(key, _)| key.0 == resource);
        of_resource.map(|(_, object)| object.clone()).collect()
    }

    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        self.state().remove(&key);
    }

    /// Knows that `token`, for `audience`, is that of `user`.
    pub(crate) fn know(&self, token: &str, audience: &str, user: Value) {
        let known = (user, audience.to_owned());
        self.state().tokens.insert(token.to_owned(), known);
    }

    /// The time of `token` is over, or its pod is gone.
    pub(crate) fn forget(&self, token: &str) {
        self.state().tokens.remove(token);
    }

    /// Answers requests of this kind with an error until [`Api::mend`].
    pub(crate) fn fail(&self, method: Method, resource: &str, code: u16, message: &str) {
        let status = status(code, message);
        self.state().faults.push(Fault {
            method,
            resource: resource.to_owned(),
            status,
        });
    }

    pub(crate) fn mend(&self) {
        self.state().faults.clear();
    }

    /// Is not there any more: connections are refused and watches cut.
    pub(crate) fn go_down(&self) {
        let mut state = self.state();
        state.is_down = true;
        state.watches.clear();
    }

    pub(crate) fn come_back(&self) {
        self.state().is_down = false;
    }

    /// Ends all watches, as API servers do every few minutes.
    pub(crate) fn cut_watches(&self) {
        self.state().watches.clear();
    }

    /// Ends all watches, and forgets what they would have to be told when they are resumed: whoever resumes is told to list again.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        state.version += 1;
        state.forgotten = state.version;
        state.watches.clear();
    }

    /// Lists of `resource` do not come until [`Api::release`].
    pub(crate) fn hold(&self, resource: &str) {
        self.state().held.insert(resource.to_owned());
    }

    pub(crate) fn release(&self) {
        self.state().held.clear();
    }

    fn holds(&self, asked: &Asked) -> bool {
        let is_list = asked.method == Method::GET && !asked.is_one;
        let is_watch = asked.query.contains_key("watch");
        is_list && !is_watch && self.state().held.contains(&asked.key.0)
    }

    /// Requests so far of a method and a resource.
    pub(crate) fn count(&self, method: &Method, resource: &str) -> usize {
        let key = format!("{method} {resource}");
        self.state().counts.get(&key).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under the lock")
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let mut state = self.state();
        if state.is_down {
            return Err("connection refused".into());
        }
        let resource = asked.key.0.clone();
        let count = format!("{} {resource}", asked.method);
        *state.counts.entry(count).or_default() += 1;
        let fault = state
            .faults
            .iter()
            .find(|fault| fault.method == asked.method && fault.resource == resource);
        if let Some(fault) = fault {
            return reply(&fault.status);
        }
        match asked.method {
            Method::GET if asked.is_one => {
                reply(state.objects.get(&asked.key).unwrap_or(&missing(asked)))
            }
            Method::GET if asked.query.contains_key("watch") => Ok(state.watch(asked)),
            Method::GET => reply(&state.page(asked)),
            Method::POST => reply(&state.create(asked)),
            Method::PUT => reply(&state.replace(asked)),
            Method::PATCH => reply(&state.patch(asked)),
            _ => reply(&status(405, "method not allowed")),
        }
    }
}

impl Service<Request<kube::client::Body>> for Api {
    type Response = Response<Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            let asked = Asked::read(request).await;
            // Others run between a question and its answer, as they do over a network.
            tokio::task::yield_now().await;
            while api.holds(&asked) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            api.answer(&asked)
        })
    }
}

// === impl State ===

impl State {
    fn store(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        let before = self.objects.get(&key);
        let uid = before.map_or(json!(format!("uid-{}", self.version)), |before| {
            before["metadata"]["uid"].clone()
        });
        let kind = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if !key.1.is_empty() {
            object["metadata"]["namespace"] = json!(key.1);
        }
        self.tell(&key, kind, &object);
        self.objects.insert(key, object.clone());
        object
    }

    fn remove(&mut self, key: &Key) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.tell(key, "DELETED", &object);
        }
    }

    fn tell(&mut self, key: &Key, kind: &str, object: &Value) {
        let before = self.objects.get(key);
        self.watches.retain(|watch| {
            let concerns =
                watch.resource == key.0 && watch.name.as_ref().is_none_or(|name| *name == key.2);
            // What does not match any more is gone for whoever watches what matches.
            let kind = match watch.labels.select(object) {
                true => Some(kind),
                false => before
                    .is_some_and(|before| watch.labels.select(before))
                    .then_some("DELETED"),
            };
            match kind.filter(|_| concerns) {
                Some(kind) => watch.lines.send(line(kind, object)).is_ok(),
                None => true,
            }
        });
    }

    fn matching(&self, asked: &Asked) -> Vec<Value> {
        let name = asked.selected();
        let labels = asked.labels();
        self.objects
            .iter()
            .filter(|(key, _)| key.0 == asked.key.0)
            .filter(|(key, _)| asked.key.1.is_empty() || key.1 == asked.key.1)
            .filter(|(key, _)| name.as_ref().is_none_or(|name| *name == key.2))
            .filter(|(_, object)| labels.select(object))
            .map(|(_, object)| object.clone())
            .collect()
    }

    fn page(&self, asked: &Asked) -> Value {
        let items = self.matching(asked);
        let number = |key: &str| asked.query.get(key)?.parse::<usize>().ok();
        let begin = number("continue").unwrap_or_default();
        let end = number("limit").map_or(items.len(), |limit| items.len().min(begin + limit));
        let rest = (end < items.len()).then(|| end.to_string());
        json!({
            "kind": "List",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string(), "continue": rest},
            "items": items[begin..end],
        })
    }

    /// Everything since the version that was asked for, which here is everything that is newer.
    fn watch(&mut self, asked: &Asked) -> Response<Body> {
        let since = asked.query.get("resourceVersion");
        let since = since
            .and_then(|since| since.parse::<u64>().ok())
            .unwrap_or_default();
        let (sender, receiver) = mpsc::unbounded_channel();
        if since < self.forgotten {
            let gone = status(410, "too old resource version");
            return Response::new(Body::from(line("ERROR", &gone)));
        }
        for object in self.matching(asked) {
            let version = object["metadata"]["resourceVersion"].as_str();
            if version.and_then(|version| version.parse::<u64>().ok()) > Some(since) {
                let _ = sender.send(line("MODIFIED", &object));
            }
        }
        self.watches.push(Watch {
            resource: asked.key.0.clone(),
            name: asked.selected(),
            labels: asked.labels(),
            lines: sender,
        });
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            Some((Ok::<_, Infallible>(line), receiver))
        });
        Response::new(Body::from_stream(lines))
    }

    fn create(&mut self, asked: &Asked) -> Value {
        if asked.key.0 == "selfsubjectreviews" {
            let extra = json!({"authentication.kubernetes.io/pod-uid": ["the-pods-uid"]});
            return json!({"status": {"userInfo": {"extra": extra}}});
        }
        if asked.key.0 == "tokenreviews" {
            return self.review(&asked.body["spec"]);
        }
        let (resource, namespace, _) = asked.key.clone();
        let Some(name) = asked.body["metadata"]["name"].as_str() else {
            return status(422, "metadata.name: required");
        };
        let space = ("namespaces".to_owned(), String::new(), namespace.clone());
        match self.objects.get(&space) {
            None => return status(404, "namespaces not found"),
            Some(space) if space["metadata"]["deletionTimestamp"].is_string() => {
                let mut status = status(403, "namespace is being terminated");
                status["details"] = json!({"causes": [{"reason": "NamespaceTerminating"}]});
                return status;
            }
            Some(_) => {}
        }
        let key = (resource, namespace, name.to_owned());
        if self.objects.contains_key(&key) {
            let mut status = status(409, "it exists already");
            status["reason"] = json!("AlreadyExists");
            return status;
        }
        self.store(key, asked.body.clone())
    }

    /// Whose a token is, as [`Api::know`] was told, for one of the audiences that it is for.
    fn review(&self, spec: &Value) -> Value {
        let token = spec["token"].as_str().unwrap_or_default();
        let Some((user, audience)) = self.tokens.get(token) else {
            return json!({"status": {"error": "invalid bearer token"}});
        };
        let asked = spec["audiences"].as_array().cloned().unwrap_or_default();
        if !asked.iter().any(|asked| asked == audience) {
            return json!({"status": {"error": format!("token audiences [{audience}] are invalid")}});
        }
        json!({"status": {"authenticated": true, "user": user, "audiences": [audience]}})
    }

    fn replace(&mut self, asked: &Asked) -> Value {
        let Some(there) = self.objects.get(&asked.key) else {
            return missing(asked);
        };
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let given = version(&asked.body);
        if given.is_string() && given != version(there) {
            return status(409, "the object has been modified");
        }
        self.store(asked.key.clone(), asked.body.clone())
    }

    /// JSON patches of `test` and `add`, and merge patches.
    fn patch(&mut self, asked: &Asked) -> Value {
        let Some(mut object) = self.objects.get(&asked.key).cloned() else {
            return missing(asked);
        };
        if !asked.is_json_patch {
            let before = object.clone();
            merge(&mut object, &asked.body);
            if object["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"] {
                return status(409, "the object has been modified");
            }
            // As in a cluster, what changes nothing makes no new version.
            if object == before {
                return object;
            }
            return self.store(asked.key.clone(), object);
        }
        for operation in asked.body.as_array().into_iter().flatten() {
            let path = operation["path"].as_str().unwrap_or_default();
            let value = &operation["value"];
            if operation["op"] == "test" && object.pointer(path) != Some(value) {
                return status(422, "the test failed");
            }
            if let ("add", Some((parent, last))) = (
                operation["op"].as_str().unwrap_or_default(),
                path.rsplit_once('/'),
            ) && let Some(parent) = object.pointer_mut(parent)
            {
                parent[last] = value.clone();
            }
        }
        self.store(asked.key.clone(), object)
    }
}

// === impl Asked ===

impl Asked {
    async fn read(request: Request<kube::client::Body>) -> Self {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let kind = head.headers.get(http::header::CONTENT_TYPE);
        let mut parts = head
            .uri
            .path()
            .trim_matches('/')
            .split('/')
            .map(str::to_owned);
        // `api/v1/…` or `apis/GROUP/v1/…`.
        let n_prefix = if parts.next().as_deref() == Some("api") {
            1
        } else {
            2
        };
        let mut parts = parts.skip(n_prefix).collect::<Vec<_>>();
        let namespace = if parts.len() > 2 && parts[0] == "namespaces" {
            parts.remove(0);
            parts.remove(0)
        } else {
            String::new()
        };
        let mut parts = parts.into_iter();
        let resource = parts.next().unwrap_or_default();
        let name = parts.next();
        let query = head.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            method: head.method,
            is_one: name.is_some(),
            key: (resource, namespace, name.unwrap_or_default()),
            query: pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            is_json_patch: kind.is_some_and(|kind| kind == "application/json-patch+json"),
        }
    }

    /// The name of the field selector `metadata.name=NAME`.
    fn selected(&self) -> Option<String> {
        let selector = self.query.get("fieldSelector")?;
        selector.strip_prefix("metadata.name%3D").map(str::to_owned)
    }

    fn labels(&self) -> Labels {
        let selector = self.query.get("labelSelector").cloned().unwrap_or_default();
        let selector = selector
            .replace("%2F", "/")
            .replace("%2C", ",")
            .replace("%3D", "=");
        let terms = selector.split(',').filter(|term| !term.is_empty());
        let terms = terms.map(|term| match term.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (term.to_owned(), None),
        });
        Labels(terms.collect())
    }
}

// === impl Labels ===

impl Labels {
    fn select(&self, object: &Value) -> bool {
        self.0.iter().all(|(key, value)| {
            let found = object["metadata"]["labels"][key].as_str();
            found.is_some() && value.as_deref().is_none_or(|value| found == Some(value))
        })
    }
}

/// RFC 7396.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    for (key, value) in fields {
        merge(&mut object[key], value);
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut line = json!({"type": kind, "object": object}).to_string();
    line.push('\n');
    line.into()
}

fn status(code: u16, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": "",
        "code": code,
    })
}

fn missing(asked: &Asked) -> Value {
    let (resource, _, name) = &asked.key;
    let mut status = status(404, &format!("{resource} {name:?} not found"));
    status["reason"] = json!("NotFound");
    status
}

fn reply(value: &Value) -> Reply {
    let code = match &value["kind"] {
        Value::String(kind) if kind == "Status" => value["code"].as_u64().unwrap_or(200),
        _ => 200,
    };
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(u16::try_from(code).unwrap_or(500)).expect("a status");
    Ok(response)
}
