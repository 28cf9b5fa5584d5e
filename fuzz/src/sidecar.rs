//! What is done with arbitrary bytes by `agent`, and what must hold then.
//!
//! Run under libFuzzer by `cargo xtask fuzz`, and on the corpora by an ordinary test of `agent`, which includes this file. A body panics where a promise is broken.

use std::sync::Arc;

use agent::{
    peer::{
        PartyNames, PeerCache,
        forwarded::{self, Client},
        metadata,
    },
    tls::hello::{self, Detected},
};

/// The bytes are `x-envoy-peer-metadata` of a verified peer: what it calls itself is short and clean, and its identity stays its certificate's.
pub fn peer_metadata(bytes: &[u8]) {
    const PRINCIPAL: &str = "spiffe://cluster.local/ns/shop/sa/web";
    let told = metadata::decode(bytes);
    let mut cache = PeerCache::new(Arc::default());
    let party = cache.party(PRINCIPAL, bytes);
    assert_eq!(party, cache.party(PRINCIPAL, bytes));
    assert_eq!(party.principal, PRINCIPAL);
    assert_eq!(party.namespace, "shop");
    let expect = PartyNames {
        principal: party.principal.clone(),
        namespace: party.namespace.clone(),
        ..told.unwrap_or_default()
    };
    assert_eq!(*party, expect);
    let values = [
        &expect.workload,
        &expect.app,
        &expect.version,
        &expect.cluster,
        &expect.canonical_service,
        &expect.canonical_revision,
    ];
    for value in values {
        assert!(!value.is_empty() && value.len() <= metadata::MAX_LABEL);
        assert!(!value.chars().any(char::is_control), "{value:?}");
    }
}

/// The first line is `x-forwarded-client-cert` of a verified client, the others are names in its certificate: the result is one well-formed field whose last element is ours.
pub fn forwarded_headers(bytes: &[u8]) {
    let (received, names) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    let names = String::from_utf8_lossy(names);
    let mut names = names.split('\n');
    let mut name = || names.next().unwrap_or_default();
    let client = Client {
        hash: "00",
        subject: name(),
        uri: name(),
        dns: &[name()],
    };
    let element = forwarded::element(name(), &client);
    assert!(forwarded::is_well_formed(element.as_bytes()), "{element}");
    assert!(!element.chars().any(char::is_control), "{element:?}");
    let mut field = Vec::new();
    forwarded::append(received, &element, &mut field);
    assert!(forwarded::is_well_formed(&field));
    assert!(field.ends_with(element.as_bytes()));
    let is_passed_on = field.len() > element.len();
    assert!(!is_passed_on || field.starts_with(received));
    assert!(!is_passed_on || forwarded::is_well_formed(received));
}

/// The bytes are the first of a connection: what is said of a beginning holds for everything that begins so, and only a handshake is taken for a sidecar's.
pub fn client_hello(bytes: &[u8]) {
    let whole = hello::read(bytes);
    let n = bytes.len();
    for cut in [0, n.min(1), n / 3, n / 2, n.saturating_sub(1)] {
        let beginning = hello::read(&bytes[..cut]);
        assert!(
            beginning == Detected::NeedMore || beginning == whole,
            "{beginning:?} after {cut} bytes, then {whole:?}"
        );
    }
    if let Detected::Tls(hello) = whole {
        assert_eq!(bytes.first(), Some(&22));
        let named = |name: &[u8]| bytes.windows(name.len()).any(|part| part == name);
        // A name may be spread over records, whose headers are between its bytes.
        let in_one_record = bytes
            .get(3..5)
            .is_some_and(|len| 5 + usize::from(u16::from_be_bytes([len[0], len[1]])) >= n);
        assert!(!in_one_record || !hello.is_mesh || named(b"istio"));
        assert!(hello.sni.is_none_or(|sni| sni.len() < n));
    }
}
