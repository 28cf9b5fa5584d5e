//! The gRPC probe: asks the standard health service, version 1.
//!
//! Called by `prober`. The two messages (`grpc/health/v1/health.proto`) have a field each, so they are written and read here by hand.
//! An application is healthy if it answers `SERVING` for the service.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header::CONTENT_TYPE,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::dial::{DialError, Dialer};
use crate::client::{Version, exchange};

/// Why the application does not count as healthy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrpcError {
    /// The application cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or what came is not HTTP/2.
    #[error("no gRPC answer from port {port}")]
    Http {
        /// The application's port.
        port: u16,
        /// What hyper says.
        source: hyper::Error,
    },
    /// The answer is not one of a gRPC server.
    #[error("port {port} answers, but not as a gRPC health service: {reason}")]
    Answer {
        /// The application's port.
        port: u16,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The call failed, with gRPC's code.
    #[error("the health service answers with gRPC status {code}")]
    Call {
        /// The code, `12` for a service that is not there.
        code: String,
    },
    /// The service says that it does not serve.
    #[error("the health service answers {status}, not SERVING")]
    NotServing {
        /// The name of the status, or its number.
        status: String,
    },
}

/// What is read of one answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<(Bytes, Option<HeaderMap>), &'static str>,
}

const PATH: &str = "/grpc.health.v1.Health/Check";
/// `ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// Far more than the message needs.
const BODY_LIMIT: usize = 4 * 1024;
/// Before each message: a byte that says whether it is compressed, and its length in four.
const PREFIX_LEN: usize = 5;

/// Asks the health service on `port` about `service`. Dropping the future closes the connection.
///
/// # Errors
/// Any [`GrpcError`].
pub async fn check(dialer: &Dialer, port: u16, service: &str) -> Result<(), GrpcError> {
    let stream = dialer.connect(port).await?;
    let authority = std::net::SocketAddr::new(dialer.destination(), port);
    let not_grpc = |reason| GrpcError::Answer { port, reason };
    let request = request(&authority.to_string(), service)
        .map_err(|_| not_grpc("its address is not fit for a request"))?;
    let read = |response: Response<Incoming>| async move {
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => {
                let trailers = body.trailers().cloned();
                Ok((body.to_bytes(), trailers))
            }
            Err(_) => Err("its message breaks off or is too long"),
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    let answer = exchange(Version::Http2, stream, request, read)
        .await
        .map_err(|source| GrpcError::Http { port, source })?;
    judge(port, answer)
}

fn request(authority: &str, service: &str) -> Result<Request<Full<Bytes>>, http::Error> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(PATH)
        .build()?;
    Request::builder()
        .method(Method::POST)
        .version(http::Version::HTTP_2)
        .uri(uri)
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .header(
            "user-agent",
            concat!("minimesh-agent/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::from(encode(service)))
}

fn judge(port: u16, answer: Answer) -> Result<(), GrpcError> {
    let not_grpc = |reason| GrpcError::Answer { port, reason };
    if answer.status != StatusCode::OK {
        return Err(not_grpc("its HTTP status is not 200"));
    }
    let (body, trailers) = answer.body.map_err(not_grpc)?;
    // An answer without a message has its status among the headers.
    let code = trailers
        .as_ref()
        .and_then(|trailers| trailers.get("grpc-status"))
        .or_else(|| answer.headers.get("grpc-status"))
        .map(HeaderValue::as_bytes);
    match code {
        Some(b"0") => {}
        Some(code) => {
            let code = String::from_utf8_lossy(code).chars().take(20).collect();
            return Err(GrpcError::Call { code });
        }
        None => return Err(not_grpc("it has no grpc-status")),
    }
    match decode(&body) {
        Some(SERVING) => Ok(()),
        Some(other) => Err(GrpcError::NotServing {
            status: match other {
                0 => "UNKNOWN".to_owned(),
                2 => "NOT_SERVING".to_owned(),
                3 => "SERVICE_UNKNOWN".to_owned(),
                number => number.to_string(),
            },
        }),
        None => Err(not_grpc("its message cannot be read")),
    }
}

/// `HealthCheckRequest { service = 1 }` behind its prefix.
fn encode(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        push_varint(service.len(), &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    // Services come from one environment variable, which the kernel limits to far less.
    framed.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    framed.extend_from_slice(&message);
    framed
}

/// The status of a framed `HealthCheckResponse { status = 1 }`; nothing if it is not one.
fn decode(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_at_checked(PREFIX_LEN)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        match key & 7 {
            0 => {
                let value = take_varint(&mut rest)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn push_varint(mut number: usize, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_framed_as_grpc_wants() {
        assert_eq!(encode(""), [0, 0, 0, 0, 0]);
        assert_eq!(encode("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = encode(&"x".repeat(300));
        assert_eq!(long.get(..8), Some(&[0, 0, 0, 1, 47, 0x0a, 0xac, 0x02][..]));
    }

    #[test]
    fn statuses_are_read() {
        let table: [(&[u8], Option<u64>); 9] = [
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 1], Some(1)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0], None),
            (&[0, 0, 0, 0, 2, 0x12, 9], None),
        ];
        for (body, status) in table {
            assert_eq!(decode(body), status, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_survived(message in any::<Vec<u8>>()) {
            let mut body = vec![0];
            body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            body.extend_from_slice(&message);
            let _ = decode(&body);
        }
    }
}
