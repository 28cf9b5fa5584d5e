//! The lists of revoked certificates that the user brings: key `ca-crl.pem` of Secret `cacerts`.
//!
//! The keeper shows each Secret that it sees to [`Revoked::observe`], and at every step what signs and what is trusted to [`Revoked::review`], which
//! publishes the lists once they are found sound. What is refused leaves the last good lists where they are. A Secret that is gone changes nothing, as with
//! the authority in it; one without the key says that nobody is revoked.

use std::sync::Arc;

use contract::control_plane::{CRL_KEY, GIVEN_CA_SECRET};
use identity::{
    Authority, SpiffeId, TrustBundle, UnfitError,
    crl::{self, Checked},
    validity::Stamp,
};
use k8s_openapi::api::core::v1::Secret;
use runtime::{error::chain, readiness::Detail};
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Metrics;
use crate::cluster::Context;

/// What the user has given, and what is published of it.
pub(super) struct Revoked {
    given: Lists,
    /// What the lists were last found sound with, and until when they count.
    sound: Option<(Basis, OffsetDateTime)>,
    published: watch::Sender<Option<Arc<str>>>,
    /// What was said of trouble with them, for as long as it lasts.
    trouble: Option<String>,
    context: Context,
    detail: Detail,
    metrics: Metrics,
}

/// What signs, and whom the mesh trusts.
#[derive(Clone, Copy)]
pub(super) struct Signers<'a> {
    /// What signs now, and what is to sign next.
    pub(super) authorities: &'a [&'a Authority],
    /// The roots that are trusted.
    pub(super) roots: &'a TrustBundle,
    /// The identity of a certificate that the lists are tried with.
    pub(super) trial: &'a SpiffeId,
}

/// What the Secret holds.
enum Lists {
    /// The API server has not said yet, or there is no Secret.
    Unknown,
    /// None.
    Nothing,
    /// These, as they were written.
    Text(Arc<[u8]>),
}

/// What a verdict rests on.
#[derive(PartialEq, Eq)]
struct Basis {
    text: Arc<[u8]>,
    authorities: Vec<Authority>,
    roots: TrustBundle,
}

#[derive(Debug, thiserror::Error)]
enum RevokedError {
    #[error("the value is not UTF-8")]
    NotText,
    #[error(transparent)]
    Unfit(#[from] UnfitError),
}

// === impl Revoked ===

impl Revoked {
    pub(super) fn new(
        context: &Context,
        metrics: Metrics,
        published: watch::Sender<Option<Arc<str>>>,
    ) -> Self {
        Self {
            given: Lists::Unknown,
            sound: None,
            published,
            trouble: None,
            context: context.clone(),
            detail: context.readiness.detail("given revocation lists"),
            metrics,
        }
    }

    /// Takes note of what Secret `cacerts` holds.
    pub(super) fn observe(&mut self, secret: Option<&Secret>) {
        let Some(secret) = secret else {
            return;
        };
        let value = secret.data.as_ref().and_then(|data| data.get(CRL_KEY));
        let value = value.map(|value| value.0.trim_ascii());
        self.given = match value {
            Some(text) if !text.is_empty() => Lists::Text(text.into()),
            Some(_) | None => Lists::Nothing,
        };
    }

    /// Publishes what was given, if it is sound by the `signers` at `now`.
    pub(super) fn review(&mut self, signers: Signers<'_>, now: OffsetDateTime) {
        let text = match &self.given {
            Lists::Unknown => return,
            Lists::Nothing => {
                self.sound = None;
                self.publish("".into());
                return self.well(None);
            }
            Lists::Text(text) => Arc::clone(text),
        };
        let basis = Basis::of(text, signers);
        let known = self.sound.as_ref().filter(|(sound, _)| *sound == basis);
        if let Some((_, end)) = known {
            let end = *end;
            return self.look_at_the_end(end, now);
        }
        match judge(&basis.text, signers, now) {
            Ok((text, checked)) => {
                self.publish(text.into());
                self.sound = Some((basis, checked.end));
                self.well(Some(checked.end));
            }
            Err(error) => self.trouble("RevocationsRefused", |secret| {
                format!(
                    "the revoked certificates in {secret}, key {CRL_KEY}, are not published, what was published before stays: {}",
                    chain(&error)
                )
            }),
        }
    }

    fn publish(&self, text: Arc<str>) {
        self.published.send_if_modified(|published| {
            let is_new = published.as_ref() != Some(&text);
            if is_new {
                *published = Some(text);
            }
            is_new
        });
    }

    /// Sidecars go on refusing whom outdated lists name, but nobody whom newer ones would.
    fn look_at_the_end(&mut self, end: OffsetDateTime, now: OffsetDateTime) {
        if end > now {
            return self.well(Some(end));
        }
        self.trouble("RevocationsOutdated", |secret| {
            format!(
                "the revoked certificates in {secret}, key {CRL_KEY}, are outdated since {} and stay in force; sign new lists",
                Stamp(end)
            )
        });
    }

    fn trouble(&mut self, reason: &'static str, note: impl FnOnce(String) -> String) {
        let secret = format!("Secret {}/{GIVEN_CA_SECRET}", self.context.namespace);
        let note = note(secret);
        if self.trouble.as_ref() == Some(&note) {
            return;
        }
        warn!(reason, note, "revoked certificates");
        self.metrics.revocations(true);
        self.detail.set(note.clone());
        self.context.events.warn(reason, note.clone());
        self.trouble = Some(note);
    }

    fn well(&mut self, end: Option<OffsetDateTime>) {
        self.metrics.revocations_end(end);
        if self.trouble.take().is_some() {
            let note = "the revoked certificates are in order again";
            info!("{note}");
            self.metrics.revocations(false);
            self.detail.clear();
            self.context.events.info("RevocationsAccepted", note);
        }
    }
}

fn judge<'a>(
    text: &'a [u8],
    signers: Signers<'_>,
    now: OffsetDateTime,
) -> Result<(&'a str, Checked), RevokedError> {
    let Signers {
        authorities,
        roots,
        trial,
    } = signers;
    let pem = std::str::from_utf8(text).map_err(|_| RevokedError::NotText)?;
    let checked = crl::check(text, authorities, roots, trial, now)?;
    Ok((pem, checked))
}

// === impl Basis ===

impl Basis {
    fn of(text: Arc<[u8]>, signers: Signers<'_>) -> Self {
        let authorities = signers.authorities.iter();
        Self {
            text,
            authorities: authorities.map(|authority| (*authority).clone()).collect(),
            roots: signers.roots.clone(),
        }
    }
}
