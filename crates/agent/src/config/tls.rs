//! How the settings of mutual TLS are settled.
//!
//! Called by [`Config::resolve`](super::Config::resolve); what the files hold is looked at when the proxy starts.

use std::path::PathBuf;

use contract::{env, paths};

use super::reader::{Reader, Setting};
use crate::{
    args::{PodArgs, TlsArgs},
    tls::credentials::{KeyExchange, Oldest, Settings},
};

/// Where credentials come from, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The folder with the three files.
    pub folder: PathBuf,
    /// Whether the files have to be there when the proxy starts.
    pub is_required: bool,
    /// What the files do not say.
    pub settings: Settings,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn tls(&mut self, args: &'a TlsArgs, pod: &'a PodArgs) -> Tls {
        let folder = Setting::new("certs-dir", "AGENT_CERTS_DIR", args.certs_dir.as_ref());
        let folder = self.given(folder);
        let oldest = Setting::new(
            "tls-min-version",
            "AGENT_TLS_MIN_VERSION",
            args.tls_min_version.as_ref(),
        );
        let oldest = self.given(oldest);
        let oldest = self.parse(oldest, "TLSV1_2 or TLSV1_3", |text| match text {
            "TLSV1_2" => Some(Oldest::Tls12),
            "TLSV1_3" | "TLS_AUTO" => Some(Oldest::Tls13),
            _ => None,
        });
        let policy = Setting::new(
            "compliance-policy",
            "COMPLIANCE_POLICY",
            args.compliance_policy.as_ref(),
        );
        let policy = self.given(policy);
        let policy = self.parse(policy, "pqc, the only policy there is", |text| {
            (text == "pqc").then_some(KeyExchange::PostQuantum)
        });
        let own = Setting::new("trust-domain", env::TRUST_DOMAIN, pod.trust_domain.as_ref());
        let own = self.given(own).and_then(|(_, name)| name.parse().ok());
        Tls {
            folder: PathBuf::from(folder.map_or(paths::CERTS_DIR, |(_, folder)| folder)),
            is_required: folder.is_some(),
            settings: Settings {
                trust_domains: own.into_iter().collect(),
                oldest: oldest.unwrap_or_default(),
                key_exchange: policy.unwrap_or_default(),
                ..Settings::default()
            },
        }
    }
}
