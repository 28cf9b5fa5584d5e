//! Revoked certificates: who is believed, and who is not any more.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use identity::{
    Authority, Revocations, SigningRequest, SpiffeId,
    authority::LEAF_LIFETIME,
    crl::{self, MAX_CRL_BYTES},
    verify::{self, End, Expected},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn id() -> SpiffeId {
    "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()
}

/// An authority whose key is known here, so that it can sign lists too.
struct Root {
    params: CertificateParams,
    key: KeyPair,
    authority: Authority,
}

fn root(usages: &[KeyUsagePurpose]) -> Root {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages.to_vec();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "cluster.local");
    params.not_before = now() - Duration::DAY;
    params.not_after = now() + Duration::days(30);
    let certificate = params.self_signed(&key).unwrap().pem();
    let authority =
        Authority::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    Root {
        params,
        key,
        authority,
    }
}

impl Root {
    fn leaf(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let request = SigningRequest::from_der(csr.der()).unwrap();
        let issued = self
            .authority
            .issue_workload(&request, &id(), LEAF_LIFETIME, now());
        issued.unwrap().certificate
    }

    /// An authority that this root signs for.
    fn below(&self, usages: &[KeyUsagePurpose]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = self.params.clone();
        params.key_usages = usages.to_vec();
        params
            .distinguished_name
            .push(DnType::CommonName, "intermediate");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let (pem, roots) = (key.serialize_pem(), self.authority.roots().pem());
        let authority = Authority::from_chain(
            certificate.as_bytes(),
            pem.as_bytes(),
            &[],
            roots.as_bytes(),
        );
        Self {
            params,
            key,
            authority: authority.unwrap(),
        }
    }

