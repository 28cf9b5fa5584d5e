//! Stand-ins for an API server, a thread each; they serve until the test's process ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Receiver<String>,
}

impl Server {
    /// Answers every request with `body`.
    pub(crate) fn plain(body: &str) -> Self {
        Self::answering(200, body)
    }

    /// Answers every request with status and body.
    pub(crate) fn answering(code: u16, body: &str) -> Self {
        let answer = answer(code, body);
        Self::start(move |stream, requests| {
            let mut stream = BufReader::new(stream);
            requests.send(head(&mut stream)).unwrap();
            write(stream.get_ref(), &answer);
        })
    }

    /// The same over TLS.
    pub(crate) fn tls(body: &str, config: Arc<ServerConfig>) -> Self {
        let answer = answer(200, body);
        Self::start(move |stream, requests| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            requests.send(head(&mut stream)).unwrap();
            write(stream.get_mut(), &answer);
        })
    }

    /// Accepts, and says nothing.
    pub(crate) fn silent() -> Self {
        let mut kept = Vec::new();
        Self::start(move |stream, _| kept.push(stream))
    }

    /// Answers with the head of a stream, then with what is sent.
    pub(crate) fn stream() -> (Self, Sender<String>) {
        let (events, received) = channel::<String>();
        let server = Self::start(move |stream, _| {
            let mut stream = BufReader::new(stream);
            head(&mut stream);
            write(
                stream.get_ref(),
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
            );
            while let Ok(event) = received.recv() {
                write(stream.get_ref(), &event);
            }
        });
        (server, events)
    }

    /// A proxy that tells of the `CONNECT`, agrees, and answers what comes through the tunnel by itself.
    pub(crate) fn proxy(body: &str) -> Self {
        let answer = answer(200, body);
        Self::start(move |stream, requests| {
            let mut stream = BufReader::new(stream);
            requests.send(head(&mut stream)).unwrap();
            write(stream.get_ref(), "HTTP/1.1 200 OK\r\n\r\n");
            head(&mut stream);
            write(stream.get_ref(), &answer);
        })
    }

    /// The head of the first request that nobody has asked for yet.
    pub(crate) fn request(&self) -> String {
        self.requests.recv().unwrap()
    }

    fn start(mut serve: impl FnMut(TcpStream, &Sender<String>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &sender);
            }
        });
        Self { address, requests }
    }
}

/// Reads a request's head; less if the client goes away, as one does that does not like our certificate.
fn head(stream: &mut impl BufRead) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        match stream.take(4096).read_line(&mut text) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    text
}

fn answer(code: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {code} Any\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The client may be gone; then the test sees its own error.
fn write(mut stream: impl Write, text: &str) {
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.flush();
}
