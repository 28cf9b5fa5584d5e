//! A stand-in for the API server: answers over plain HTTP what it was told to, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// With the query.
    pub(crate) path: String,
    /// The head, as it came.
    pub(crate) head: String,
}

/// Answers until the test's process ends.
pub(crate) struct ApiServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    answers: BTreeMap<String, (u16, String)>,
    requests: Vec<Request>,
}

impl ApiServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that went away is the test's business.
                let _ = answer(&stream.unwrap(), &of_thread);
            }
        });
        Self { address, shared }
    }

    /// Answers `path` with an object.
    pub(crate) fn put(&self, path: &str, object: &Value) {
        self.reply(path, 200, &object.to_string());
    }

    /// Answers `path` with an error as an API server forms it.
    pub(crate) fn refuse(&self, path: &str, code: u16, message: &str) {
        self.reply(path, code, &refusal(code, message).to_string());
    }

    /// Answers `path` with anything.
    pub(crate) fn reply(&self, path: &str, code: u16, body: &str) {
        let mut shared = self.shared.lock().unwrap();
        shared
            .answers
            .insert(path.to_owned(), (code, body.to_owned()));
    }

    pub(crate) fn remove(&self, path: &str) {
        self.shared.lock().unwrap().answers.remove(path);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// The paths that were asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let requests = self.requests();
        requests.into_iter().map(|request| request.path).collect()
    }
}

/// A `Status` that refuses.
pub(crate) fn refusal(code: u16, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message})
}

/// Answers one request and closes, so that a thread for each connection is not needed.
fn answer(mut stream: &TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut head = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        head.push_str(&line);
        head.push('\n');
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut shared = shared.lock().unwrap();
    // The client library begins every query with an empty parameter.
    let path = path.replacen("?&", "?", 1);
    let path = path.strip_suffix('?').unwrap_or(&path).to_owned();
    let (code, body) = shared.answers.get(&path).cloned().unwrap_or_else(|| {
        let message = format!("{path} not found");
        (404, refusal(404, &message).to_string())
    });
    shared.requests.push(Request { path, head });
    write!(
        stream,
        "HTTP/1.1 {code} Any\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
