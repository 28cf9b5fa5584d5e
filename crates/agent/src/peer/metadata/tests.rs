use proptest::prelude::*;

use super::*;

fn web() -> Workload {
    Workload {
        name: "web-v1".to_owned(),
        namespace: "shop".to_owned(),
        pod: "web-v1-0".to_owned(),
        address: "10.0.0.7".to_owned(),
        service_account: "web".to_owned(),
        cluster: "c1".to_owned(),
        app: "web".to_owned(),
        version: "v1".to_owned(),
        canonical_name: "web".to_owned(),
        ..Workload::default()
    }
}

/// What is known of a workload by its metadata: all but its identity.
fn told(workload: &Workload) -> PartyNames {
    PartyNames {
        principal: "unknown".to_owned(),
        ..PartyNames::from(workload)
    }
}

#[test]
fn a_peer_reads_what_a_workload_writes() {
    let field = encode(&web());
    assert_eq!(decode(field.as_bytes()), Ok(told(&web())));
    let unpadded = field.trim_end_matches('=');
    assert_eq!(decode(unpadded.as_bytes()), Ok(told(&web())));
    let nobody = encode(&Workload::default());
    assert_eq!(decode(nobody.as_bytes()), Ok(PartyNames::default()));
}

/// The bytes as a protobuf library writes them, members in the order of their names.
#[test]
fn the_bytes_are_those_of_a_protobuf_structure() {
    let workload = Workload {
        app: "a".to_owned(),
        pod: "p".to_owned(),
        ..Workload::default()
    };
    let bytes = BASE64.decode(encode(&workload)).unwrap();
    let latest = b"\x0a\x2f\x0a\x23service.istio.io/canonical-revision\x12\x08\x1a\x06latest";
    let mut labels = b"\x0a\x0a\x0a\x03app\x12\x03\x1a\x01a".to_vec();
    labels.extend_from_slice(latest);
    let mut expect = b"\x0a\x49\x0a\x06LABELS\x12\x3f\x2a\x3d".to_vec();
    expect.extend_from_slice(&labels);
    expect.extend_from_slice(b"\x0a\x0b\x0a\x04NAME\x12\x03\x1a\x01p");
    assert_eq!(bytes, expect, "{:?}", String::from_utf8_lossy(&bytes));
}

#[test]
fn the_node_is_named_only_where_its_name_is_its_own() {
    assert_eq!(
        node_id(&web()).as_deref(),
        Some("sidecar~10.0.0.7~web-v1-0.shop~shop.svc.cluster.local")
    );
    for unknown in [
        Workload {
            pod: "unknown".to_owned(),
            ..web()
        },
        Workload {
            address: "unknown".to_owned(),
            ..web()
        },
    ] {
        assert_eq!(node_id(&unknown), None);
    }
}

#[test]
fn own_fields_are_whole_lines() {
    let lines = String::from_utf8(own_fields(&web())).unwrap();
    let expect = format!(
        "x-envoy-peer-metadata-id: sidecar~10.0.0.7~web-v1-0.shop~shop.svc.cluster.local\r\n\
         x-envoy-peer-metadata: {}\r\n",
        encode(&web())
    );
    assert_eq!(lines, expect);
    let odd = Workload {
        pod: "a\r\nx-forged: 1".to_owned(),
        ..web()
    };
    let lines = String::from_utf8(own_fields(&odd)).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

#[test]
fn a_peers_values_are_cut_and_cleaned() {
    let odd = Workload {
        name: "a\nb\u{7f}\u{85}c".to_owned(),
        app: "ä".repeat(100),
        version: "\u{1}".to_owned(),
        ..web()
    };
    let names = decode(encode(&odd).as_bytes()).unwrap();
    assert_eq!(names.workload, "abc");
    assert_eq!(names.app, "ä".repeat(94));
    assert_eq!(names.version, "unknown");
}

#[test]
fn what_is_no_metadata_is_refused_with_a_reason() {
    let table = [
        ("!", MetadataError::Base64),
        ("Cg==", MetadataError::Structure),
        ("/////w==", MetadataError::Structure),
    ];
    for (field, expect) in table {
        assert_eq!(decode(field.as_bytes()), Err(expect), "{field}");
    }
    let long = "A".repeat(MAX_FIELD + 1);
    assert_eq!(
        decode(long.as_bytes()),
        Err(MetadataError::TooLong { len: 8193 })
    );
    assert_eq!(decode(b""), Ok(PartyNames::default()));
}

proptest! {
    #[test]
    fn every_workload_is_read_as_it_is_written(texts in proptest::array::uniform6("[a-z0-9./-]{1,40}")) {
        let [name, namespace, app, version, canonical_name, cluster] = texts;
        let workload = Workload { name, namespace, app, version, canonical_name, cluster, ..web() };
        prop_assert_eq!(decode(encode(&workload).as_bytes()), Ok(told(&workload)));
    }

    #[test]
    fn bytes_of_anybody_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let field = BASE64.encode(&bytes);
        if let Ok(names) = decode(field.as_bytes()) {
            for value in [&names.workload, &names.app, &names.namespace] {
                prop_assert!(value.len() <= MAX_LABEL && !value.chars().any(char::is_control));
            }
        }
        let _ = decode(&bytes);
    }
}
