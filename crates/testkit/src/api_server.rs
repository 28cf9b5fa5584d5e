//! A stand-in for Kubernetes' API server, for control planes of others that do not start without one.
//!
//! It holds the objects that a test puts into it and serves them in lists and watches, says whose a token is, and gives back what is
//! written to it without keeping it; without objects, lists are empty and watches silent. Connections belong to one client on
//! loopback, whom the test trusts; each has a thread, which ends with the connection. What it does not know of the protocol (paging,
//! conflicts, patches) its clients do not need: the injector's own tests have a stand-in that does.

mod objects;
mod request;

use std::{
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use objects::{Change, Objects};
use request::{Request, Target};

/// The API server; clones share it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: Mutex<Objects>,
    changed: Condvar,
}

/// What is answered to a request.
enum Answer {
    Body(u16, Value),
    /// What changes from this version on.
    Watch(u64),
}

/// How long a watch is silent before it gets a bookmark, which also shows whether anybody still reads it.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(2);

// === impl ApiServer ===

impl ApiServer {
    /// Serves on a free port until the process ends.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Self {
            address: listener.local_addr()?,
            shared: Arc::default(),
        };
        let shared = Arc::clone(&server.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle of something is no loss.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Ok(server)
    }

    /// A client's configuration that leads here.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let address = self.address;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: test}}}}]\nclusters: [{{name: test, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: test, user: {{}}}}]\n"
        )
    }

    /// Adds an object, or replaces the one of its name. It needs `apiVersion`, `kind` and `metadata.name`; `resource` is the plural
    /// by which clients ask for it.
    pub fn put(&self, resource: &str, object: Value) {
        self.shared.objects().put(resource, object);
        self.shared.changed.notify_all();
    }

    /// Deletes an object; `namespace` is empty if it has none.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) {
        self.shared.objects().delete(resource, namespace, name);
        self.shared.changed.notify_all();
    }

    /// Knows that `token` is that of the service account `name` in `namespace`, for every audience.
    pub fn know_token(&self, token: &str, namespace: &str, name: &str) {
        let user = json!({
            "username": format!("system:serviceaccount:{namespace}:{name}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
        });
        self.shared.objects().know(token, user);
    }
}

// === impl Shared ===

impl Shared {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        // Nothing is left half done under this lock.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(request) = Request::read(&mut reader)? {
            match self.answer(&request) {
                Answer::Body(status, body) => {
                    let body = body.to_string();
                    write!(
                        writer,
                        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    )?;
                }
                Answer::Watch(since) => {
                    write!(
                        writer,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                    )?;
                    return self.watch(&request, since, &mut writer);
                }
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer {
        let not_found = || {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
            Answer::Body(404, status)
        };
        if request.path == "/version" {
            let version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"});
            return Answer::Body(200, version);
        }
        let Some(target) = &request.target else {
            return not_found();
        };
        let objects = self.objects();
        match (request.method.as_str(), &target.name) {
            ("GET", Some(name)) => match objects.get(target, name) {
                Some(object) => Answer::Body(200, request.form(object)),
                None => not_found(),
            },
            ("GET", None) if request.is_watch() => Answer::Watch(request.since()),
            ("GET", None) => Answer::Body(200, list(&objects, target, request)),
            ("DELETE", _) => not_found(),
            ("POST", None) if target.resource == "tokenreviews" => {
                Answer::Body(201, objects.review(&request.body))
            }
            _ => Answer::Body(201, request.body.clone()),
        }
    }

    /// Tells of changes until nobody reads them any more.
    fn watch(&self, request: &Request, since: u64, writer: &mut impl Write) -> io::Result<()> {
        let Some(target) = &request.target else {
            return Ok(());
        };
        let mut told = since;
        loop {
            let mut objects = self.objects();
            if objects.version() <= told {
                let waited = self.changed.wait_timeout(objects, BOOKMARK_INTERVAL);
                objects = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let mut lines: Vec<Value> = objects
                .changes_since(told)
                .filter(|change| request.selects(&change.object) && target.is_of(&change.key))
                .map(|change| event(change, request))
                .collect();
            told = objects.version();
            if lines.is_empty()
                && request.wants_bookmarks()
                && let Some(object) = objects.bookmark(target)
            {
                lines.push(json!({"type": "BOOKMARK", "object": request.form(&object)}));
            }
            drop(objects);
            for line in lines {
                let line = format!("{line}\n");
                write!(writer, "{:x}\r\n{line}\r\n", line.len())?;
            }
            writer.flush()?;
        }
    }
}

fn list(objects: &Objects, target: &Target, request: &Request) -> Value {
    let items = objects.list(target);
    let items: Vec<Value> = items
        .filter(|object| request.selects(object))
        .map(|object| request.form(object))
        .collect();
    let mut list =
        json!({"metadata": {"resourceVersion": objects.version().to_string()}, "items": items});
    // Clients know what they asked for, except those that ask for metadata alone.
    if request.is_metadata() {
        list["kind"] = json!("PartialObjectMetadataList");
        list["apiVersion"] = json!("meta.k8s.io/v1");
    }
    list
}

fn event(change: &Change, request: &Request) -> Value {
    json!({"type": change.kind, "object": request.form(&change.object)})
}

#[cfg(test)]
mod tests;
