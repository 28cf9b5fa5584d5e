//! The DNS proxy against name servers of the test's own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use agent::dns::Proxy;
use prometheus_client::{encoding::text, registry::Registry};
use runtime::task::Group;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04shop\x00\x00\x01\x00\x01";
const LIMIT: Duration = Duration::from_secs(20);

/// A proxy that runs as long as the value lives.
struct Running {
    udp: SocketAddr,
    tcp: SocketAddr,
    registry: Registry,
    group: Group,
}

impl Running {
    fn start(servers: &[SocketAddr]) -> Self {
        let proxy = Proxy::bind(0, servers).expect("ports are free");
        let mut registry = Registry::default();
        proxy.register(&mut registry);
        let ipv4 = |addresses: Vec<SocketAddr>| {
            let found = addresses.into_iter().find(SocketAddr::is_ipv4);
            found.expect("an IPv4 listener")
        };
        let (udp, tcp) = (ipv4(proxy.udp_addresses()), ipv4(proxy.tcp_addresses()));
        let group = Group::new();
        group.spawn_essential("dns proxy", proxy.serve());
        Self {
            udp,
            tcp,
            registry,
            group,
        }
    }

    async fn ask(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.udp).await?;
        socket.send(question).await?;
        let mut answer = vec![0; 65_535];
        let length = timeout(LIMIT, socket.recv(&mut answer)).await??;
        answer.truncate(length);
        Ok(answer)
    }

    fn metrics(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("metrics are text");
        page
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.cancel();
    }
}

/// A name server that sends something of somebody else first, then the answer with `extra` behind it.
async fn name_server(extra: usize) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = socket.local_addr().expect("an address");
    // It ends with the test's runtime.
    Group::new().spawn("name server", async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            answer.resize(length + extra, b'x');
            let mut foreign = answer.clone();
            foreign[0] ^= 0xFF;
            for message in [b"short".to_vec(), foreign, answer] {
                socket.send_to(&message, client).await.expect("it is sent");
            }
        }
    });
    address
}

/// An address at which nobody answers.
async fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    socket.local_addr().expect("an address")
}

#[tokio::test]
async fn an_answer_comes_back_as_the_server_gave_it() {
    for extra in [0, 9000] {
        let proxy = Running::start(&[name_server(extra).await]);
        let answer = proxy.ask(QUESTION).await.expect("an answer");
        assert_eq!(answer.len(), QUESTION.len() + extra);
        assert_eq!(answer[..2], QUESTION[..2]);
        assert_eq!(answer[2], 0x81);
    }
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_away() {
    let proxy = Running::start(&[nobody().await, name_server(0).await]);
    let answer = proxy.ask(QUESTION).await.expect("an answer");
    assert_eq!(answer[2..4], [0x81, 0]);
}

#[tokio::test]
async fn a_question_that_nobody_answers_fails_at_once_and_is_counted() {
    let proxy = Running::start(&[nobody().await]);
    let answer = proxy.ask(QUESTION).await.expect("an answer");
    assert_eq!(answer[3] & 0x0F, 2, "SERVFAIL");
    assert_eq!(answer[12..], QUESTION[12..]);
    let metrics = proxy.metrics();
    for line in [
        "istio_agent_dns_requests_total 1",
        "istio_agent_dns_upstream_failures_total 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn what_is_no_question_is_dropped_and_harms_nobody() {
    let proxy = Running::start(&[name_server(0).await]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    for bytes in [&b""[..], b"x", &[0xFF; 12], &[0xFF; 1400]] {
        socket.send_to(bytes, proxy.udp).await.expect("it is sent");
    }
    proxy.ask(QUESTION).await.expect("an answer");
    assert!(proxy.metrics().contains("istio_agent_dns_requests_total 1"));
}

#[tokio::test]
async fn a_connection_is_led_to_a_server() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = server.local_addr().expect("an address");
    let proxy = Running::start(&[address]);
    let mut client = TcpStream::connect(proxy.tcp).await.expect("it is accepted");
    client.write_all(b"question").await.expect("it is sent");
    client.shutdown().await.expect("its end is sent");
    let (mut stream, _) = timeout(LIMIT, server.accept())
        .await
        .expect("in time")
        .expect("a connection");
    let mut question = Vec::new();
    stream.read_to_end(&mut question).await.expect("it is read");
    assert_eq!(question, b"question");
    stream.write_all(b"answer").await.expect("it is sent");
    drop(stream);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("it is read");
    assert_eq!(answer, b"answer");
}
