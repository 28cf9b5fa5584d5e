//! A proxy under test, the server behind it, and connections that check what they read.
//!
//! Everything listens on ports that the kernel chooses, and nothing waits without a limit.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use agent::{
    data_plane::{self, Capture, Config, DataPlane},
    mesh::{Mesh, Model, Own},
};
use prometheus_client::{encoding::text, registry::Registry};

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A data plane whose captured connections all go to one server.
pub(crate) struct Proxy {
    pub(crate) plane: DataPlane,
}

/// A server whose connections the test serves itself.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Receiver<TcpStream>,
}

/// One end of a connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
}

/// Settings for a proxy in front of `upstream`, listening wherever there is room.
pub(crate) fn config(upstream: SocketAddr) -> Config {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut config = Config::new(any, any, any, upstream);
    config.outbound_capture = Capture::Fixed(upstream);
    config.inbound_capture = Capture::Fixed(upstream);
    config
}

/// A proxy and the server behind it.
pub(crate) fn pair() -> (Proxy, Server) {
    pair_with(|_| ())
}

/// The same with other settings.
pub(crate) fn pair_with(change: impl FnOnce(&mut Config)) -> (Proxy, Server) {
    let server = Server::new();
    let mut config = config(server.address);
    change(&mut config);
    (Proxy::new(config), server)
}

/// A client connected through a proxy and the server's end of the same connection, after one request and answer without a body.
pub(crate) fn warm(proxy: &Proxy, server: &Server) -> (Wire, Wire) {
    let mut client = proxy.outbound();
    client.send("GET /warm HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut upstream = server.accept();
    upstream.expect("GET /warm HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.send("HTTP/1.1 204 No Content\r\n\r\n");
    client.expect("HTTP/1.1 204 No Content\r\n\r\n");
    (client, upstream)
}

/// Asks until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            std::time::Instant::now() < deadline,
            "never happened: {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// A mesh, as `--local-mesh` reads it, seen by pod `client` in namespace `shop`.
pub(crate) fn mesh(model: serde_json::Value) -> Mesh {
    let model: Model = serde_json::from_value(model).unwrap();
    Mesh::build(&model, &Own::new("shop", "client"), None).unwrap()
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            plane: data_plane::start(config).unwrap(),
        }
    }

    /// A connection that the workload makes.
    pub(crate) fn outbound(&self) -> Wire {
        Wire::connect(self.plane.addresses().outbound)
    }

    /// A connection that somebody makes to the workload.
    pub(crate) fn inbound(&self) -> Wire {
        Wire::connect(self.plane.addresses().inbound)
    }

    /// A connection of the kubelet.
    pub(crate) fn readiness(&self) -> Wire {
        Wire::connect(self.plane.addresses().readiness)
    }

    /// A scrape.
    pub(crate) fn metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.plane.collector()));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        page
    }

    /// The sum of the samples of `name` that have all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

// === impl Server ===

impl Server {
    pub(crate) fn new() -> Self {
        Self::on([127, 0, 0, 1])
    }

    /// A server on another address of this machine.
    pub(crate) fn on(address: [u8; 4]) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((address, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, accepted) = mpsc::channel();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, accepted }
    }

    /// A connection that the proxy has made, if there is one already.
    pub(crate) fn try_accept(&self) -> Option<Wire> {
        self.accepted.try_recv().ok().map(Wire::new)
    }

    /// The next connection that the proxy makes.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        Wire::new(
            self.accepted
                .recv_timeout(PATIENCE)
                .expect("the proxy connects"),
        )
    }

    /// Checks that the proxy has made no connection that was not accepted.
    #[track_caller]
    pub(crate) fn was_not_dialled(&self) {
        assert!(self.accepted.try_recv().is_err(), "the proxy has connected");
    }
}

// === impl Wire ===

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the other side takes it");
    }

    /// Ends this direction.
    pub(crate) fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Makes the coming close a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Reads exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let expect = bytes.as_ref();
        let mut read = vec![0; expect.len()];
        let mut n = 0;
        while n < expect.len() {
            match self.stream.read(&mut read[n..]) {
                Ok(more) if more > 0 => n += more,
                other => panic!(
                    "{other:?} after {:?}, expected {:?}",
                    String::from_utf8_lossy(&read[..n]),
                    String::from_utf8_lossy(expect)
                ),
            }
            assert!(
                read[..n] == expect[..n],
                "read {:?}, expected {:?}",
                String::from_utf8_lossy(&read[..n]),
                String::from_utf8_lossy(expect)
            );
        }
    }

    /// Reads so many bytes.
    pub(crate) fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads up to the end of the first occurrence of `mark`.
    pub(crate) fn skip_to(&mut self, mark: &str) {
        let mut read = Vec::new();
        while !read.ends_with(mark.as_bytes()) {
            read.extend(self.read(1));
        }
    }

    /// Checks that the other side has ended, properly or by a reset, and sent nothing more.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(
            rest.is_empty(),
            "unexpected: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Checks that nothing more comes for a moment.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        let moment = Duration::from_millis(50);
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let read = self.stream.read(&mut [0]);
        assert!(
            read.as_ref().is_err_and(|error| matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut
            )),
            "{read:?}"
        );
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// Everything up to the end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&rest)),
        }
        rest
    }

    /// Everything up to the end, which must be an answer of the proxy itself: its status and reason.
    #[track_caller]
    pub(crate) fn refusal(&mut self) -> (u16, String) {
        let answer = String::from_utf8(self.rest()).unwrap();
        parse_refusal(&answer)
    }
}

/// Status and `x-mesh-error` of an answer.
#[track_caller]
pub(crate) fn parse_refusal(answer: &str) -> (u16, String) {
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let reason = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-mesh-error: "))
        .map(str::to_owned);
    match (status, reason) {
        (Some(status), Some(reason)) => (status, reason),
        _ => panic!("not an answer of the proxy: {answer:?}"),
    }
}
