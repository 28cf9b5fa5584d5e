//! A small HTTP/1.1 server and client on blocking sockets.
//!
//! The server stands in for nginx where that is not installed; the client asks for pages, metrics and readiness.
//! Both know what tests and the demo send and no more: requests without a body, answers with a `Content-Length` or up to the end.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header lines as sent, without the line ends.
    pub headers: Vec<String>,
    /// The body, read as UTF-8 with replacements.
    pub body: String,
}

/// Answers every request on `listener` with `page`, a thread per connection, until the process ends.
///
/// `log` gets each request line before it is answered.
///
/// # Errors
/// When the listener can accept no more.
pub fn serve(listener: &TcpListener, page: &str, log: impl Fn(&str) + Sync) -> io::Result<()> {
    let log = &log;
    thread::scope(|scope| {
        loop {
            let (stream, _) = listener.accept()?;
            // A client that goes away in the middle is its own affair.
            scope.spawn(|| drop(answer_all(stream, page, log)));
        }
    })
}

/// Sends `GET path` to `address` and reads the answer, giving up after `limit`.
///
/// # Errors
/// `TimedOut` or `WouldBlock` after `limit`, `InvalidData` for something that is not HTTP, and what the socket says.
pub fn get(address: SocketAddr, path: &str, limit: Duration) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let mut lines = head(&mut reader)?;
    if lines.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection ended before an answer",
        ));
    }
    let status = lines
        .remove(0)
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP status line"))?;
    let mut body = Vec::new();
    reader.read_to_end(&mut body)?;
    Ok(Response {
        status,
        headers: lines,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn answer_all(stream: TcpStream, page: &str, log: &impl Fn(&str)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let lines = head(&mut reader)?;
        let Some(request_line) = lines.first() else {
            return Ok(());
        };
        log(request_line);
        let close = lines
            .iter()
            .any(|line| line.eq_ignore_ascii_case("connection: close"));
        let connection = if close { "close" } else { "keep-alive" };
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nServer: testkit\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{page}",
            page.len()
        )?;
        if close {
            return Ok(());
        }
    }
}

/// Reads up to the empty line; no lines at the end of the stream.
fn head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(lines);
        }
        lines.push(line.trim_end().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_reads_what_the_server_says() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, "hello\n", |_| ()));
        let response = get(address, "/", Duration::from_secs(5)).unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, "hello\n"));
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = get(
            listener.local_addr().unwrap(),
            "/",
            Duration::from_millis(50),
        )
        .unwrap_err();
        assert!(
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
            "{error}"
        );
    }
}
