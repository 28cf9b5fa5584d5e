//! What a workload shows and whom it trusts, made of three PEM texts and checked before it is used.
//!
//! [`Store`](super::store::Store) reads the texts from files and swaps whole [`Credentials`]; handshakes take the ones of their moment.
//! Whatever exists as `Credentials` works: key and certificate belong together, the chain leads to the bundle, its time is now, and it
//! names exactly one workload.

mod error;

use std::{
    fmt::{self, Formatter},
    path::{Path, PathBuf},
    sync::Arc,
};

use contract::paths;
use identity::{
    PairError, ServerPair, SpiffeId, TrustBundle, TrustDomain, Validity, spiffe,
    verify::{self, End, Expected},
};
use rustls::{
    ClientConfig, ServerConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
    server::NoServerSessionStorage,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use time::OffsetDateTime;

pub use error::CredentialsError;

use super::{
    alpn,
    peer::fingerprint,
    revoked::Revoked,
    verifier::{Verifier, Welcome},
};

/// Who we are to others, and whom we believe.
pub struct Credentials {
    generation: u64,
    id: SpiffeId,
    validity: Validity,
    pair: ServerPair,
    roots: Arc<TrustBundle>,
    verifier: Verifier,
    servers: Servers,
    client: ClientConfig,
}

/// What the files do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Trust domains whose workloads are believed besides those of our own: the mesh's and its aliases.
    pub trust_domains: Vec<TrustDomain>,
    /// Oldest version of TLS that is spoken. Default: 1.3.
    pub oldest: Oldest,
    /// How keys are agreed on. Default: classical.
    pub key_exchange: KeyExchange,
    /// Who does not count any more. Default: nobody.
    pub revoked: Revoked,
}

/// Oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oldest {
    /// TLS 1.2 (RFC 5246), with AEAD and ephemeral keys only.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[default]
    Tls13,
}

/// How keys are agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519 or NIST curves; the hybrid with ML-KEM where a peer insists.
    #[default]
    Classical,
    /// Only X25519MLKEM768, which a quantum computer does not break; TLS 1.3 only. As Istio's compliance policy `pqc`.
    PostQuantum,
}

/// The three texts and where they come from.
#[derive(Clone, Copy, Debug)]
pub struct Pem<'a> {
    /// The folder, for messages.
    pub folder: &'a Path,
    /// `cert-chain.pem`: the workload's certificate, then intermediate ones.
    pub chain: &'a [u8],
    /// `key.pem`: its private key, in PKCS #8, SEC1 or PKCS #1.
    pub key: &'a [u8],
    /// `root-cert.pem`: the roots to trust.
    pub roots: &'a [u8],
}

static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];
static TLS12_AND_13: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The server's side, by what the client offers.
struct Servers {
    /// For clients that offer none of our names, or no names at all.
    nameless: Arc<ServerConfig>,
    named: Arc<ServerConfig>,
}

// === impl Credentials ===

impl Credentials {
    /// Checks the texts at `now`; `generation` tells these credentials from earlier ones.
    ///
    /// # Errors
    /// Says which file is at fault, and why.
    pub fn new(
        pem: Pem<'_>,
        settings: &Settings,
        generation: u64,
        now: OffsetDateTime,
    ) -> Result<Self, CredentialsError> {
        let pair = ServerPair::from_pem(pem.chain, pem.key).map_err(|error| pem.refused(error))?;
        let roots = TrustBundle::from_pem(pem.roots).map_err(|source| CredentialsError::Roots {
            file: pem.file(paths::ROOT_CERT_FILE),
            source,
        })?;
        let certified = pair.certified_key();
        let own = certified
            .cert
            .first()
            .map(AsRef::as_ref)
            .unwrap_or_default();
        let file = || pem.file(paths::CERT_CHAIN_FILE);
        let id = spiffe::of(own).map_err(|source| CredentialsError::Id {
            file: file(),
            source,
        })?;
        let validity = pair.validity();
        validity
            .check(now)
            .map_err(|source| CredentialsError::Untimely {
                file: file(),
                source,
            })?;
        let me = [Arc::clone(id.text())];
        for end in [End::Client, End::Server] {
            verify::peer(&certified.cert, &roots, end, Expected::OneOf(&me), now).map_err(
                |source| CredentialsError::Untrusted {
                    chain: file(),
                    roots: pem.file(paths::ROOT_CERT_FILE),
                    source: Box::new(source),
                },
            )?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(provider(settings.key_exchange));
        let verifier = Verifier {
            roots: Arc::clone(&roots),
            welcome: Welcome::Of(welcome(&id, settings)),
            revoked: settings.revoked.lists().clone(),
            algorithms: provider.signature_verification_algorithms,
        };
        let build = Build {
            provider,
            versions: settings.versions(),
            pair: &pair,
            verifier: &verifier,
        };
        let servers = build.servers().map_err(CredentialsError::Settings)?;
        let client = build.client().map_err(CredentialsError::Settings)?;
        Ok(Self {
            generation,
            id,
            validity,
            pair,
            roots,
            verifier,
            servers,
            client,
        })
    }

    /// Who we are.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// From when until when others believe us.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Tells these credentials from earlier ones.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The texts that these credentials are made of, for messages as if they came from `folder`.
    pub(super) fn pem<'a>(&'a self, folder: &'a Path) -> Pem<'a> {
        Pem {
            folder,
            chain: self.pair.chain_pem().as_bytes(),
            key: self.pair.key_pem().as_bytes(),
            roots: self.roots.pem().as_bytes(),
        }
    }

    /// Whether somebody who trusts `roots` alone would believe us at `now`.
    pub(super) fn lead_to(
        &self,
        roots: &TrustBundle,
        now: OffsetDateTime,
    ) -> Result<(), verify::PeerError> {
        let certified = self.pair.certified_key();
        let me = [Arc::clone(self.id.text())];
        verify::peer(
            &certified.cert,
            roots,
            End::Client,
            Expected::OneOf(&me),
            now,
        )?;
        Ok(())
    }

    /// The serial number of our certificate, in lower-case hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> &str {
        self.pair.serial()
    }

