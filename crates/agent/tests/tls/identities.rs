//! Who is believed, and who is not.

use agent::tls::{
    Offer, TlsError,
    credentials::{KeyExchange, Oldest, Settings},
};
use testkit::pki::{Leaf, Root, rcgen::SanType};

use crate::harness::{API, Client, WEB, credentials, ids, try_credentials, try_pair};

/// How the client's and the server's end see a handshake from `client` to `server`, of which the client expects `expected`.
async fn outcome(
    client: &Leaf,
    server: &Leaf,
    expected: &[&str],
) -> (Result<(), String>, Result<(), String>) {
    let (client, server) = (credentials(client), credentials(server));
    let expected = ids(expected);
    let client = Client {
        credentials: &client,
        expected: &expected,
        sni: None,
        offer: Offer::Tcp,
    };
    let (client, server) = try_pair(client, &server).await;
    (told(client), told(server))
}

fn told<T>(result: Result<T, TlsError>) -> Result<(), String> {
    result
        .map(|_| ())
        .map_err(|error| runtime::error::chain(&error).to_string())
}

#[tokio::test(flavor = "current_thread")]
async fn the_server_must_be_exactly_one_of_the_expected() {
    let root = Root::new("mesh");
    let (web, api) = (root.workload(WEB), root.workload(API));
    for (expected, good) in [
        (&[API][..], true),
        (&[WEB, API], true),
        (&[WEB], false),
        (&[], false),
        (&["spiffe://cluster.local/ns/default/sa/ap"], false),
        (&["spiffe://cluster.local/ns/default/sa/api2"], false),
        (&["spiffe://cluster.local/ns/default/sa/API"], false),
    ] {
        let (client, server) = outcome(&web, &api, expected).await;
        assert_eq!(client.is_ok(), good, "{expected:?}: {client:?}");
        assert_eq!(server.is_ok(), good, "{expected:?}: {server:?}");
        if let (Err(client), Err(server)) = (client, server) {
            assert!(
                client.contains(API) && client.contains("none of the"),
                "{client}"
            );
            assert!(server.contains("alert"), "{server}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_root_that_is_not_trusted_convinces_nobody() {
    let (mesh, other) = (Root::new("mesh"), Root::new("other"));
    let (web, api) = (mesh.workload(WEB), other.workload(API));
    let (client, server) = outcome(&web, &api, &[API]).await;
    assert!(client.unwrap_err().contains("UnknownIssuer"));
    assert!(server.unwrap_err().contains("UnknownCA"));
    // The client believes, but is not believed: it learns that when it reads.
    let trusting = Leaf {
        roots: [mesh.pem(), other.pem()].concat(),
        ..web
    };
    let (client, server) = outcome(&trusting, &api, &[API]).await;
    assert_eq!(client, Ok(()));
    assert!(server.unwrap_err().contains("UnknownIssuer"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_of_another_trust_domain_is_refused_unless_it_is_an_alias() {
    let root = Root::new("mesh");
    let foreigner = root.workload("spiffe://elsewhere/ns/default/sa/web");
    let (_, server) = outcome(&foreigner, &root.workload(API), &[API]).await;
    let error = server.unwrap_err();
    assert!(
        error.contains("another trust domain") && error.contains("elsewhere"),
        "{error}"
    );

    let settings = Settings {
        trust_domains: vec!["elsewhere".parse().unwrap()],
        ..Settings::default()
    };
    let (client, server) = (
        credentials(&foreigner),
        try_credentials(&root.workload(API), &settings).unwrap(),
    );
    let expected = ids(&[API]);
    let client = Client {
        credentials: &client,
        expected: &expected,
        sni: None,
        offer: Offer::Tcp,
    };
    let (client, server) = try_pair(client, &server).await;
    client.unwrap();
    assert_eq!(
        server.unwrap().peer().unwrap().spiffe_id().trust_domain(),
        "elsewhere"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_chain_may_have_an_authority_in_between() {
    let root = Root::new("mesh");
    let (below, certificate) = root.intermediate("below");
    let mut api = below.workload(API);
    api.chain += &certificate;
    let (client, server) = outcome(&root.workload(WEB), &api, &[API]).await;
    assert_eq!((client, server), (Ok(()), Ok(())));
}

#[test]
fn credentials_that_peers_would_refuse_are_refused_first() {
    use time::{Duration, OffsetDateTime};
    let root = Root::new("mesh");
    let good = root.workload(WEB);
    let other = root.workload(WEB);
    let now = OffsetDateTime::now_utc();
    let expired = root.issue(&[WEB], |params| params.not_after = now - Duration::MINUTE);
    let early = root.issue(&[WEB], |params| params.not_before = now + Duration::MINUTE);
    let only_server = root.issue(&[WEB], |params| {
        params.extended_key_usages.truncate(1);
    });
    let named = root.issue(&[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("web".try_into().unwrap())];
    });
    let with = |chain: &str, key: &str, roots: &str| Leaf {
        chain: chain.to_owned(),
        key: key.to_owned(),
        roots: roots.to_owned(),
    };
    let table = [
        (with("", &good.key, root.pem()), "/x/cert-chain.pem"),
        (with(&good.chain, "", root.pem()), "/x/key.pem"),
        (with(&good.chain, &good.key, ""), "/x/root-cert.pem"),
        (
            with(&good.chain, &good.key, &good.chain),
            "no certificate of an authority",
        ),
        (with(&good.chain[..100], &good.key, root.pem()), "PEM"),
        (with(&good.chain, &other.key, root.pem()), "does not belong"),
        (
            with(&good.chain, &good.key, Root::new("other").pem()),
            "does not lead",
        ),
        (expired, "valid until"),
        (early, "set the clock right"),
        (only_server, "both ends"),
        (named, "has 0 URI names"),
        (root.issue(&[WEB, API], |_| {}), "has 2 URI names"),
        (
            root.issue(&["spiffe://cluster.local/ns/a\0/sa/b"], |_| {}),
            "no SPIFFE ID",
        ),
        (
            root.issue(&["https://cluster.local/web"], |_| {}),
            "no SPIFFE ID",
        ),
    ];
    for (leaf, expected) in table {
        let error = try_credentials(&leaf, &Settings::default()).unwrap_err();
        let text = runtime::error::chain(&error).to_string();
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains("PRIVATE KEY-----\n"), "{text}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn versions_and_key_exchange_follow_the_settings() {
    let root = Root::new("mesh");
    let settings = |oldest, key_exchange| Settings {
        oldest,
        key_exchange,
        ..Settings::default()
    };
    let classical = settings(Oldest::Tls13, KeyExchange::Classical);
    let quantum = settings(Oldest::Tls13, KeyExchange::PostQuantum);
    let old = settings(Oldest::Tls12, KeyExchange::Classical);
    for client in [&classical, &quantum, &old] {
        for server in [&classical, &quantum, &old] {
            let client = try_credentials(&root.workload(WEB), client).unwrap();
            let server = try_credentials(&root.workload(API), server).unwrap();
            let expected = ids(&[API]);
            let client = Client {
                credentials: &client,
                expected: &expected,
                sni: Some("a.b"),
                offer: Offer::Http,
            };
            let (client, server) = try_pair(client, &server).await;
            // A classical side knows the hybrid, too, and so does not stand in the way.
            client.unwrap();
            server.unwrap();
        }
    }
}
