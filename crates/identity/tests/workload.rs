//! Certificates of workloads: what is in them, how long they live, and what is not signed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::LazyLock;

use identity::{
    Authority, CsrError, Leaf, Lifetimes, SigningRequest, SpiffeId, TrustBundle,
    authority::{LEAF_LIFETIME, MIN_LEAF_LIFETIME},
    csr::MAX_CSR_BYTES,
    verify::{self, End, Expected},
};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA512, RsaKeySize, SanType,
    SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
};

static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::generate("cluster.local", now()).unwrap());
static REQUEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::default();
    params.serialize_request(&key).unwrap().der().to_vec()
});

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn id() -> SpiffeId {
    "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()
}

/// A request for everything that a workload is not to have.
fn greedy(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(["istiod.istio-system.svc".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "admin");
    let other = "spiffe://cluster.local/ns/kube-system/sa/admin";
    params
        .subject_alt_names
        .push(SanType::URI(other.try_into().unwrap()));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params
        .custom_extensions
        .push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn issued(algorithm: &'static SignatureAlgorithm, lifetime: Duration) -> Leaf {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let request = SigningRequest::from_pem(greedy(&key).as_bytes()).unwrap();
    AUTHORITY
        .issue_workload(&request, &id(), lifetime, now())
        .unwrap()
}

fn verified(leaf: &Leaf, at: OffsetDateTime) -> bool {
    let chain = std::slice::from_ref(&leaf.certificate);
    let domains = ["cluster.local".parse().unwrap()];
    [End::Client, End::Server].into_iter().all(|end| {
        let expected = Expected::Of(&domains);
        verify::peer(chain, AUTHORITY.roots(), end, expected, at).is_ok_and(|found| found == id())
    })
}

#[test]
fn a_leaf_proves_one_identity_and_nothing_else() {
    for (algorithm, is_rsa) in [
        (&PKCS_ECDSA_P256_SHA256, false),
        (&PKCS_ECDSA_P384_SHA384, false),
        (&PKCS_RSA_SHA256, true),
        (&PKCS_RSA_SHA512, true),
    ] {
        let leaf = issued(algorithm, LEAF_LIFETIME);
        assert!(verified(&leaf, now()));
        let (_, parsed) = X509Certificate::from_der(&leaf.certificate).unwrap();
        assert_eq!(parsed.subject().iter().count(), 0);
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical, "the subject is empty");
        assert_eq!(names.value.general_names, [GeneralName::URI(id().as_str())]);
        let constraints = parsed.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca);
        let usage = parsed.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        assert_eq!(usage.key_encipherment(), is_rsa);
        let extended = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.client_auth);
        assert!(!extended.any && !extended.code_signing);
        let n_unknown = parsed
            .extensions()
            .iter()
            .filter(|extension| {
                matches!(
                    extension.parsed_extension(),
                    ParsedExtension::UnsupportedExtension { .. }
                )
            })
            .count();
        assert_eq!(n_unknown, 0);
        assert!(leaf.pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
    }
}

#[test]
fn no_two_leaves_have_the_same_serial_number() {
    let serials = (0..50)
        .map(|_| issued(&PKCS_ECDSA_P256_SHA256, LEAF_LIFETIME))
        .map(|leaf| {
            let (_, parsed) = X509Certificate::from_der(&leaf.certificate).unwrap();
            parsed.raw_serial().to_vec()
        })
        .collect::<std::collections::HashSet<_>>();
    assert_eq!(serials.len(), 50);
}

#[test]
fn what_is_asked_for_is_granted_within_bounds() {
    let hours = Duration::hours;
    let lifetimes = Lifetimes {
        default: hours(12),
        max: hours(24),
    };
    for (asked, granted) in [
        (None, hours(12)),
        (Some(Duration::ZERO), hours(12)),
        (Some(hours(-1)), hours(12)),
        (Some(Duration::SECOND), MIN_LEAF_LIFETIME),
        (Some(Duration::minutes(2)), Duration::minutes(2)),
        (Some(hours(24)), hours(24)),
        (Some(hours(24 * 365)), hours(24)),
        (Some(Duration::MAX), hours(24)),
    ] {
        assert_eq!(lifetimes.grant(asked), granted, "{asked:?}");
    }
}

#[test]
fn a_clock_that_is_a_little_behind_accepts_a_fresh_leaf() {
    let day = issued(&PKCS_ECDSA_P256_SHA256, LEAF_LIFETIME);
    assert!(verified(&day, now() - Duration::minutes(4)));
    assert!(!verified(&day, now() - Duration::minutes(6)));
    assert!(verified(&day, now() + LEAF_LIFETIME));
    assert!(!verified(&day, now() + LEAF_LIFETIME + Duration::SECOND));
    // Backdated by its quarter only, so that half of its life still lies ahead.
    let short = issued(&PKCS_ECDSA_P256_SHA256, Duration::minutes(2));
    assert!(verified(&short, now() - Duration::seconds(30)));
    assert!(short.validity.half_life() > now() + Duration::seconds(30));
}

