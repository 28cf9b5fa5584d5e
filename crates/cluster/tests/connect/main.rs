//! Finding a cluster and asking it something, against a stand-in for the API server on the loopback.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod certificates;
mod server;

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use cluster::{ConnectError, Options, Origin, RequestError, Target};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use server::Server;

/// A folder for kubeconfigs, and what says where to look.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A kubeconfig with a context, a cluster and a user, all named `dev`.
    fn kubeconfig(&self, name: &str, cluster: &str, user: &str) -> Options {
        let text = format!(
            "current-context: dev\nclusters: [{{name: dev, cluster: {{{cluster}}}}}]\nusers: [{{name: dev, user: {{{user}}}}}]\n\
             contexts: [{{name: dev, context: {{cluster: dev, user: dev}}}}]\n"
        );
        options(self.write(name, &text))
    }
}

fn options(kubeconfig: PathBuf) -> Options {
    Options {
        kubeconfig: Some(kubeconfig),
        ..Options::default()
    }
}

/// Asks for a ConfigMap; gives back its name.
async fn ask(options: &Options) -> Result<String, RequestError> {
    let client = cluster::connect(options).await.unwrap();
    let found = Api::<ConfigMap>::namespaced(client, "shop")
        .get("any")
        .await?;
    Ok(found.metadata.name.unwrap_or_default())
}

/// Expects that no client can be made.
async fn refused(options: &Options) -> ConnectError {
    match cluster::connect(options).await {
        Ok(_) => panic!("a client was made"),
        Err(error) => error,
    }
}

/// The error with its causes, as a person sees it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        write!(text, ": {error}").unwrap();
        next = error.source();
    }
    text
}

#[track_caller]
fn says(error: &dyn std::error::Error, parts: &[&str]) {
    let text = chain(error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

const CONFIG_MAP: &str = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"any"}}"#;

#[tokio::test]
async fn a_request_says_who_asks_and_with_what() {
    let server = Server::plain(CONFIG_MAP);
    let home = Home::new();
    let url = format!("server: 'http://{}'", server.address);
    let options = home.kubeconfig("config", &url, "token: secret");
    assert_eq!(ask(&options).await.unwrap(), "any");
    let request = server.request().to_ascii_lowercase();
    assert!(
        request.starts_with("get /api/v1/namespaces/shop/configmaps/any"),
        "{request}"
    );
    assert!(
        request.contains("authorization: bearer secret"),
        "{request}"
    );
    let agent = format!("user-agent: minimesh/{}", env!("CARGO_PKG_VERSION"));
    assert!(request.contains(&agent), "{request}");
}

#[tokio::test]
async fn a_credential_plugin_is_run() {
    let server = Server::plain(CONFIG_MAP);
    let home = Home::new();
    let url = format!("server: 'http://{}'", server.address);
    let credential = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"by-plugin"}}"#;
    let plugin = home.write("plugin.sh", &format!("echo '{credential}'\n"));
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: ['{}']}}",
        plugin.display()
    );
    let options = home.kubeconfig("config", &url, &user);
    assert_eq!(ask(&options).await.unwrap(), "any");
    let request = server.request().to_ascii_lowercase();
    assert!(
        request.contains("authorization: bearer by-plugin"),
        "{request}"
    );
}