    fn list(&self, revoked: &[&CertificateDer<'_>], next_update: OffsetDateTime) -> String {
        self.list_of(revoked, (now() - Duration::days(2), next_update))
    }

    fn list_of(
        &self,
        revoked: &[&CertificateDer<'_>],
        (this_update, next_update): (OffsetDateTime, OffsetDateTime),
    ) -> String {
        let revoked_certs = revoked.iter().map(|certificate| {
            let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: now() - Duration::HOUR,
                reason_code: None,
                invalidity_date: None,
            }
        });
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        // Whether the certificate allows it is not for whoever signs to say.
        let mut params = self.params.clone();
        params.key_usages = SIGNS.to_vec();
        let issuer = Issuer::from_params(&params, &self.key);
        list.signed_by(&issuer).unwrap().pem().unwrap()
    }

    fn check(&self, lists: &str) -> Result<OffsetDateTime, String> {
        let roots = self.authority.roots();
        let checked = crl::check(lists.as_bytes(), &[&self.authority], roots, &id(), now());
        checked
            .map(|checked| checked.end)
            .map_err(|error| error.to_string())
    }

    fn believes(&self, leaf: &CertificateDer<'_>, lists: &str) -> Result<(), String> {
        let revoked = Revocations::from_pem(lists.as_bytes()).unwrap();
        let own = [Arc::clone(id().text())];
        verify::peer_unless_revoked(
            std::slice::from_ref(leaf),
            self.authority.roots(),
            &revoked,
            End::Server,
            Expected::OneOf(&own),
            now(),
        )
        .map(drop)
        .map_err(|error| format!("{error:?}"))
    }
}

const SIGNS: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

#[test]
fn a_revoked_certificate_is_not_believed_and_others_are() {
    let root = root(&SIGNS);
    let (good, bad) = (root.leaf(), root.leaf());
    let list = root.list(&[&bad], now() + Duration::DAY);
    root.believes(&good, &list).unwrap();
    let refusal = root.believes(&bad, &list).unwrap_err();
    assert!(refusal.contains("CertRevoked"), "{refusal}");
}

#[test]
fn what_was_revoked_stays_so_when_the_list_is_old() {
    let root = root(&SIGNS);
    let (good, bad) = (root.leaf(), root.leaf());
    let old = root.list(&[&bad], now() - Duration::DAY);
    root.believes(&good, &old).unwrap();
    root.believes(&bad, &old).unwrap_err();
}

#[test]
fn a_list_speaks_for_its_own_authority_only() {
    let root = root(&SIGNS);
    let leaf = root.leaf();
    let mut stranger = self::root(&SIGNS);
    let forged = stranger.list(&[&leaf], now() + Duration::DAY);
    // A list in the name of the root that it has not signed is no reason to believe anybody.
    root.believes(&leaf, &forged).unwrap_err();
    stranger
        .params
        .distinguished_name
        .push(DnType::CommonName, "other");
    let other = stranger.list(&[&leaf], now() + Duration::DAY);
    root.believes(&leaf, &other).unwrap();
    let own = root.list(&[&leaf], now() + Duration::DAY);
    root.believes(&leaf, &format!("{other}{own}")).unwrap_err();
}

#[test]
fn what_is_no_list_is_refused_by_what_is_wrong_with_it() {
    let root = root(&SIGNS);
    let broken = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let list = root.list(&[], now() + Duration::DAY);
    for (text, expected) in [
        (String::new(), "holds 0 PEM sections"),
        (
            root.authority.certificate_pem().to_owned(),
            "holds 0 PEM sections",
        ),
        (
            broken.to_owned(),
            "list 1 is no certificate revocation list",
        ),
        (
            format!("{list}{broken}"),
            "list 2 is no certificate revocation list",
        ),
        (list.repeat(65), "holds 65 PEM sections"),
        (" ".repeat(MAX_CRL_BYTES + 1), "larger than 1024 KiB"),
    ] {
        let refusal = Revocations::from_pem(text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
    assert_eq!(Revocations::from_pem(list.as_bytes()).unwrap().n_lists(), 1);
    assert_eq!(Revocations::default().n_lists(), 0);
}

#[test]
fn sound_lists_may_be_handed_out_until_the_first_of_them_is_outdated() {
    let root = root(&SIGNS);
    let soon = now() + Duration::HOUR;
    let lists = root.list(&[&root.leaf()], now() + Duration::DAY) + &root.list(&[], soon);
    assert_eq!(root.check(&lists), Ok(soon));
}

#[test]
fn lists_that_would_harm_are_not_handed_out() {
    let (root, tomorrow) = (root(&SIGNS), now() + Duration::DAY);
    let mut stranger = self::root(&SIGNS);
    let forged = stranger.list(&[], tomorrow);
    stranger
        .params
        .distinguished_name
        .push(DnType::CommonName, "other");
    let good = root.list(&[], tomorrow);
    for (lists, expected) in [
        (String::new(), "holds 0 PEM sections"),
        (
            forged,
            "list 1, issued by \"CN=rcgen self signed cert, O=cluster.local\", is signed neither",
        ),
        (
            good.clone() + &stranger.list(&[], tomorrow),
            "list 2, issued by \"",
        ),
        (
            good + &root.list(&[], now()),
            "list 2 is outdated since 2027-01-15T08:00:00Z",
        ),
        (
            root.list_of(&[], (now() + Duration::HOUR, tomorrow)),
            "list 1 begins at 2027-01-15T09:00:00Z, set the clock right",
        ),
    ] {
        let refusal = root.check(&lists).unwrap_err();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn lists_by_which_nobody_would_be_believed_are_not_handed_out() {
    let root = root(&[KeyUsagePurpose::KeyCertSign]);
    let (below, mute) = (root.below(&SIGNS), root.below(&SIGNS[..1]));
    let tomorrow = now() + Duration::DAY;
    let revoking = root.list(&[below.authority.certificate()], tomorrow);
    below
        .check(&(root.list(&[], tomorrow) + &below.list(&[], tomorrow)))
        .unwrap();
    for refusal in [
        below.check(&revoking).unwrap_err(),
        // Its certificate does not let it sign lists.
        mute.check(&mute.list(&[], tomorrow)).unwrap_err(),
    ] {
        assert!(
            refusal.contains("peers would refuse every certificate"),
            "{refusal}"
        );
    }
}