#[test]
fn no_leaf_outlives_its_authority() {
    let root = AUTHORITY.validity();
    let key = KeyPair::generate().unwrap();
    let request = SigningRequest::from_pem(greedy(&key).as_bytes()).unwrap();
    let late = root.not_after - Duration::HOUR;
    let leaf = AUTHORITY
        .issue_workload(&request, &id(), LEAF_LIFETIME, late)
        .unwrap();
    assert_eq!(leaf.validity.not_after, root.not_after);
    let first = AUTHORITY
        .issue_workload(&request, &id(), LEAF_LIFETIME, root.not_before)
        .unwrap();
    assert_eq!(first.validity.not_before, root.not_before);
    for moment in [
        root.not_after + Duration::SECOND,
        root.not_before - Duration::SECOND,
        OffsetDateTime::UNIX_EPOCH - Duration::SECOND,
    ] {
        AUTHORITY
            .issue_workload(&request, &id(), LEAF_LIFETIME, moment)
            .unwrap_err();
    }
}

fn request_with(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    request.der().to_vec()
}

#[test]
fn keys_that_are_too_weak_or_unusual_are_refused() {
    let long = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap();
    let longest = CertificateParams::default()
        .serialize_request(&long)
        .unwrap();
    SigningRequest::from_der(longest.der()).unwrap();
    for der in [
        request_with(&PKCS_ED25519),
        request_with(&PKCS_ECDSA_P521_SHA512),
    ] {
        let refusal = SigningRequest::from_der(&der).unwrap_err();
        assert!(matches!(refusal, CsrError::Key), "{refusal}");
    }
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let mut forged = REQUEST.clone();
    // The last byte belongs to the signature.
    *forged.last_mut().unwrap() ^= 1;
    let trailing = [&REQUEST[..], &[0]].concat();
    let not_pkcs10 = "is not PKCS #10";
    for (der, expected) in [
        (&forged[..], "signature is not its own key's"),
        (&trailing, not_pkcs10),
        (&[], not_pkcs10),
        (&REQUEST[..50], not_pkcs10),
        (AUTHORITY.certificate(), not_pkcs10),
    ] {
        let refusal = SigningRequest::from_der(der).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
    for text in [
        "",
        "nonsense",
        AUTHORITY.certificate_pem(),
        AUTHORITY.key_pem(),
    ] {
        let refusal = SigningRequest::from_pem(text.as_bytes()).unwrap_err();
        assert!(matches!(refusal, CsrError::Pem(_)), "{refusal}");
    }
    let huge = SigningRequest::from_pem(&vec![b' '; MAX_CSR_BYTES + 1]).unwrap_err();
    assert!(matches!(huge, CsrError::TooLarge));
}

/// The request with the only place where it says `from` saying `to`.
fn patched(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "lengths are written around it");
    let places: Vec<_> = (0..REQUEST.len() - from.len())
        .filter(|&idx| REQUEST[idx..].starts_with(from))
        .collect();
    assert_eq!(places.len(), 1, "{from:x?} is at {places:?}");
    let mut der = REQUEST.clone();
    der[places[0]..places[0] + to.len()].copy_from_slice(to);
    der
}

#[test]
fn requests_of_the_wrong_shape_are_refused() {
    let p256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let other_curve: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 6];
    let no_curve: &[u8] = &[0x0c, 8, 0x2a, 0x26, 0x48, 0x4e, 0x3d, 3, 1, 7];
    let uncompressed: &[u8] = &[0x03, 0x42, 0, 4];
    let signed_by = |last| [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last];
    let key = |refusal: &CsrError| matches!(refusal, CsrError::Key);
    let algorithm = |refusal: &CsrError| matches!(refusal, CsrError::Algorithm);
    let malformed = |refusal: &CsrError| matches!(refusal, CsrError::Malformed);
    let signature = |refusal: &CsrError| matches!(refusal, CsrError::Signature);
    type Is<'a> = &'a dyn Fn(&CsrError) -> bool;
    let table: [(&str, Vec<u8>, Is<'_>); 8] = [
        ("another curve", patched(p256, other_curve), &key),
        ("no curve", patched(p256, no_curve), &key),
        (
            "a compressed point",
            patched(uncompressed, &[0x03, 0x42, 0, 2]),
            &key,
        ),
        (
            "a key that is no whole bytes",
            patched(uncompressed, &[0x03, 0x42, 1, 4]),
            &malformed,
        ),
        (
            "an algorithm for others",
            patched(&signed_by(2), &signed_by(1)),
            &algorithm,
        ),
        (
            "another hash",
            patched(&signed_by(2), &signed_by(3)),
            &signature,
        ),
        ("no sequence", [&[0x31], &REQUEST[1..]].concat(), &malformed),
        ("twice", [&REQUEST[..], &REQUEST[..]].concat(), &malformed),
    ];
    for (what, der, is_so) in table {
        let refusal = SigningRequest::from_der(&der).expect_err(what);
        assert!(is_so(&refusal), "{what}: {refusal:?}");
    }
    // A point that is on no curve can have signed nothing.
    let key = SigningRequest::from_der(&REQUEST).unwrap();
    let point = rcgen::PublicKeyData::der_bytes(&key).to_vec();
    let mut elsewhere = point.clone();
    *elsewhere.last_mut().unwrap() ^= 1;
    let refusal = SigningRequest::from_der(&patched(&point, &elsewhere)).unwrap_err();
    assert!(signature(&refusal), "{refusal:?}");
}

