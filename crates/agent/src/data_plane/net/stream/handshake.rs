//! The beginning of a secured connection.
//!
//! [`Stream`](super::Stream) comes here once for each; what comes out is verified on our side. Memory is bounded by the largest message
//! of a handshake, time by the caller.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::secured::Secured;
use crate::tls::{
    Credentials, Offer, PeerIdentity, TlsError,
    hello::{self, Detected},
    session::{Session, Step, is_whole},
};

/// Read at a time: a flight with two certificates.
const READ: usize = 4096;

/// The server's side; `first` was already read.
pub(super) async fn accept(
    tcp: &mut TcpStream,
    credentials: &Credentials,
    mut first: Vec<u8>,
) -> Result<Secured, TlsError> {
    let hello = loop {
        match hello::read(&first) {
            Detected::Tls(hello) => break hello,
            Detected::NotTls => return Err(TlsError::NotTls),
            Detected::NeedMore => read(tcp, &mut first).await?,
        }
    };
    let config = credentials.server(hello.offers_ours);
    let session = Session::server(config)?;
    run(tcp, session, first).await
}

/// The client's side.
pub(super) async fn connect(
    tcp: &mut TcpStream,
    credentials: &Credentials,
    expected: &[Arc<str>],
    sni: Option<&str>,
    offer: Offer,
) -> Result<Secured, TlsError> {
    let session = Session::client(credentials.client(expected), sni, offer)?;
    run(tcp, session, Vec::new()).await
}

async fn run(
    tcp: &mut TcpStream,
    mut session: Session,
    mut received: Vec<u8>,
) -> Result<Secured, TlsError> {
    let mut to_send = Vec::new();
    // The last bytes of the handshake may have the first ones of the application behind them.
    let mut early = Vec::new();
    let mut is_over = false;
    loop {
        let mut data = |bytes: &[u8]| early.extend_from_slice(bytes);
        let (used, step) = session.step(&mut received, &mut to_send, &mut data);
        received.drain(..used);
        match step {
            Ok(Step::Again) => continue,
            Ok(Step::Handshaking | Step::Established) => {}
            Ok(Step::PeerClosed) if !is_over => {
                is_over = true;
                continue;
            }
            Ok(Step::PeerClosed) => return Err(TlsError::Closed),
            Err(error) => {
                session.last_words(&mut to_send);
                tell(tcp, &to_send).await;
                return Err(error.into());
            }
        }
        if !to_send.is_empty() {
            tcp.write_all(&to_send).await.map_err(TlsError::Io)?;
            to_send.clear();
        }
        if !session.is_handshaking() {
            break;
        }
        read(tcp, &mut received).await?;
    }
    if is_whole(&received) {
        return Err(TlsError::Refused(rustls::Error::General(
            "a message after the handshake is larger than a record".to_owned(),
        )));
    }
    let certificate = session.peer_certificate().map(AsRef::as_ref);
    let peer = PeerIdentity::of(certificate.unwrap_or_default())?;
    Ok(Secured::new(session, peer, received, early, is_over))
}

async fn read(tcp: &mut TcpStream, received: &mut Vec<u8>) -> Result<(), TlsError> {
    received.reserve(READ);
    match tcp.read_buf(received).await {
        Ok(0) => Err(TlsError::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(TlsError::Io(error)),
    }
}

/// Sends the alert that says why it failed. A peer that does not take it at once is not waited for.
async fn tell(tcp: &mut TcpStream, alert: &[u8]) {
    if !alert.is_empty() && tcp.try_write(alert).is_ok() {
        // Bytes of the peer that nobody reads would turn the close into a reset, and the alert would be lost.
        let _ = tcp.shutdown().await;
        let mut rest = [0; 1024];
        while matches!(tcp.try_read(&mut rest), Ok(n) if n > 0) {}
    }
}
