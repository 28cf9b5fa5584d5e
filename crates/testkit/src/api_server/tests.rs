//! What a client of the stand-in sees.

use std::io::{BufRead, Read};

use super::*;

fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
    })
}

/// The status and body of an answer.
fn ask(server: &ApiServer, method: &str, target: &str, accept: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nAccept: {accept}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn get(server: &ApiServer, target: &str) -> (u16, Value) {
    ask(server, "GET", target, "application/json", "")
}

#[test]
fn what_was_put_is_listed_by_namespace_label_and_name() {
    let server = ApiServer::start().unwrap();
    server.put("services", service("web", "web"));
    server.put("services", service("api", "api"));
    for (target, expected) in [
        ("/api/v1/services?limit=500", 2),
        ("/api/v1/namespaces/shop/services", 2),
        ("/api/v1/namespaces/other/services", 0),
        ("/api/v1/services?labelSelector=app%3Dweb", 1),
        ("/api/v1/services?labelSelector=other", 0),
        ("/api/v1/services?labelSelector=%21other", 2),
        ("/api/v1/services?fieldSelector=metadata.name%3Dapi", 1),
        ("/apis/example.org/v1/services", 0),
        ("/api/v1/pods", 0),
    ] {
        let (status, list) = get(&server, target);
        assert_eq!(status, 200, "{target}");
        assert_eq!(
            list["items"].as_array().unwrap().len(),
            expected,
            "{target}"
        );
    }
    let (status, object) = get(&server, "/api/v1/namespaces/shop/services/web");
    assert_eq!((status, &object["kind"]), (200, &json!("Service")));
    assert_eq!(get(&server, "/api/v1/namespaces/shop/services/no").0, 404);
    assert_eq!(get(&server, "/version").1["minor"], "34");
    assert_eq!(get(&server, "/healthz").0, 404);
}

#[test]
fn who_asks_for_metadata_gets_nothing_else() {
    let server = ApiServer::start().unwrap();
    server.put("services", service("web", "web"));
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let (_, list) = ask(&server, "GET", "/api/v1/services", accept, "");
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0]["metadata"]["name"], "web");
}

#[test]
fn tokens_are_those_that_it_was_told_of() {
    let server = ApiServer::start().unwrap();
    server.know_token("good", "shop", "web");
    let review = |token: &str| {
        let body = json!({"spec": {"token": token, "audiences": ["istio-ca"]}}).to_string();
        let target = "/apis/authentication.k8s.io/v1/tokenreviews";
        let (status, answer) = ask(&server, "POST", target, "", &body);
        assert_eq!(status, 201);
        answer["status"].clone()
    };
    let user = &review("good")["user"];
    assert_eq!(user["username"], "system:serviceaccount:shop:web");
    assert_eq!(review("forged")["authenticated"], false);
}

#[test]
fn what_is_written_comes_back_and_is_not_kept() {
    let server = ApiServer::start().unwrap();
    let target = "/api/v1/namespaces/shop/configmaps";
    let (status, answer) = ask(
        &server,
        "POST",
        target,
        "",
        r#"{"metadata": {"name": "a"}}"#,
    );
    assert_eq!((status, &answer["metadata"]["name"]), (201, &json!("a")));
    assert_eq!(get(&server, &format!("{target}/a")).0, 404);
}

#[test]
fn watches_tell_what_changes_and_bookmark_the_silence() {
    let server = ApiServer::start().unwrap();
    server.put("services", service("web", "web"));
    let (_, list) = get(&server, "/api/v1/services");
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(
        stream,
        "GET /api/v1/services?watch=true&allowWatchBookmarks=true&resourceVersion={version} HTTP/1.1\r\n\r\n"
    )
    .unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let mut next = || loop {
        let event = events.next().unwrap();
        if event.is_object() {
            let name = event["object"]["metadata"]["name"].clone();
            break (event["type"].as_str().unwrap().to_owned(), name);
        }
    };
    server.put("services", service("api", "api"));
    server.put("services", service("web", "other"));
    server.delete("services", "shop", "api");
    assert_eq!(next(), ("ADDED".to_owned(), json!("api")));
    assert_eq!(next(), ("MODIFIED".to_owned(), json!("web")));
    assert_eq!(next(), ("DELETED".to_owned(), json!("api")));
    assert_eq!(next(), ("BOOKMARK".to_owned(), Value::Null));
}