    /// The roots that we trust: SHA-256 in lower-case hexadecimal digits, and from when until when.
    pub fn root_fingerprints(&self) -> impl Iterator<Item = (Box<str>, Validity)> {
        self.roots
            .certificates()
            .map(|(root, validity)| (fingerprint(root), validity))
    }

    /// Whom we believe.
    #[must_use]
    pub fn roots(&self) -> &TrustBundle {
        &self.roots
    }

    /// The server's side for a client whose hello offers a name that we speak, or does not.
    pub(crate) fn server(&self, offers_ours: bool) -> Arc<ServerConfig> {
        Arc::clone(if offers_ours {
            &self.servers.named
        } else {
            &self.servers.nameless
        })
    }

    /// The client's side, towards a server that is one of `expected`.
    pub(crate) fn client(&self, expected: &[Arc<str>]) -> Arc<ClientConfig> {
        let mut client = self.client.clone();
        let verifier = Verifier {
            welcome: Welcome::OneOf(expected.into()),
            ..self.verifier.clone()
        };
        client
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        Arc::new(client)
    }
}

/// The key stays out of it.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("generation", &self.generation)
            .field("id", &self.id)
            .field("pair", &self.pair)
            .finish_non_exhaustive()
    }
}

// === impl Settings ===

impl Settings {
    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match (self.oldest, self.key_exchange) {
            (Oldest::Tls12, KeyExchange::Classical) => TLS12_AND_13,
            (Oldest::Tls13, _) | (_, KeyExchange::PostQuantum) => ONLY_TLS13,
        }
    }
}

// === impl Pem ===

impl Pem<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn refused(&self, source: PairError) -> CredentialsError {
        let (chain, key) = (
            self.file(paths::CERT_CHAIN_FILE),
            self.file(paths::KEY_FILE),
        );
        match source {
            PairError::Mismatch => CredentialsError::Mismatch { chain, key },
            PairError::Key(_) | PairError::NotText => {
                CredentialsError::Unreadable { file: key, source }
            }
            source => CredentialsError::Unreadable {
                file: chain,
                source,
            },
        }
    }
}

/// The parts that both sides of TLS are built of.
struct Build<'a> {
    provider: Arc<CryptoProvider>,
    versions: &'static [&'static SupportedProtocolVersion],
    pair: &'a ServerPair,
    verifier: &'a Verifier,
}

// === impl Build ===

impl Build<'_> {
    fn servers(&self) -> Result<Servers, rustls::Error> {
        let resolver = Arc::new(SingleCertAndKey::from(self.pair.certified_key()));
        let mut nameless = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(self.versions)?
            .with_client_cert_verifier(Arc::new(self.verifier.clone()))
            .with_cert_resolver(resolver);
        nameless.session_storage = Arc::new(NoServerSessionStorage {});
        nameless.send_tls13_tickets = 0;
        let mut named = nameless.clone();
        // The server's order decides.
        named.alpn_protocols = alpn::SPOKEN.iter().map(|name| name.to_vec()).collect();
        Ok(Servers {
            nameless: Arc::new(nameless),
            named: Arc::new(named),
        })
    }

    fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(self.versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier.clone()))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.pair.certified_key())));
        client.resumption = Resumption::disabled();
        Ok(client)
    }
}

fn welcome(id: &SpiffeId, settings: &Settings) -> Arc<[TrustDomain]> {
    // What is read as an ID has a trust domain that can be read.
    let own = id.trust_domain().parse().ok();
    own.into_iter()
        .chain(settings.trust_domains.iter().cloned())
        .collect()
}

/// The one crypto provider. AES-128-GCM first: it is the fastest where the processor knows AES, and safe for as long as the certificates.
fn provider(key_exchange: KeyExchange) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        kx_groups: match key_exchange {
            KeyExchange::Classical => vec![
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
                kx_group::X25519MLKEM768,
            ],
            KeyExchange::PostQuantum => vec![kx_group::X25519MLKEM768],
        },
        ..aws_lc_rs::default_provider()
    }
}
