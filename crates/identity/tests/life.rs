//! The life of an authority: made, kept as text, read back, renewed; and what it issues meanwhile.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use identity::{
    Authority, DnsName, IssueError, ServerPair, TrustBundle, Untimely, VerifyError,
    authority::{ROOT_LIFETIME, SERVER_LIFETIME},
    validity::BACKDATE,
};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn name(text: &str) -> DnsName<'static> {
    DnsName::try_from(text.to_owned()).unwrap()
}

fn authority() -> Authority {
    Authority::generate("cluster.local", now()).unwrap()
}

fn read_back(authority: &Authority) -> Authority {
    Authority::from_pem(
        authority.certificate_pem().as_bytes(),
        authority.key_pem().as_bytes(),
    )
    .unwrap()
}

fn issue(authority: &Authority, now: OffsetDateTime) -> ServerPair {
    authority.issue_server(&[name("a.svc")], now).unwrap()
}

#[test]
fn an_authority_survives_being_kept_as_text() {
    let made = authority();
    let read = read_back(&made);
    assert_eq!(read, made);
    assert_eq!(read.key_pem(), made.key_pem());
    assert!(read.continues(&made));
    assert_eq!(made.validity().not_before, now() - BACKDATE);
    assert_eq!(made.validity().not_after, now() + ROOT_LIFETIME);
    issue(&made, now())
        .verify(read.roots(), &name("a.svc"), now())
        .unwrap();
}

#[test]
fn two_authorities_have_nothing_in_common() {
    let (one, other) = (authority(), authority());
    assert!(!one.continues(&other));
    let refusal = issue(&one, now()).verify(other.roots(), &name("a.svc"), now());
    assert!(matches!(refusal, Err(VerifyError::Chain(_))), "{refusal:?}");
}

#[test]
fn a_renewed_root_and_its_former_self_verify_what_either_has_issued() {
    let old = authority();
    let later = old.renew_at();
    assert_eq!(
        later,
        now() - BACKDATE + (ROOT_LIFETIME + BACKDATE) / 100 * 80
    );
    let new = read_back(&old.renew(later).unwrap());
    assert_ne!(new, old);
    assert!(new.continues(&old));
    assert_eq!(new.validity().not_before, old.validity().not_before);
    assert_eq!(new.validity().not_after, later + ROOT_LIFETIME);
    for (issuer, verifier) in [(&old, &new), (&new, &old)] {
        issue(issuer, later)
            .verify(verifier.roots(), &name("a.svc"), later)
            .unwrap();
    }
}

#[test]
fn an_expired_root_issues_nothing_but_can_be_renewed() {
    let expired = authority();
    let later = expired.validity().not_after + Duration::SECOND;
    let refusal = expired.issue_server(&[name("a.svc")], later);
    assert!(
        matches!(refusal, Err(IssueError::Untimely(Untimely::Over { .. }))),
        "{refusal:?}"
    );
    issue(&expired.renew(later).unwrap(), later);
}

#[test]
fn a_root_whose_time_has_not_come_issues_nothing() {
    let early = now() - BACKDATE - Duration::SECOND;
    let refusal = authority().issue_server(&[name("a.svc")], early);
    assert!(
        matches!(refusal, Err(IssueError::Untimely(Untimely::NotYet { .. }))),
        "{refusal:?}"
    );
}

#[test]
fn a_server_certificate_lives_ninety_days_but_not_beyond_its_root() {
    let authority = authority();
    let pair = issue(&authority, now());
    assert_eq!(pair.validity().not_before, now() - BACKDATE);
    assert_eq!(pair.validity().not_after, now() + SERVER_LIFETIME);
    assert_eq!(pair.names(), [name("a.svc")]);

    let late = authority.validity().not_after - Duration::DAY;
    assert_eq!(
        issue(&authority, late).validity().not_after,
        authority.validity().not_after
    );
}

#[test]
fn a_pair_survives_being_kept_as_text() {
    let pair = issue(&authority(), now());
    let read =
        ServerPair::from_pem(pair.chain_pem().as_bytes(), pair.key_pem().as_bytes()).unwrap();
    assert_eq!(read, pair);
    assert_eq!(read.names(), pair.names());
    assert_eq!(read.validity(), pair.validity());
}

#[test]
fn a_chain_proves_its_names_within_its_dates_only() {
    let authority = authority();
    let pair = issue(&authority, now());
    let verify = |asked: &str, when| pair.verify(authority.roots(), &name(asked), when);
    let end = pair.validity().not_after;
    verify("a.svc", now() - BACKDATE).unwrap();
    verify("A.svc", end).unwrap();
    let other = verify("b.svc", now()).unwrap_err();
    assert_eq!(other.to_string(), "the certificate is not for b.svc");
    for when in [now() - BACKDATE - Duration::SECOND, end + Duration::SECOND] {
        verify("a.svc", when).unwrap_err();
    }
    assert_eq!(
        verify("a.svc", authority.validity().not_after + Duration::DAY),
        Err(VerifyError::NoRoot)
    );
    assert_eq!(
        verify("a.svc", OffsetDateTime::UNIX_EPOCH - Duration::DAY),
        Err(VerifyError::Clock)
    );
    assert_eq!(
        identity::verify::server(&[], authority.roots(), &name("a.svc"), now()),
        Err(VerifyError::Empty)
    );
}

