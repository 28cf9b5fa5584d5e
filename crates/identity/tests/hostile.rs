//! What comes from outside and is not what it should be: refused by name, within bounds, without a panic.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::LazyLock;

use identity::{Authority, DnsName, MAX_PEM_BYTES, ServerPair, TrustBundle};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime};

static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::generate("cluster.local", now()).unwrap());

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn pair() -> ServerPair {
    let names = [DnsName::try_from("a.svc").unwrap()];
    AUTHORITY.issue_server(&names, now()).unwrap()
}

fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

/// A self-signed certificate that is an authority's but for what `change` does to it, and its key.
fn root(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = now() + Duration::DAY;
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn intermediate() -> (String, String) {
    let (parent, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "parent");
    let issuer = Issuer::from_params(&params, &parent);
    let mut child = params.clone();
    child
        .distinguished_name
        .push(rcgen::DnType::CommonName, "child");
    let certificate = child.signed_by(&key, &issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A certificate that says it is self-signed and is signed by another key.
fn forged() -> (String, String) {
    let (signer, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params
        .signed_by(&key, &Issuer::from_params(&params, &signer))
        .unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[track_caller]
fn check_refused((certificate, key): (&str, &str), expected: &str) {
    let refusal = Authority::from_pem(certificate.as_bytes(), key.as_bytes())
        .expect_err(expected)
        .to_string();
    assert!(refusal.contains(expected), "{refusal}");
}

#[test]
fn texts_that_hold_no_certificate_and_key_are_refused() {
    let (certificate, key) = root(|_| {});
    let mut trailing = CertificateDer::from_pem_slice(certificate.as_bytes())
        .unwrap()
        .to_vec();
    trailing.extend([0, 0]);
    let spaces = " ".repeat(MAX_PEM_BYTES);
    for certificate in [
        "",
        &key,
        &certificate[..200],
        &pem_of(&[]),
        &pem_of(&[0x30, 0x82, 0xff]),
        &pem_of(&trailing),
        &format!("{certificate}{spaces}"),
    ] {
        check_refused((certificate, &key), "certificate cannot be used");
    }
    let twice = certificate.repeat(2);
    check_refused((&twice, &key), "2 certificates where one");

    let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let huge_key = format!("{key}{spaces}");
    for (key, expected) in [
        (&*certificate, "key cannot be read as a PEM"),
        ("", "key cannot be read as a PEM"),
        (broken_key, "key is damaged"),
        (&huge_key, "key is not a text of at most"),
        (&root(|_| {}).1, "does not belong"),
    ] {
        check_refused((&certificate, key), expected);
    }
    Authority::from_pem(certificate.as_bytes(), b"\xff\xfe").unwrap_err();
    Authority::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
}

#[test]
fn certificates_that_are_no_root_are_refused() {
    let table = [
        (
            root(|params| params.is_ca = IsCa::ExplicitNoCa),
            "no authority's",
        ),
        (root(|params| params.is_ca = IsCa::NoCa), "no authority's"),
        (
            root(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]),
            "does not allow signing",
        ),
        (intermediate(), "not self-signed"),
        (forged(), "not its own key's"),
    ];
    for ((certificate, key), expected) in &table {
        check_refused((certificate, key), expected);
    }
}

#[test]
fn what_is_no_bundle_is_refused_by_what_is_wrong_with_it() {
    let own = AUTHORITY.certificate_pem();
    let many = (0..65).map(|_| root(|_| {}).0).collect::<String>();
    let table = [
        (String::new(), "holds no PEM section"),
        ("nonsense".to_owned(), "holds no PEM section"),
        (" ".repeat(MAX_PEM_BYTES + 1), "larger than 512 KiB"),
        (format!("{own}-----BEGIN CERTIFICATE-----\n!"), "as PEM"),
        (
            format!("{own}{}", pem_of(b"abc")),
            "certificate 2 cannot be read",
        ),
        (
            format!("{own}{}", pair().chain_pem()),
            "certificate 2 is no certificate of an authority",
        ),
        (many, "holds 65 certificates, at most 64"),
    ];
    for (text, expected) in table {
        let refusal = TrustBundle::from_pem(text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn what_is_no_pair_is_refused_by_what_is_wrong_with_it() {
    let (one, other) = (pair(), pair());
    let huge = " ".repeat(MAX_PEM_BYTES + 1);
    let table = [
        (one.key_pem(), one.key_pem(), "certificate cannot be used"),
        (one.chain_pem(), one.chain_pem(), "key cannot be read"),
        (one.chain_pem(), other.key_pem(), "does not belong"),
        (
            &one.chain_pem()[..100],
            one.key_pem(),
            "certificate cannot be used",
        ),
        (&huge, one.key_pem(), "certificate cannot be used"),
        (one.chain_pem(), &huge, "not a text of at most"),
    ];
    for (chain, key, expected) in table {
        let refusal = ServerPair::from_pem(chain.as_bytes(), key.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn a_client_certificate_does_not_prove_a_server() {
    let (certificate, key) = root(|_| {});
    let authority = Authority::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let signer = KeyPair::from_pem(&key).unwrap();
    let mut issuer = CertificateParams::default();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut params = CertificateParams::new(["a.svc".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = now() + Duration::DAY;
    let own = KeyPair::generate().unwrap();
    let issued = params
        .signed_by(&own, &Issuer::from_params(&issuer, &signer))
        .unwrap();
    let pair =
        ServerPair::from_pem(issued.pem().as_bytes(), own.serialize_pem().as_bytes()).unwrap();
    let name = DnsName::try_from("a.svc").unwrap();
    let refusal = pair.verify(authority.roots(), &name, now()).unwrap_err();
    assert!(refusal.to_string().contains("does not verify"), "{refusal}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_nothing_and_harm_nothing(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let section = pem_of(&bytes);
        for text in [&bytes[..], section.as_bytes()] {
            prop_assert!(Authority::from_pem(text, AUTHORITY.key_pem().as_bytes()).is_err());
            prop_assert!(Authority::from_pem(AUTHORITY.certificate_pem().as_bytes(), text).is_err());
            prop_assert!(TrustBundle::from_pem(text).is_err());
            prop_assert!(ServerPair::from_pem(text, text).is_err());
        }
    }

    #[test]
    fn a_root_with_a_flipped_bit_is_refused(idx in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut der = AUTHORITY.certificate().to_vec();
        let idx = idx.index(der.len());
        der[idx] ^= 1 << bit;
        let read = Authority::from_pem(pem_of(&der).as_bytes(), AUTHORITY.key_pem().as_bytes());
        prop_assert!(read.is_err(), "bit {bit} of byte {idx}");
    }

    #[test]
    fn a_truncated_root_is_refused(end in any::<prop::sample::Index>()) {
        let der = AUTHORITY.certificate();
        let part = &der[..end.index(der.len())];
        let key = AUTHORITY.key_pem().as_bytes();
        prop_assert!(Authority::from_pem(pem_of(part).as_bytes(), key).is_err());
    }
}