/// A root and an authority below it, with what a user keeps in files: certificate, key, others, root.
fn below(change: impl FnOnce(&mut CertificateParams)) -> [String; 4] {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now() - Duration::DAY;
        params.not_after = now() + Duration::days(30);
        params
    };
    let root = params("root");
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let mut intermediate = params("intermediate");
    change(&mut intermediate);
    let issuer = Issuer::from_params(&root, &root_key);
    let pem = intermediate.signed_by(&key, &issuer).unwrap().pem();
    [pem.clone(), key.serialize_pem(), pem, root_pem]
}

fn chained([certificate, key, others, roots]: &[String; 4]) -> Authority {
    Authority::from_chain(
        certificate.as_bytes(),
        key.as_bytes(),
        others.as_bytes(),
        roots.as_bytes(),
    )
    .unwrap()
}

#[test]
fn an_authority_below_a_root_issues_what_the_root_vouches_for() {
    let files = below(|_| {});
    let authority = chained(&files);
    authority.prove(&id(), now()).unwrap();
    assert_eq!(authority.chain().len(), 1, "itself, once, and no root");
    let roots = TrustBundle::from_pem(files[3].as_bytes()).unwrap();
    assert_eq!(*authority.roots(), roots);
    let request = SigningRequest::from_der(&REQUEST).unwrap();
    let leaf = authority
        .issue_workload(&request, &id(), LEAF_LIFETIME, now())
        .unwrap();
    let chain = [&[leaf.certificate][..], authority.chain()].concat();
    let own = [id().text().clone()];
    let verified = |chain: &[CertificateDer<'_>]| {
        verify::peer(chain, &roots, End::Server, Expected::OneOf(&own), now())
    };
    verified(&chain).unwrap();
    verified(&chain[..1]).unwrap_err();
    authority.renew(now()).unwrap_err();

    let names = [identity::DnsName::try_from("istiod.istio-system.svc").unwrap()];
    let pair = authority.issue_server(&names, now()).unwrap();
    pair.verify(&roots, &names[0], now()).unwrap();
}

#[test]
fn an_authority_that_nobody_would_believe_does_not_pass() {
    let stranger = below(|_| {});
    let mut files = below(|_| {});
    files[3].clone_from(&stranger[3]);
    chained(&files).prove(&id(), now()).unwrap_err();
    let over = below(|params| params.not_after = now() - Duration::HOUR);
    chained(&over).prove(&id(), now()).unwrap_err();
    let elsewhere = below(|params| {
        let permitted = vec![rcgen::GeneralSubtree::DnsName("example.com".to_owned())];
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: permitted,
            excluded_subtrees: Vec::new(),
        });
    });
    // Names of another kind than those that are constrained are free (RFC 5280, section 4.2.1.10).
    chained(&elsewhere).prove(&id(), now()).unwrap();
}

#[test]
fn a_root_of_the_users_own_signs_by_itself() {
    let (certificate, key) = (AUTHORITY.certificate_pem(), AUTHORITY.key_pem());
    let authority = Authority::from_chain(
        certificate.as_bytes(),
        key.as_bytes(),
        b"\n",
        certificate.as_bytes(),
    )
    .unwrap();
    assert!(authority.chain().is_empty());
    authority.prove(&id(), now()).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_request(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(SigningRequest::from_der(&bytes).is_err());
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", bytes.clone()));
        prop_assert!(SigningRequest::from_pem(pem.as_bytes()).is_err());
        prop_assert!(SigningRequest::from_pem(&bytes).is_err());
    }

    #[test]
    fn a_request_with_a_flipped_bit_certifies_no_other_key(idx in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut der = REQUEST.clone();
        let idx = idx.index(der.len());
        der[idx] ^= 1 << bit;
        // What is around the signed part may be written in more ways than one.
        if let Ok(read) = SigningRequest::from_der(&der) {
            prop_assert_eq!(read, SigningRequest::from_der(&REQUEST).unwrap(), "bit {} of byte {}", bit, idx);
        }
    }

    #[test]
    fn a_truncated_request_is_refused(end in any::<prop::sample::Index>()) {
        let part = &REQUEST[..end.index(REQUEST.len())];
        prop_assert!(SigningRequest::from_der(part).is_err());
    }
}
