//! A stand-in for an API server that has no objects, for a control plane that does not start without one.
//!
//! Lists are empty, watches stay open and silent, what is written comes back as it is, anything else is not there.
//! Connections belong to one client on loopback, whom the bench trusts; each has a thread that ends with the connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

/// Serves on a free port until the program ends.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away in the middle of something is no loss.
            thread::spawn(move || serve(stream).ok());
        }
    });
    Ok(address)
}

/// A client's configuration that leads to `address`.
pub(super) fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: bench\ncontexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]\nclusters: [{{name: bench, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: bench, user: {{}}}}]\n"
    )
}

/// What is answered to a request.
#[derive(Debug, PartialEq)]
enum Answer {
    Body(u16, String),
    /// A watch that stays silent.
    Watch,
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, target) = (
            words.next().unwrap_or_default().to_owned(),
            words.next().unwrap_or_default().to_owned(),
        );
        let mut body = vec![0; content_length(&mut reader)?];
        reader.read_exact(&mut body)?;
        match answer(&method, &target, &String::from_utf8_lossy(&body)) {
            Answer::Body(status, body) => write!(
                writer,
                "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?,
            Answer::Watch => write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )?,
        }
    }
}

/// Reads the rest of a request's head.
fn content_length(reader: &mut impl BufRead) -> io::Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(length);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

fn answer(method: &str, target: &str, body: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match method {
        "GET" if path == "/version" => Answer::Body(
            200,
            r#"{"major":"1","minor":"34","gitVersion":"v1.34.0"}"#.to_owned(),
        ),
        "GET" if query.contains("watch=true") => Answer::Watch,
        "GET" if !query.is_empty() => Answer::Body(200, empty_list(path)),
        "GET" | "DELETE" => Answer::Body(
            404,
            r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#.to_owned(),
        ),
        _ => Answer::Body(201, body.to_owned()),
    }
}

/// Clients know what they asked for, except the one that asks for the metadata of resource definitions.
fn empty_list(path: &str) -> String {
    let kind = if path.ends_with("/customresourcedefinitions") {
        r#""kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","#
    } else {
        ""
    };
    format!(r#"{{{kind}"metadata":{{"resourceVersion":"1"}},"items":[]}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_empty_watches_silent_and_objects_absent() {
        let status = |answer| match answer {
            Answer::Body(status, body) => {
                assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
                status
            }
            Answer::Watch => 0,
        };
        for (method, target, expected) in [
            ("GET", "/version", 200),
            ("GET", "/api/v1/pods?limit=500", 200),
            (
                "GET",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=5",
                200,
            ),
            ("GET", "/api/v1/pods?resourceVersion=1&watch=true", 0),
            ("GET", "/api/v1/namespaces/a/configmaps/b", 404),
            ("POST", "/api/v1/namespaces/a/configmaps", 201),
        ] {
            assert_eq!(
                status(answer(method, target, "{}")),
                expected,
                "{method} {target}"
            );
        }
    }
}
