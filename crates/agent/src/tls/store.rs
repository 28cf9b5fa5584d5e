//! Where the current credentials are.
//!
//! The housekeeping thread puts new ones there as a whole, workers take the current ones for each connection. Reading takes no lock and
//! waits for nobody; connections that were secured by earlier credentials go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::{ArcSwapOption, Guard};
use identity::Validity;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use time::OffsetDateTime;

use super::Credentials;

/// The current credentials, or none; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Shared>);

/// Why the last contents of the files are not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it was noticed.
    pub at: SystemTime,
    /// What is wrong, with the file at fault.
    pub reason: String,
}

#[derive(Debug, Default)]
struct Shared {
    credentials: ArcSwapOption<Credentials>,
    refusal: ArcSwapOption<Refusal>,
    generation: AtomicU64,
    is_awaited: AtomicBool,
}

// === impl Store ===

impl Store {
    /// The credentials at this moment, to keep: for as long as a handshake takes, for example.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Credentials>> {
        self.0.credentials.load_full()
    }

    /// The credentials at this moment, to look at; cheaper than [`Self::current`], and to be let go soon.
    #[must_use]
    pub fn load(&self) -> Guard<Option<Arc<Credentials>>> {
        self.0.credentials.load()
    }

    /// Why the files as they are now are not in use; nothing if they are.
    #[must_use]
    pub fn refusal(&self) -> Option<Arc<Refusal>> {
        self.0.refusal.load_full()
    }

    /// Somebody is going to bring credentials: until they are there, what should be secured fails rather than goes in plain text.
    pub fn await_credentials(&self) {
        self.0.is_awaited.store(true, Ordering::Relaxed);
    }

    /// Whether mutual TLS is spoken, by credentials that are there or to come.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.0.is_awaited.load(Ordering::Relaxed) || self.0.credentials.load().is_some()
    }

    /// A number that no credentials have had yet.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        self.0.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Puts `credentials` in place of the current ones.
    pub fn replace(&self, credentials: Credentials) {
        self.0.credentials.store(Some(Arc::new(credentials)));
        self.0.refusal.store(None);
    }

    /// Notes that the current credentials stay for want of better ones.
    pub fn refuse(&self, refusal: Refusal) {
        self.0.refusal.store(Some(Arc::new(refusal)));
    }
}

/// How long certificates have to live, by the names of Istio's agent (`security/pkg/nodeagent/cache`).
impl Collector for Store {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(credentials) = self.current() else {
            return Ok(());
        };
        let now = OffsetDateTime::now_utc();
        let left = |validity: Validity| (validity.not_after - now).as_seconds_f64();
        let mut family = encoder.encode_descriptor(
            "istio_agent_cert_expiry_seconds",
            "Seconds until the certificate, or the first of the roots, expires; negative once it has",
            None,
            MetricType::Gauge,
        )?;
        let roots = credentials.roots().certificates();
        let first_root = roots
            .map(|(_, validity)| left(validity))
            .fold(f64::INFINITY, f64::min);
        for (name, seconds) in [
            ("default", left(credentials.validity())),
            ("ROOTCA", first_root),
        ] {
            let gauge = ConstGauge::new(seconds);
            let labels = [("resource_name", name)];
            gauge.encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "minimesh_agent_certificate_not_after_seconds",
            "Who we are to others, and the end of that certificate's time in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        // Exact up to 2^53.
        let end = ConstGauge::new(credentials.validity().not_after.unix_timestamp() as f64);
        let labels = [
            ("identity", credentials.id().as_str()),
            ("serial", credentials.serial()),
        ];
        end.encode(family.encode_family(&labels)?)?;
        Ok(())
    }
}
