//! Heads of HTTP/1 messages: strict parsing into what the proxy needs to know.
//!
//! [`parse_request`] and [`parse_response`] take one complete head, found by [`scan`](super::scan), and give framing, persistence
//! and the places of the few fields that the access log shows. The bytes themselves are passed on unchanged, so whatever two
//! receivers could read differently is refused here (RFC 9112 sections 2.2, 5.1, 6.3 and 11.2).

mod field_set;
mod framing;

use std::mem::MaybeUninit;

pub(crate) use field_set::{FieldSet, edit};
use framing::{Coding, Fields, Framing};

/// Most fields of a head; beyond it a request is answered with 431.
pub(crate) const MAX_FIELDS: usize = 256;

/// A place in the bytes of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// HTTP/1.0: one request a connection unless both sides say otherwise.
    Http10,
    /// HTTP/1.1: persistent unless one side says otherwise.
    Http11,
}

/// Methods that change how a message is framed or whether it may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// GET.
    Get,
    /// The answer has no body.
    Head,
    /// A 2xx answer begins a tunnel.
    Connect,
    /// OPTIONS, TRACE, PUT, DELETE: twice, as with the two above, does the same as once (RFC 9110 section 9.2.2).
    Idempotent,
    /// POST, PATCH and everything unknown.
    Other,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none.
    Empty,
    /// `Content-Length` bytes.
    Exactly(u64),
    /// Chunks up to an empty one.
    Chunked,
    /// Up to the end of the connection; only an answer can be so.
    UntilClose,
}

/// A request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) length: Length,
    /// The client may send another request after this one.
    pub(crate) persistent: bool,
    /// The client asks to switch protocols.
    pub(crate) upgrade: bool,
    /// The client says that sending it twice does no harm (`Idempotency-Key`).
    pub(crate) repeatable: bool,
    pub(crate) method_text: Span,
    pub(crate) target: Span,
    pub(crate) authority: Span,
    pub(crate) user_agent: Span,
    pub(crate) forwarded_for: Span,
    pub(crate) request_id: Span,
    /// What the sender's sidecar says of its workload, unverified.
    pub(crate) peer_metadata: Span,
    /// Whom the sender says to have verified.
    pub(crate) client_cert: Span,
    /// Fields that may be taken out.
    pub(crate) present: FieldSet,
}

/// An answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// 100 to 999.
    pub(crate) status: u16,
    pub(crate) length: Length,
    /// The server may take another request after this one.
    pub(crate) persistent: bool,
    pub(crate) version: Version,
    /// Fields that may be taken out.
    pub(crate) present: FieldSet,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    #[error("a line does not end in CR LF")]
    LineEnd,
    #[error("the head is too large")]
    TooLarge,
    #[error("the head has too many fields")]
    TooManyFields,
    #[error("the start line or a field does not follow the grammar of HTTP/1.1")]
    Syntax,
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    #[error("the status is outside of 100 to 999")]
    Status,
    #[error("a request needs exactly one Host field")]
    Host,
    #[error("the Content-Length is not one plain number")]
    ContentLength,
    #[error("both Transfer-Encoding and Content-Length are given")]
    TwoLengths,
    #[error("the Transfer-Encoding is not understood or does not end in chunked")]
    TransferEncoding,
    #[error("a CONNECT request has a body")]
    ConnectBody,
    #[error("the Connection field names a field that only sidecars write")]
    ReservedOption,
}

// === impl Span ===

impl Span {
    /// The bytes at this place; empty where `head` is not the head that it was taken from.
    pub(crate) fn of(self, head: &[u8]) -> &[u8] {
        let start = self.start as usize;
        head.get(start..start + self.len as usize)
            .unwrap_or_default()
    }

    fn start(self) -> usize {
        self.start as usize
    }

    /// The bytes have moved towards the start of the head.
    fn move_back(&mut self, by: usize) {
        self.start = self
            .start
            .saturating_sub(u32::try_from(by).unwrap_or(u32::MAX));
    }

