//! Tables of recorded probes, right and wrong.

use proptest::prelude::*;

use super::*;

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn parse_one(probe: &str) -> Result<Probe, String> {
    let text = format!(r#"{{"/app-health/web/readyz": {probe}}}"#);
    match Probes::parse(&text) {
        Ok(probes) => Ok(probes.find("/app-health/web/readyz").unwrap().clone()),
        Err(errors) => Err(errors
            .iter()
            .map(|error| runtime::error::chain(error).to_string())
            .collect()),
    }
}

#[test]
fn recorded_probes_are_read() {
    let web = HttpGet {
        tls: false,
        port: port(80),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
    };
    let table = [
        (
            r#"{"httpGet": {"port": 80}}"#,
            Action::HttpGet(web.clone()),
            1,
        ),
        (
            r#"{"httpGet": {"port": "80", "path": "/", "scheme": "HTTP", "host": "ignored"}, "timeoutSeconds": 7}"#,
            Action::HttpGet(web.clone()),
            7,
        ),
        (
            r#"{"httpGet": {"port": 8443, "path": "healthz?a", "scheme": "HTTPS", "httpHeaders":
                [{"name": "X-A", "value": "1"}, {"name": "Host", "value": "shop"}]}, "timeoutSeconds": 0}"#,
            Action::HttpGet(HttpGet {
                tls: true,
                port: port(8443),
                path: "/healthz?a".to_owned(),
                host: Some(HeaderValue::from_static("shop")),
                headers: vec![(
                    HeaderName::from_static("x-a"),
                    HeaderValue::from_static("1"),
                )],
            }),
            1,
        ),
        (
            r#"{"tcpSocket": {"port": 6379}}"#,
            Action::TcpSocket { port: port(6379) },
            1,
        ),
        (
            r#"{"grpc": {"port": 9000, "service": null}}"#,
            Action::Grpc {
                port: port(9000),
                service: String::new(),
            },
            1,
        ),
        (
            r#"{"grpc": {"port": 9000, "service": "shop"}}"#,
            Action::Grpc {
                port: port(9000),
                service: "shop".to_owned(),
            },
            1,
        ),
    ];
    for (text, action, seconds) in table {
        let probe = parse_one(text).unwrap();
        assert_eq!(probe.action, action, "{text}");
        assert_eq!(probe.timeout, Duration::from_secs(seconds), "{text}");
    }
}

#[test]
fn lifecycle_handlers_may_take_long() {
    let probes =
        Probes::parse(r#"{"/app-lifecycle/web/prestopz": {"tcpSocket": {"port": 1}}}"#).unwrap();
    assert_eq!(
        probes.find("/app-lifecycle/web/prestopz").unwrap().timeout,
        LIFECYCLE_TIMEOUT
    );
}

#[test]
fn wrong_probes_are_named_with_what_is_wrong() {
    let table = [
        ("{}", "exactly one of"),
        (
            r#"{"tcpSocket": {"port": 1}, "grpc": {"port": 1}}"#,
            "exactly one of",
        ),
        (r#"{"tcpSocket": {"port": 0}}"#, "from 1 to 65535"),
        (r#"{"tcpSocket": {"port": 65536}}"#, "from 1 to 65535"),
        (r#"{"tcpSocket": {"port": "web"}}"#, "from 1 to 65535"),
        (
            r#"{"tcpSocket": {"port": true}}"#,
            "a port, as a number or a text",
        ),
        (r#"{"tcpSocket": {}}"#, "missing field `port`"),
        (
            r#"{"tcpSocket": {"port": 1}, "timeoutSeconds": -1}"#,
            "negative",
        ),
        (
            r#"{"httpGet": {"port": 1, "scheme": "FTP"}}"#,
            "neither HTTP nor HTTPS",
        ),
        (
            r#"{"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}"#,
            "name of a header",
        ),
        (
            r#"{"httpGet": {"port": 1, "httpHeaders": [{"name": "a", "value": "\n"}]}}"#,
            "no header may hold",
        ),
    ];
    for (text, expected) in table {
        let error = parse_one(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let errors = Probes::parse(r#"{"/a": {"tcpSocket": {"port": 1}}, "/app-health/x/livez": {}}"#)
        .unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn no_text_gives_no_probes() {
    for text in ["", " \n", "{}", "null"] {
        assert_eq!(Probes::parse(text).unwrap(), Probes::default(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        let _ = Probes::parse(&text);
    }
}
