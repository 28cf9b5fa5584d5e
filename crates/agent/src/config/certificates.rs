//! What certificates are asked for, and where they come from or go to otherwise.
//!
//! Called by [`Config::resolve`](super::Config::resolve). The names are those of Istio's agent, and so are the defaults, but for the kind of key.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use contract::{env, paths};
use identity::SpiffeId;

use super::reader::{Reader, Setting};
use crate::{
    args::{CertificateArgs, ProxyArgs},
    ca::{KeyKind, Ratio, Renewal},
    workload::Workload,
};

/// What is asked of a certificate authority, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// Who we are, as the pod says; nothing if it does not say.
    pub id: Option<SpiffeId>,
    /// Of what kind our keys are.
    pub key: KeyKind,
    /// How long a certificate should live.
    pub lifetime: Duration,
    /// When it is renewed.
    pub renewal: Renewal,
    /// Where it is written to.
    pub output: Option<PathBuf>,
    /// Files are the only source.
    pub files_only: bool,
    /// The socket of the SPIFFE Workload API.
    pub socket: PathBuf,
    /// Whether that has to be there.
    pub socket_is_required: bool,
}

/// Istio's `SECRET_TTL` (`pilot/cmd/pilot-agent/options`).
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn certificates(
        &mut self,
        args: &'a ProxyArgs,
        workload: &Workload,
    ) -> Certificates {
        let given = &args.certificates;
        let lifetime = Setting::new("secret-ttl", "SECRET_TTL", given.secret_ttl.as_ref());
        let lifetime = self.given(lifetime);
        let lifetime = self.duration(lifetime).filter(|time| !time.is_zero());
        let output = Setting::new("output-certs", "OUTPUT_CERTS", given.output_certs.as_ref());
        let output = self.given(output).map(|(_, folder)| PathBuf::from(folder));
        let files_only = self.given(Setting::new(
            "file-mounted-certs",
            "FILE_MOUNTED_CERTS",
            given.file_mounted_certs.as_ref(),
        ));
        let socket = self.given(Setting::new(
            "workload-identity-socket",
            "WORKLOAD_IDENTITY_SOCKET_FILE",
            given.workload_identity_socket.as_ref(),
        ));
        // An absolute path stands for itself.
        let path = socket.map_or(paths::WORKLOAD_SOCKET_FILE, |(_, path)| path);
        let path = Path::new(paths::WORKLOAD_SOCKET_DIR).join(path);
        Certificates {
            id: own_id(workload),
            key: self.key(given),
            lifetime: lifetime.unwrap_or(LIFETIME),
            renewal: self.renewal(given),
            output,
            files_only: self.bool(files_only),
            socket_is_required: socket.is_some_and(|(_, name)| name != paths::WORKLOAD_SOCKET_FILE),
            socket: path,
        }
    }

    /// ECDSA on P-256 unless RSA is asked for: Istio's default, RSA with 2048 bits, costs many times as much in each handshake.
    fn key(&mut self, args: &'a CertificateArgs) -> KeyKind {
        let algorithm = self.given(Setting::new(
            "ecc-signature-algorithm",
            "ECC_SIGNATURE_ALGORITHM",
            args.ecc_signature_algorithm.as_ref(),
        ));
        let algorithm = self.parse(algorithm, "ECDSA, the only one there is", |text| {
            (text == "ECDSA").then_some(())
        });
        let curve = Setting::new("ecc-curve", "ECC_CURVE", args.ecc_curve.as_ref());
        let curve = self.given(curve);
        let curve = self.parse(curve, "P256 or P384", |text| match text {
            "P256" => Some(KeyKind::P256),
            "P384" => Some(KeyKind::P384),
            _ => None,
        });
        let bits = self.given(Setting::new(
            "workload-rsa-key-size",
            "WORKLOAD_RSA_KEY_SIZE",
            args.workload_rsa_key_size.as_ref(),
        ));
        let bits = self.parse(bits, "2048, 3072 or 4096", |text| match text {
            "2048" => Some(KeyKind::Rsa2048),
            "3072" => Some(KeyKind::Rsa3072),
            "4096" => Some(KeyKind::Rsa4096),
            _ => None,
        });
        let rsa = bits.filter(|_| algorithm.is_none() && curve.is_none());
        rsa.or(curve).unwrap_or_default()
    }

    fn renewal(&mut self, args: &'a CertificateArgs) -> Renewal {
        let mut ratio = |flag, env, value: &'a Option<String>| {
            let given = self.given(Setting::new(flag, env, value.as_ref()));
            self.parse(given, "a part between 0 and 1, such as 0.5", |text| {
                Ratio::parse(text)
            })
        };
        let default = Renewal::default();
        Renewal {
            grace: ratio(
                "secret-grace-period-ratio",
                "SECRET_GRACE_PERIOD_RATIO",
                &args.secret_grace_period_ratio,
            )
            .unwrap_or(default.grace),
            jitter: ratio(
                "secret-grace-period-ratio-jitter",
                "SECRET_GRACE_PERIOD_RATIO_JITTER",
                &args.secret_grace_period_ratio_jitter,
            )
            .unwrap_or(default.jitter),
        }
    }

    /// A certificate authority certifies somebody: without the pod's names nobody could say whether the answer is for us.
    pub(super) fn refuse_nobody(&mut self, has_authority: bool, certificates: &Certificates) {
        if has_authority && !certificates.files_only && certificates.id.is_none() {
            self.problems.push(super::problem::Problem::Nobody {
                namespace: env::POD_NAMESPACE,
                service_account: env::SERVICE_ACCOUNT,
            });
        }
    }
}

fn own_id(workload: &Workload) -> Option<SpiffeId> {
    let Workload {
        trust_domain,
        namespace,
        service_account,
        ..
    } = workload;
    if [namespace, service_account]
        .into_iter()
        .any(|name| name == crate::workload::UNKNOWN)
    {
        return None;
    }
    let text = format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}");
    text.parse().ok()
}
