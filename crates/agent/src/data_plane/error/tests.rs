use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::*;

const PAGE: &str = include_str!("../../../../../docs/reference/errors.md");
const SOURCE: &str = include_str!("../error.rs");

/// Flag and statuses of each code, as the page has them.
fn documented() -> BTreeMap<&'static str, (&'static str, Vec<u16>)> {
    PAGE.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let mut cells = row
                .split(" | ")
                .map(|cell| cell.trim_matches(['`', '|', ' ']));
            let mut cell = || cells.next().unwrap();
            let (code, flag, statuses) = (cell(), cell(), cell());
            assert!(!cell().is_empty(), "{code} says nothing");
            let statuses = statuses.split(", ").map(|status| status.parse().unwrap());
            (code, (flag, statuses.collect()))
        })
        .collect()
}

#[test]
fn every_code_has_its_row() {
    let body = SOURCE.split("fn code(").nth(1).unwrap();
    let body = body.split("fn status(").next().unwrap();
    let in_source: BTreeSet<_> = body
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    let in_page: BTreeSet<_> = documented().into_keys().collect();
    assert_eq!(in_source, in_page, "docs/reference/errors.md");
    assert!(in_page.len() >= 16);
}

fn wrong_peer() -> TlsError {
    TlsError::Peer(Arc::new(fmt::Error))
}

#[test]
fn the_rows_are_true() {
    let failures = [
        Failure::Connect(io::ErrorKind::ConnectionRefused.into()),
        Failure::ConnectTimeout,
        Failure::UpstreamClosed,
        Failure::UpstreamTruncated,
        Failure::UpstreamHead(HeadError::Syntax),
        Failure::UpstreamBody(BodyError::ChunkSize),
        Failure::UnaskedUpgrade,
        Failure::RequestHead(HeadError::TooLarge),
        Failure::RequestHead(HeadError::Syntax),
        Failure::RequestHead(HeadError::Version),
        Failure::RequestBody(BodyError::ChunkSize),
        Failure::ClientClosed,
        Failure::HeadTimeout,
        Failure::IdleTimeout,
        Failure::NoRoute,
        Failure::NoEndpoint,
        Failure::Undiscovered,
        Failure::UpstreamTls(TlsError::Closed),
        Failure::UpstreamTls(wrong_peer()),
        Failure::ClientTls(TlsError::NotTls),
        Failure::ClientTls(wrong_peer()),
        Failure::PlaintextRefused,
        Failure::NoCertificate,
        Failure::NotFound,
        Failure::Cancelled,
    ];
    let documented = documented();
    for failure in failures {
        let (flag, statuses) = &documented[failure.code()];
        assert_eq!(failure.flag().as_str(), *flag, "{failure:?}");
        assert!(statuses.contains(&failure.status()), "{failure:?}");
    }
}
