//! The sidecar's access log in Istio's default text format.
//!
//! [`Line::parse`] takes a line of a container's log apart; lines of another form, such as the sidecar's own messages, are none.

/// One request or connection. Addresses are texts, `-` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `GET`; `-` for what is not HTTP.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Status of the answer; 0 where none was sent.
    pub status: u16,
    /// Envoy's response flags, `-` for none.
    pub flags: String,
    /// `via_upstream`, or why not.
    pub details: String,
    /// Of the request's body.
    pub bytes_received: u64,
    /// Of the answer's body.
    pub bytes_sent: u64,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The `Host` header.
    pub authority: String,
    /// Where the sidecar connected to.
    pub upstream_host: String,
    /// `PassthroughCluster`, or `inbound|80||`.
    pub cluster: String,
    /// The sidecar's own end of that connection.
    pub upstream_local: String,
    /// Where the client wanted to go.
    pub downstream_local: String,
    /// Where the client is.
    pub downstream_remote: String,
    /// The name that the client has asked for in its TLS handshake, `-` without one.
    pub server_name: String,
}

// === impl Line ===

impl Line {
    /// The parts of `text`, if it is a line of the access log.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields = fields(text.strip_prefix('[')?);
        let [
            _time,
            request,
            status,
            flags,
            details,
            _,
            _,
            received,
            sent,
            _,
            _,
            _,
            agent,
            _,
            authority,
            upstream_host,
            cluster,
            upstream_local,
            local,
            remote,
            server_name,
            ..,
        ] = fields.as_slice()
        else {
            return None;
        };
        let mut request = request.split(' ');
        Some(Self {
            method: request.next()?.to_owned(),
            path: request.next()?.to_owned(),
            status: status.parse().ok()?,
            flags: flags.clone(),
            details: details.clone(),
            bytes_received: received.parse().ok()?,
            bytes_sent: sent.parse().ok()?,
            user_agent: agent.clone(),
            authority: authority.clone(),
            upstream_host: upstream_host.clone(),
            cluster: cluster.clone(),
            upstream_local: upstream_local.clone(),
            downstream_local: local.clone(),
            downstream_remote: remote.clone(),
            server_name: server_name.clone(),
        })
    }

    /// All lines of the access log in a container's log.
    #[must_use]
    pub fn all(log: &str) -> Vec<Self> {
        log.lines().filter_map(Self::parse).collect()
    }
}

/// Words, and quoted texts without their quotes. A quote inside of one is escaped with a backslash.
fn fields(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut is_quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' => field.extend(characters.next()),
            ' ' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line = Line::parse(
            "[2026-11-21T05:06:07.089Z] \"GET /a\\\"b HTTP/1.1\" 200 - via_upstream - \"-\" 7 12 3 2 \"-\" \"curl/8 (x)\" \"-\" \"server\" \
             \"10.0.0.2:80\" inbound|80|| 127.0.0.6:40000 10.0.0.2:80 10.0.0.1:50000 - default",
        )
        .unwrap();
        assert_eq!(
            (&*line.method, &*line.path, line.status),
            ("GET", "/a\"b", 200)
        );
        assert_eq!((line.bytes_received, line.bytes_sent), (7, 12));
        assert_eq!(
            (&*line.user_agent, &*line.authority),
            ("curl/8 (x)", "server")
        );
        assert_eq!(line.cluster, "inbound|80||");
        assert_eq!(line.upstream_local, "127.0.0.6:40000");
        assert_eq!(line.downstream_remote, "10.0.0.1:50000");
    }

    #[test]
    fn other_lines_are_none() {
        for other in [
            "",
            "[",
            "ready",
            "[2026-11-21T05:06:07.089Z] started",
            "{\"status\":200}",
        ] {
            assert_eq!(Line::parse(other), None, "{other}");
        }
    }
}