    /// The place of `part`, which httparse cut out of `head`.
    fn locate(head: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        match (u32::try_from(start), u32::try_from(part.len())) {
            (Ok(start), Ok(len)) => Self { start, len },
            _ => Self::default(),
        }
    }
}

// === impl Version ===

impl Version {
    /// As the access log writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }

    fn parse(minor: Option<u8>) -> Result<Self, HeadError> {
        match minor {
            Some(0) => Ok(Self::Http10),
            Some(1) => Ok(Self::Http11),
            _ => Err(HeadError::Version),
        }
    }
}

// === impl Method ===

impl Method {
    fn parse(method: &str) -> Self {
        // Methods are case-sensitive (RFC 9110 section 9.1).
        match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "CONNECT" => Self::Connect,
            "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Self::Idempotent,
            _ => Self::Other,
        }
    }
}

// === impl Request ===

impl Request {
    /// Whether the request may reach the application twice without harm.
    pub(crate) fn may_repeat(&self) -> bool {
        self.repeatable || matches!(self.method, Method::Get | Method::Head | Method::Idempotent)
    }

    /// What is taken out because it is for this hop alone.
    pub(crate) fn hop_fields(&self) -> FieldSet {
        // An old client's wish is left to an upstream that may be as old, a switch of protocols to whoever switches.
        if self.version == Version::Http10 || self.upgrade || self.method == Method::Connect {
            return FieldSet::default();
        }
        FieldSet::CONNECTION
    }

    /// Whether the upstream is told to close its connection after the answer.
    pub(crate) fn closes_upstream(&self) -> bool {
        !self.persistent && self.hop_fields().among(self.present).is_empty()
    }

    /// Whether the method is GET.
    pub(crate) fn is_get(&self) -> bool {
        self.method == Method::Get
    }
}

impl Response {
    /// Whether what it says of the connection is for this hop alone and can be taken out.
    pub(crate) fn may_lose_connection(&self) -> bool {
        let told_to_close = !self.persistent && self.length != Length::UntilClose;
        !told_to_close || !FieldSet::CONNECTION.among(self.present).is_empty()
    }
}

/// Parses one complete request head.
///
/// # Errors
/// Says what must be refused with 400 (431 for too many fields, 505 for a foreign version).
pub(crate) fn parse_request(head: &[u8]) -> Result<Request, HeadError> {
    let mut space = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let end = parsed.parse_with_uninit_headers(head, &mut space)?;
    if end != httparse::Status::Complete(head.len()) {
        return Err(HeadError::Syntax);
    }
    let version = Version::parse(parsed.version)?;
    let method_text = parsed.method.unwrap_or_default();
    let method = Method::parse(method_text);
    let framing = Framing::read(parsed.headers)?;
    if version == Version::Http10 && framing.coding != Coding::Absent {
        return Err(HeadError::TransferEncoding);
    }
    let length = match (framing.coding, framing.content_length) {
        (Coding::Absent, None | Some(0)) => Length::Empty,
        (Coding::Absent, Some(length)) => Length::Exactly(length),
        _ => Length::Chunked,
    };
    if method == Method::Connect && length != Length::Empty {
        return Err(HeadError::ConnectBody);
    }
    let mut request = Request {
        method,
        version,
        length,
        persistent: framing.persistent(version),
        upgrade: false,
        repeatable: false,
        method_text: Span::locate(head, method_text.as_bytes()),
        target: Span::locate(head, parsed.path.unwrap_or_default().as_bytes()),
        authority: Span::default(),
        user_agent: Span::default(),
        forwarded_for: Span::default(),
        request_id: Span::default(),
        peer_metadata: Span::default(),
        client_cert: Span::default(),
        present: framing.present,
    };
    let (hosts, upgrade) = request.note_fields(head, parsed.headers);
    request.upgrade = upgrade && framing.connection_upgrade;
    if hosts > 1 || (hosts == 0 && version == Version::Http11) {
        return Err(HeadError::Host);
    }
    Ok(request)
}

