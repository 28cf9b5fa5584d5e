//! The HTTP probe: asks the application for a page as the kubelet would.
//!
//! Called by `prober` with the kubelet's own headers, which are passed on. Redirects are followed on the application's own address
//! only, ten at most; what the application answers is passed back, so its codes and texts reach the pod's events.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, LOCATION, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    HttpGet,
    dial::{DialError, Dialer},
    redirect::{Redirect, Target},
};
use crate::client::{Kept, Version, exchange, read_up_to};

/// What the application answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its status; redirects that are not followed count as 200.
    pub status: StatusCode,
    /// Its content type.
    pub content_type: Option<HeaderValue>,
    /// The first part of its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpGetError {
    /// The application cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke, or what came is not HTTP.
    #[error("no HTTP answer from port {port}")]
    Http {
        /// The application's port.
        port: u16,
        /// What hyper says.
        source: hyper::Error,
    },
    /// The request cannot be written down.
    #[error("the probe's path or Host header is not fit for a request")]
    Request(#[source] http::Error),
    /// The application redirects to something that is not a location.
    #[error("the application redirects to `{location}`, which is not a location")]
    Location {
        /// What it said, cut short.
        location: String,
    },
    /// The application redirects in circles, or seems to.
    #[error("more than {LIMIT} redirects", LIMIT = REDIRECT_LIMIT)]
    Redirects,
}

/// As many redirects are followed, which is Go's and the kubelet's limit.
const REDIRECT_LIMIT: usize = 10;
/// No more of a body is read and passed on, which is the kubelet's limit.
const BODY_LIMIT: usize = 10 * 1024;
/// Headers that belong to the kubelet's connection and not to its request.
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Asks for the page that `probe` wants, with the headers of the kubelet's request. Dropping the future closes the connection; afterwards it is closed, or
/// kept where `dialer` keeps any.
///
/// # Errors
/// Any [`HttpGetError`]; an error status is not one.
pub async fn ask(
    dialer: &Dialer,
    probe: &HttpGet,
    kubelet: &HeaderMap,
) -> Result<Page, HttpGetError> {
    let headers = request_headers(probe, kubelet);
    let mut host = request_host(probe, kubelet);
    let mut target = Target {
        tls: probe.tls,
        port: probe.port.get(),
        path: probe.path.clone(),
    };
    for _ in 0..=REDIRECT_LIMIT {
        let (page, location) = fetch(dialer, &target, host.as_ref(), &headers).await?;
        let Some(location) = location else {
            return Ok(page);
        };
        match target.redirect(dialer.destination(), &location) {
            Redirect::Again {
                target: next,
                relative,
            } => {
                target = next;
                if !relative {
                    host = None;
                }
            }
            Redirect::Elsewhere => return Ok(page),
            Redirect::Invalid => {
                let location = location.chars().take(100).collect();
                return Err(HttpGetError::Location { location });
            }
        }
    }
    Err(HttpGetError::Redirects)
}

/// One request and its answer, with the location if it asks to be followed.
async fn fetch(
    dialer: &Dialer,
    target: &Target,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> Result<(Page, Option<String>), HttpGetError> {
    let port = target.port;
    let failed = |source| HttpGetError::Http { port, source };
    let request =
        |version| request(version, target, dialer, host, headers).map_err(HttpGetError::Request);
    let way = (port, target.tls);
    if let Some(idle) = dialer.kept()
        && let Some(mut kept) = idle.take(way).await
        && let Ok(answer) = kept.ask(request(Version::Http1)?, read).await
    {
        idle.put(way, kept).await;
        return Ok(answer);
    }
    // Nothing was kept, or it has ended meanwhile, and a page is asked for twice without harm.
    if !target.tls {
        let request = request(Version::Http1)?;
        let stream = dialer.connect(port).await?;
        return ask_http1(dialer, way, stream, request)
            .await
            .map_err(failed);
    }
    let stream = dialer.connect_tls(port).await?;
    let answer = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => {
            let request = request(Version::Http2)?;
            exchange(Version::Http2, stream, request, read).await
        }
        _ => ask_http1(dialer, way, stream, request(Version::Http1)?).await,
    };
    answer.map_err(failed)
}

async fn ask_http1<IO>(
    dialer: &Dialer,
    way: (u16, bool),
    stream: IO,
    request: Request<Full<Bytes>>,
) -> Result<(Page, Option<String>), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(idle) = dialer.kept() else {
        return exchange(Version::Http1, stream, request, read).await;
    };
    let mut kept = Kept::begin(stream).await?;
    let answer = kept.ask(request, read).await?;
    idle.put(way, kept).await;
    Ok(answer)
}

/// What an answer says, and the location if it asks to be followed.
async fn read(response: Response<Incoming>) -> Result<(Page, Option<String>), hyper::Error> {
    let location = redirect_location(&response);
    let is_redirect = response.status().is_redirection();
    let page = Page {
        status: if is_redirect {
            StatusCode::OK
        } else {
            response.status()
        },
        content_type: response.headers().get(CONTENT_TYPE).cloned(),
        body: match location {
            Some(_) => Vec::new(),
            None => read_up_to(response.into_body(), BODY_LIMIT).await?,
        },
    };
    Ok((page, location))
}

fn request(
    version: Version,
    target: &Target,
    dialer: &Dialer,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let own_host = || HeaderValue::from_str(&authority(dialer, target));
    let host = host.cloned().map_or_else(own_host, Ok)?;
    let path: PathAndQuery = target.path.parse()?;
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::GET;
    *request.headers_mut() = headers.clone();
    match version {
        Version::Http1 => {
            *request.uri_mut() = Uri::from(path);
            request.headers_mut().insert(HOST, host);
            if dialer.kept().is_none() {
                let close = HeaderValue::from_static("close");
                request.headers_mut().insert(CONNECTION, close);
            }
        }
        Version::Http2 => {
            *request.version_mut() = http::Version::HTTP_2;
            let mut uri = http::uri::Parts::default();
            uri.scheme = Some(Scheme::HTTPS);
            uri.authority = Some(Authority::try_from(host.as_bytes())?);
            uri.path_and_query = Some(path);
            *request.uri_mut() = Uri::from_parts(uri)?;
        }
    }
    Ok(request)
}

/// The `Host` of a request that nobody gave another one; the scheme's own port is left out, as browsers do.
fn authority(dialer: &Dialer, target: &Target) -> String {
    let address = std::net::SocketAddr::new(dialer.destination(), target.port).to_string();
    let default = if target.tls { ":443" } else { ":80" };
    address.strip_suffix(default).unwrap_or(&address).to_owned()
}

/// The kubelet's headers, with those of the probe in place of its own.
fn request_headers(probe: &HttpGet, kubelet: &HeaderMap) -> HeaderMap {
    let mut headers = kubelet.clone();
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    for (name, _) in &probe.headers {
        headers.remove(name);
    }
    for (name, value) in &probe.headers {
        headers.append(name, value.clone());
    }
    headers
}

/// The probe's own `Host`, else the kubelet's with the application's port in place of the sidecar's.
fn request_host(probe: &HttpGet, kubelet: &HeaderMap) -> Option<HeaderValue> {
    if let Some(host) = &probe.host {
        return Some(host.clone());
    }
    let host = kubelet.get(HOST)?;
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    match authority.port() {
        Some(_) => HeaderValue::from_str(&format!("{}:{}", authority.host(), probe.port)).ok(),
        None => Some(host.clone()),
    }
}

fn redirect_location(response: &Response<Incoming>) -> Option<String> {
    // Other codes of the class, 304 for example, have nothing to follow.
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}