#[test]
fn serial_numbers_are_never_repeated() {
    let authority = authority();
    let serial = |pair: &ServerPair| {
        let chain = pair.certified_key().cert.clone();
        let own = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
        own.serial().to_vec()
    };
    let (one, other) = (issue(&authority, now()), issue(&authority, now()));
    assert_ne!(serial(&one), serial(&other));
    // Positive, and at most 20 octets.
    assert_eq!(serial(&one).len(), 16);
    assert!(serial(&one)[0] < 0x80);
}

#[test]
fn clocks_that_cannot_be_right_get_into_no_certificate() {
    let year_9995 = OffsetDateTime::from_unix_timestamp(253_250_000_000).unwrap();
    for wrong in [OffsetDateTime::UNIX_EPOCH - Duration::SECOND, year_9995] {
        let refusal = Authority::generate("cluster.local", wrong).unwrap_err();
        assert!(refusal.to_string().contains("set it right"), "{refusal}");
        authority().renew(wrong).unwrap_err();
    }
}

#[test]
fn what_makes_no_certificate_is_refused() {
    for domain in [String::new(), "x".repeat(256)] {
        Authority::generate(&domain, now()).unwrap_err();
    }
    Authority::generate(&"é".repeat(255), now()).unwrap();
    assert!(matches!(
        authority().issue_server(&[], now()),
        Err(IssueError::NoNames)
    ));
}

#[test]
fn a_bundle_holds_each_root_once_and_the_renewed_one_in_place_of_the_old() {
    let (own, other) = (authority(), authority());
    let text = [
        "a comment\n",
        own.certificate_pem(),
        other.certificate_pem(),
        own.certificate_pem(),
    ]
    .concat();
    let bundle = TrustBundle::from_pem(text.as_bytes()).unwrap();
    assert_eq!(bundle.n_roots(), 2);
    assert_eq!(
        bundle.pem(),
        [own.certificate_pem(), other.certificate_pem()].concat()
    );
    assert_eq!(
        TrustBundle::from_pem(bundle.pem().as_bytes()).unwrap(),
        bundle
    );

    let renewed = own.renew(own.renew_at()).unwrap();
    let led = bundle.led_by(&renewed).unwrap();
    assert_eq!(
        led.pem(),
        [renewed.certificate_pem(), other.certificate_pem()].concat()
    );
    for issuer in [&own, &renewed, &other] {
        issue(issuer, now())
            .verify(&led, &name("a.svc"), now())
            .unwrap();
    }
}

#[test]
fn authorities_made_elsewhere_are_carried_on_byte_for_byte() {
    let algorithms: [&SignatureAlgorithm; 4] = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ];
    for algorithm in algorithms {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // Go writes such names as PrintableString, and chains are built by comparing bytes.
        let organization = DnValue::PrintableString("cluster.local".try_into().unwrap());
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
        params.distinguished_name.push(
            DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999, 1]),
            "ours",
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = now() - Duration::DAY;
        params.not_after = now() + Duration::DAY;
        let certificate = params.self_signed(&key).unwrap();
        let read =
            Authority::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
                .unwrap();
        let renewed = read.renew(now()).unwrap();
        assert!(renewed.continues(&read));
        for (issuer, verifier) in [(&read, &renewed), (&renewed, &read)] {
            issue(issuer, now())
                .verify(verifier.roots(), &name("a.svc"), now())
                .unwrap();
        }
    }
}

#[test]
fn private_keys_are_in_no_debug_output() {
    let authority = authority();
    let pair = issue(&authority, now());
    let shown = format!("{authority:?} {pair:?}");
    for pem in [authority.key_pem(), pair.key_pem()] {
        let line = pem.lines().nth(1).unwrap();
        assert!(!shown.contains(line));
    }
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn what_is_issued_verifies_for_its_names_and_never_outlives_its_root(
        labels in prop::collection::btree_set("[a-z]([a-z0-9-]{0,20}[a-z0-9])?", 1..6),
        after in 0_i64..ROOT_LIFETIME.whole_seconds(),
    ) {
        let authority = authority();
        let when = now() + Duration::seconds(after);
        let names = labels.iter().map(|label| name(&format!("{label}.ns.svc"))).collect::<Vec<_>>();
        let pair = authority.issue_server(&names, when).unwrap();
        for asked in &names {
            pair.verify(authority.roots(), asked, when).unwrap();
        }
        prop_assert!(pair.verify(authority.roots(), &name("0.ns.svc"), when).is_err());
        prop_assert!(pair.validity().not_after <= authority.validity().not_after);
        prop_assert!(pair.validity().half_life() < pair.validity().not_after);
        prop_assert_eq!(pair.names(), names);
    }
}