impl Request {
    /// Remembers where the logged fields are; gives the number of `Host` fields and whether there is an `Upgrade` field.
    fn note_fields(&mut self, head: &[u8], fields: Fields<'_, '_>) -> (usize, bool) {
        let (mut hosts, mut upgrade) = (0, false);
        for field in fields {
            let name = field.name;
            let place = || Span::locate(head, field.value);
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {
                    hosts += 1;
                    self.authority = place();
                }
                7 => upgrade |= name.eq_ignore_ascii_case("upgrade"),
                10 if name.eq_ignore_ascii_case("user-agent") => self.user_agent = place(),
                12 if name.eq_ignore_ascii_case("x-request-id") => self.request_id = place(),
                15 if name.eq_ignore_ascii_case("x-forwarded-for") => self.forwarded_for = place(),
                15 => self.repeatable |= name.eq_ignore_ascii_case("idempotency-key"),
                _ => {}
            }
        }
        self.peer_metadata = value(head, FieldSet::PEER_METADATA.among(self.present), fields);
        self.client_cert = value(head, FieldSet::CLIENT_CERT.among(self.present), fields);
        (hosts, upgrade)
    }

    /// Takes fields out of this request's head, which is at the start of `buffer`, and adds lines, as [`edit`] does.
    pub(crate) fn edit(
        &mut self,
        buffer: &mut Vec<u8>,
        len: usize,
        removed: FieldSet,
        added: &[&[u8]],
    ) -> usize {
        let removed = removed.among(self.present);
        let places = &mut [
            &mut self.authority,
            &mut self.user_agent,
            &mut self.forwarded_for,
            &mut self.request_id,
            &mut self.peer_metadata,
            &mut self.client_cert,
        ];
        edit(buffer, 0..len, removed, added, places)
    }
}

/// The value of the first field of `wanted`, which is one or none.
fn value(head: &[u8], wanted: FieldSet, fields: Fields<'_, '_>) -> Span {
    if wanted.is_empty() {
        return Span::default();
    }
    fields
        .iter()
        .find(|field| FieldSet::named(field.name.as_bytes()) == wanted)
        .map(|field| Span::locate(head, field.value))
        .unwrap_or_default()
}

/// Parses one complete response head; `method` is that of the request it answers.
///
/// # Errors
/// Says why the answer must not be passed on.
pub(crate) fn parse_response(head: &[u8], method: Method) -> Result<Response, HeadError> {
    let mut space = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let end = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        head,
        &mut space,
    )?;
    if end != httparse::Status::Complete(head.len()) {
        return Err(HeadError::Syntax);
    }
    let version = Version::parse(parsed.version)?;
    let status = parsed
        .code
        .filter(|code| *code >= 100)
        .ok_or(HeadError::Status)?;
    let framing = Framing::read(parsed.headers)?;
    if version == Version::Http10 && framing.coding != Coding::Absent {
        return Err(HeadError::TransferEncoding);
    }
    let bodiless = method == Method::Head
        || matches!(status, 100..=199 | 204 | 304)
        || (method == Method::Connect && matches!(status, 200..=299));
    let length = match (framing.coding, framing.content_length) {
        _ if bodiless => Length::Empty,
        (Coding::Absent, Some(0)) => Length::Empty,
        (Coding::Absent, Some(length)) => Length::Exactly(length),
        (Coding::Absent, None) => Length::UntilClose,
        _ => Length::Chunked,
    };
    Ok(Response {
        status,
        length,
        persistent: framing.persistent(version) && length != Length::UntilClose,
        version,
        present: framing.present,
    })
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
            httparse::Error::NewLine => Self::LineEnd,
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::Status
            | httparse::Error::Token => Self::Syntax,
        }
    }
}

#[cfg(test)]
mod tests;
