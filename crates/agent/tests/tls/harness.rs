//! Credentials of one test mesh, and streams that are read and written whole.

use std::{future::poll_fn, io, path::Path, sync::Arc, time::Duration};

use agent::{
    data_plane::net::stream::Stream,
    tls::{
        Credentials, CredentialsError, Offer, TlsError,
        credentials::{Pem, Settings},
    },
};
use testkit::pki::{Leaf, Root};
use time::OffsetDateTime;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
pub(crate) const API: &str = "spiffe://cluster.local/ns/default/sa/api";
pub(crate) const SNI: &str = "outbound_.8080_._.api.default.svc.cluster.local";

/// Far more than any handshake takes, far less than a test's patience.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn try_credentials(
    leaf: &Leaf,
    settings: &Settings,
) -> Result<Credentials, CredentialsError> {
    let pem = Pem {
        folder: Path::new("/x"),
        chain: leaf.chain.as_bytes(),
        key: leaf.key.as_bytes(),
        roots: leaf.roots.as_bytes(),
    };
    Credentials::new(pem, settings, 1, OffsetDateTime::now_utc())
}

pub(crate) fn credentials(leaf: &Leaf) -> Credentials {
    try_credentials(leaf, &Settings::default()).unwrap()
}

pub(crate) fn ids(ids: &[&str]) -> Vec<Arc<str>> {
    ids.iter().map(|id| Arc::from(*id)).collect()
}

/// What a client needs.
pub(crate) struct Client<'a> {
    pub(crate) credentials: &'a Credentials,
    pub(crate) expected: &'a [Arc<str>],
    pub(crate) sni: Option<&'a str>,
    pub(crate) offer: Offer,
}

/// Two ends of a TCP connection, the client's first.
pub(crate) async fn tcp() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Stream::new(client.unwrap()), Stream::new(server.unwrap().0))
}

/// How both ends of a handshake see it, the client's first.
pub(crate) async fn try_pair(
    client: Client<'_>,
    server: &Credentials,
) -> (Result<Stream, TlsError>, Result<Stream, TlsError>) {
    let (left, right) = tcp().await;
    let connecting = left.connect_tls(
        client.credentials,
        client.expected,
        client.sni,
        client.offer,
    );
    let accepting = right.accept_tls(server, Vec::new());
    tokio::time::timeout(LIMIT, async { tokio::join!(connecting, accepting) })
        .await
        .unwrap()
}

/// A secured connection from web to api, the client's end first.
pub(crate) async fn pair() -> (Stream, Stream) {
    let root = Root::new("mesh");
    let (web, api) = (
        credentials(&root.workload(WEB)),
        credentials(&root.workload(API)),
    );
    let expected = ids(&[API]);
    let client = Client {
        credentials: &web,
        expected: &expected,
        sni: Some(SNI),
        offer: Offer::Http,
    };
    let (client, server) = try_pair(client, &api).await;
    (client.unwrap(), server.unwrap())
}

pub(crate) async fn write_all(stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// One read into a buffer of `capacity`.
pub(crate) async fn read(stream: &mut Stream, capacity: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(capacity);
    poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
    Ok(buffer)
}

pub(crate) async fn read_exact(
    stream: &mut Stream,
    n: usize,
    capacity: usize,
) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < n {
        let some = read(stream, capacity).await?;
        if some.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend(some);
    }
    Ok(all)
}

/// Everything until the proper end.
pub(crate) async fn read_all(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match read(stream, 16 * 1024).await? {
            some if some.is_empty() => return Ok(all),
            some => all.extend(some),
        }
    }
}

pub(crate) async fn shut_down(stream: &mut Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_shutdown(cx)).await
}
