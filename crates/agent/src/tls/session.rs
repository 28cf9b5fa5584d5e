//! One TLS connection as bytes in and bytes out.
//!
//! [`Stream`](crate::data_plane::net::stream::Stream) reads and writes the socket and calls [`Session::step`] with what it has read.
//! The session itself holds no buffer: records are decrypted where they were read to, and written to where they are sent from.

use std::sync::Arc;

use rustls::{
    ClientConfig, CommonState, Error, ServerConfig,
    client::{ClientConnectionData, UnbufferedClientConnection},
    pki_types::{CertificateDer, ServerName},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{
        ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
        WriteTraffic,
    },
};

use super::Offer;

/// A connection's TLS state.
pub(crate) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more to do with what is there.
    Again,
    /// The handshake waits for the peer's next bytes.
    Handshaking,
    /// What was read is used up; bytes can be sent.
    Established,
    /// The peer has said that nothing more will follow.
    PeerClosed,
}

/// What the two kinds of sessions have in common.
trait Records {
    type Data;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

// === impl Session ===

impl Session {
    /// A client's session; without a name that DNS could have, none is sent.
    pub(crate) fn client(
        config: Arc<ClientConfig>,
        sni: Option<&str>,
        offer: Offer,
    ) -> Result<Self, Error> {
        // An address as the name means that no name is sent (RFC 6066, section 3); the verifier asks for none.
        let nameless = || ServerName::from(std::net::Ipv4Addr::LOCALHOST);
        let name = sni
            .and_then(|sni| ServerName::try_from(sni.to_owned()).ok())
            .unwrap_or_else(nameless);
        let names = offer.names().iter().map(|name| name.to_vec()).collect();
        UnbufferedClientConnection::new_with_alpn(config, name, names).map(Self::Client)
    }

    /// A server's session.
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(Self::Server)
    }

    /// Goes on with `received`, whose first bytes the returned number says are used up. Appends what is to be sent to `to_send`, and
    /// gives application data, at most one record, to `data`.
    ///
    /// Bytes that are not used up must be given again, unchanged, with what follows them. A [whole record](is_whole) among them is the
    /// beginning of a message that goes on in the next one. Once the handshake is over, such a session must not be used any more: to
    /// encrypt, it would need these bytes; nobody has so much to say then.
    pub(crate) fn step(
        &mut self,
        received: &mut [u8],
        to_send: &mut Vec<u8>,
        data: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Client(records) => step(records, received, to_send, data),
            Self::Server(records) => step(records, received, to_send, data),
        }
    }

    /// What is to be sent after a step that failed: the alert that says why. Nothing that was received is looked at any more.
    pub(crate) fn last_words(&mut self, to_send: &mut Vec<u8>) {
        while self.common().wants_write() {
            if self.step(&mut [], to_send, &mut |_| {}).1.is_err() {
                return;
            }
        }
    }

    /// Encrypts `bytes` into `room`; gives the number of bytes to send.
    ///
    /// # Errors
    /// When the session is over, or `room` is too small: [`sealed_len`] says how much it takes.
    pub(crate) fn encrypt(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<usize, Refused> {
        match self {
            Self::Client(records) => write(records, |traffic| traffic.encrypt(bytes, room)),
            Self::Server(records) => write(records, |traffic| traffic.encrypt(bytes, room)),
        }
    }

    /// Encrypts into `room` that nothing more will follow.
    pub(crate) fn close(&mut self, room: &mut [u8]) -> Result<usize, Refused> {
        match self {
            Self::Client(records) => write(records, |traffic| traffic.queue_close_notify(room)),
            Self::Server(records) => write(records, |traffic| traffic.queue_close_notify(room)),
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// The name that was agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    /// The peer's own certificate, which was verified.
    pub(crate) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.common().peer_certificates()?.first()
    }

    fn common(&self) -> &CommonState {
        match self {
            Self::Client(records) => records,
            Self::Server(records) => records,
        }
    }
}

/// A session takes no more bytes to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Largest plaintext of a record (RFC 8446, section 5.1).
pub(crate) const MAX_RECORD: usize = 16 * 1024;
/// Bytes of a record's header.
pub(crate) const HEADER: usize = 5;
/// Most that encryption adds to a record: the header, and a nonce with a tag (TLS 1.2), or a content type with a tag.
pub(crate) const OVERHEAD: usize = HEADER + 8 + 16;
/// A key update that the peer has asked for goes before the next bytes.
const KEY_UPDATE: usize = OVERHEAD + 5;

/// Room that encrypting `len` bytes takes at most.
pub(crate) const fn sealed_len(len: usize) -> usize {
    len + (len.div_ceil(MAX_RECORD) + 1) * OVERHEAD + 2 * KEY_UPDATE
}

/// Whether `bytes` begin with a whole record.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    record_len(bytes).is_some_and(|len| bytes.len() >= HEADER + len)
}

/// The length of a record's content, from its header.
pub(crate) fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low] = bytes.first_chunk::<HEADER>()?;
    Some(usize::from(u16::from_be_bytes([*high, *low])))
}

// === impl Records ===

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(received)
    }
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        received: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(received)
    }
}

fn step<R: Records>(
    records: &mut R,
    received: &mut [u8],
    to_send: &mut Vec<u8>,
    data: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = records.process(received);
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    data(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut record)) => {
            let from = to_send.len();
            let mut room = 0;
            // Asked with no room first, it says how much it takes.
            while let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
                record.encode(to_send.get_mut(from..).unwrap_or_default())
            {
                if required_size <= room {
                    break;
                }
                room = required_size;
                to_send.resize(from + room, 0);
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            // The caller has them, and sends nothing before them.
            transmit.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Handshaking),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Established),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::PeerClosed),
        // Early data is never accepted, and there are no other states.
        Ok(_) => Err(Error::General("a state that cannot be".to_owned())),
    };
    (discard, step)
}

/// Comes to the state in which bytes can be sent, if the session is still in it.
fn write<R: Records>(
    records: &mut R,
    encrypt: impl FnOnce(&mut WriteTraffic<'_, R::Data>) -> Result<usize, EncryptError>,
) -> Result<usize, Refused> {
    // The peer's end is told once, in between.
    for _ in 0..2 {
        match records.process(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                return encrypt(&mut traffic).map_err(|_| Refused);
            }
            Ok(ConnectionState::PeerClosed) => {}
            _ => return Err(Refused),
        }
    }
    Err(Refused)
}