#[tokio::test]
async fn a_name_is_resolved() {
    let server = Server::plain(CONFIG_MAP);
    let home = Home::new();
    let url = format!("server: 'http://localhost:{}'", server.address.port());
    assert_eq!(
        ask(&home.kubeconfig("config", &url, "")).await.unwrap(),
        "any"
    );
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_in_the_error() {
    let home = Home::new();
    let error = ask(&home.kubeconfig("config", "server: 'https://api.invalid'", ""))
        .await
        .unwrap_err();
    assert!(
        matches!(error, RequestError::Unreachable { .. }),
        "{error:?}"
    );
    says(
        &error,
        &[
            "cannot be reached",
            "cannot find the address of \"api.invalid\"",
        ],
    );
}

#[tokio::test]
async fn both_sides_show_certificates_which_the_kubeconfig_names_by_relative_path() {
    let pki = certificates::Pki::new();
    let server = Server::tls(CONFIG_MAP, pki.server_config());
    let home = Home::new();
    home.write("ca.crt", &pki.authority());
    let (certificate, key) = pki.client();
    home.write("me.crt", &certificate);
    home.write("me.key", &key);
    let cluster = format!(
        "server: 'https://{}', certificate-authority: ca.crt",
        server.address
    );
    let options = home.kubeconfig(
        "config",
        &cluster,
        "client-certificate: me.crt, client-key: me.key",
    );
    assert_eq!(ask(&options).await.unwrap(), "any");
    // By the name in the certificate instead of the address, as behind a tunnel.
    let named = format!("{cluster}, tls-server-name: api.example.org");
    let options = home.kubeconfig(
        "config",
        &named,
        "client-certificate: me.crt, client-key: me.key",
    );
    assert_eq!(ask(&options).await.unwrap(), "any");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let server = Server::tls(CONFIG_MAP, certificates::Pki::new().server_config());
    let home = Home::new();
    home.write("ca.crt", &certificates::Pki::new().authority());
    let cluster = format!(
        "server: 'https://{}', certificate-authority: ca.crt",
        server.address
    );
    let error = ask(&home.kubeconfig("config", &cluster, ""))
        .await
        .unwrap_err();
    says(&error, &["cannot be reached", "certificate"]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Server::silent();
    let home = Home::new();
    let url = format!("server: 'http://{}'", server.address);
    let mut options = home.kubeconfig("config", &url, "");
    options.response_timeout = Duration::from_millis(100);
    let error = ask(&options).await.unwrap_err();
    says(&error, &["cannot be reached", "timed out"]);
}

#[tokio::test]
async fn a_watch_outlasts_the_time_limit_of_its_beginning() {
    let (server, events) = Server::stream();
    let home = Home::new();
    let url = format!("server: 'http://{}'", server.address);
    let mut options = home.kubeconfig("config", &url, "");
    options.response_timeout = Duration::from_millis(500);
    let client = cluster::connect(&options).await.unwrap();
    let api: Api<ConfigMap> = Api::all(client);
    let stream = api.watch(&WatchParams::default(), "0").await.unwrap();
    tokio::time::sleep(options.response_timeout * 2).await;
    events
        .send(format!("{{\"type\":\"ADDED\",\"object\":{CONFIG_MAP}}}\n"))
        .unwrap();
    let mut stream = std::pin::pin!(stream);
    let next =
        std::future::poll_fn(|context| futures_util::Stream::poll_next(stream.as_mut(), context));
    assert!(matches!(next.await, Some(Ok(WatchEvent::Added(_)))));
}

#[tokio::test]
async fn the_kubeconfigs_proxy_is_asked_for_a_tunnel() {
    let proxy = Server::proxy(CONFIG_MAP);
    let home = Home::new();
    let cluster = format!(
        "server: 'http://api.example.invalid:8080', proxy-url: 'http://me:secret@{}'",
        proxy.address
    );
    assert_eq!(
        ask(&home.kubeconfig("config", &cluster, "")).await.unwrap(),
        "any"
    );
    let connect = proxy.request();
    assert!(
        connect.starts_with("CONNECT api.example.invalid:8080 "),
        "{connect}"
    );
    assert!(
        connect
            .to_ascii_lowercase()
            .contains("proxy-authorization: basic "),
        "{connect}"
    );
}

#[tokio::test]
async fn a_proxy_of_another_kind_is_refused_without_its_password() {
    let home = Home::new();
    let cluster =
        "server: 'http://api.example.invalid', proxy-url: 'socks5://me:secret@proxy:1080'";
    let error = refused(&home.kubeconfig("config", cluster, "")).await;
    says(&error, &["context dev", "socks5://", "http://"]);
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
}

#[tokio::test]
async fn answers_are_told_apart() {
    let home = Home::new();
    for (code, expected) in [
        (401, "does not accept the credentials: of course"),
        (403, "a right is missing: of course"),
        (404, "does not have it: of course"),
        (500, "answers 500: of course"),
    ] {
        let body = format!(
            "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":{code},\"message\":\"of course\"}}"
        );
        let server = Server::answering(code, &body);
        let url = format!("server: 'http://{}'", server.address);
        let error = ask(&home.kubeconfig("config", &url, "")).await.unwrap_err();
        says(&error, &[expected]);
    }
}

#[tokio::test]
async fn a_list_of_kubeconfigs_is_merged_and_the_first_wins() {
    let home = Home::new();
    let first = home.write("first", "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u, namespace: team}}]\n");
    let second = home.write(
        "second",
        "current-context: b\nclusters: [{name: c, cluster: {server: 'https://api.example.org:6443'}}]\ncontexts: [{name: b, context: {cluster: c, user: u}}]\n",
    );
    let absent = home.0.path().join("absent");
    let list = std::env::join_paths([&absent, &first, &second]).unwrap();
    let mut options = options(list.into());
    let target = Target::find(&options).await.unwrap();
    assert_eq!(target.namespace(), "team");
    assert_eq!(target.server(), "https://api.example.org:6443/");
    let used = std::env::join_paths([&first, &second]).unwrap();
    let origin = Origin::Kubeconfig {
        path: used.into(),
        context: "a".to_owned(),
    };
    assert_eq!(*target.origin(), origin);
    options.context = Some("b".to_owned());
    assert_eq!(Target::find(&options).await.unwrap().namespace(), "default");
}

#[tokio::test]
async fn a_kubeconfig_that_is_wrong_is_named_with_what_is_wrong() {
    let home = Home::new();
    let server = "clusters: [{name: c, cluster: {server: 'https://api.example.org'}}]";
    let context = "contexts: [{name: a, context: {cluster: c}}, {name: b, context: {cluster: c}}]";
    for (text, parts) in [
        ("{", &["cannot be used", "YAML"][..]),
        ("", &["no current context", "none"]),
        (
            &format!("{server}\n{context}\n"),
            &["no current context", "--context", "a, b"],
        ),
        (
            &format!("{server}\n{context}\ncurrent-context: prod\n"),
            &["no context \"prod\"", "a, b"],
        ),
        (
            &format!("{context}\ncurrent-context: a\n"),
            &["cluster of context", "c"],
        ),
        (
            &format!("clusters: [{{name: c, cluster: {{}}}}]\n{context}\ncurrent-context: a\n"),
            &["cluster url is missing"],
        ),
        (
            &format!(
                "clusters: [{{name: c, cluster: {{server: 'api.example.org:6443'}}}}]\n{context}\ncurrent-context: a\n"
            ),
            &["context a", "api.example.org:6443", "https://"],
        ),
    ] {
        let path = home.write("config", text);
        let error = refused(&options(path.clone())).await;
        says(&error, &[path.to_str().unwrap()]);
        says(&error, parts);
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_named_by_context() {
    let home = Home::new();
    for (cluster, user) in [
        (
            "",
            "client-certificate: /nowhere/me.crt, client-key: /nowhere/me.key",
        ),
        (
            "",
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: /nowhere/plugin, interactiveMode: Never}",
        ),
        ("", "client-certificate-data: bm8=, client-key-data: bm8="),
        (", certificate-authority-data: 'bm8='", ""),
    ] {
        let cluster = format!("server: 'https://127.0.0.1:1'{cluster}");
        let options = home.kubeconfig("config", &cluster, user);
        // An empty authority is a legal one; it believes nobody, so the request fails.
        match cluster::connect(&options).await {
            Err(error) => {
                assert!(
                    matches!(error, ConnectError::Credentials { .. }),
                    "{user}: {error:?}"
                );
                says(&error, &["context dev"]);
            }
            Ok(_) => assert!(ask(&options).await.is_err(), "{cluster} {user}"),
        }
    }
}

#[tokio::test]
async fn files_that_are_not_there_or_no_files_are_named() {
    let home = Home::new();
    let absent = home.0.path().join("absent");
    let error = Target::find(&options(absent.clone())).await.unwrap_err();
    says(&error, &["cannot read", absent.to_str().unwrap()]);
    let folder = home.0.path().to_owned();
    let error = Target::find(&options(folder.clone())).await.unwrap_err();
    says(
        &error,
        &["cannot read", folder.to_str().unwrap(), "directory"],
    );
}
