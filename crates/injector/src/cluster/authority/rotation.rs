//! From one authority to another, so that nobody is ever shown a certificate that he cannot verify.
//!
//! The keeper asks [`advance`] after every decision. What is to come is announced first: its roots join the bundle, and for a while nothing
//! else changes, until the bundle has reached every sidecar. Then it signs, and the roots of its predecessor stay until the last
//! certificate by it has ended. How far a rotation has come is written in the Secret, so that every replica, and one that starts in the
//! middle of it, goes on from there.
//!
//! ```text
//!            announced            switched                  retired
//! signs:  old │ old                  │ new                     │ new
//! bundle: old │ old, new             │ new, old                │ new
//!             └── announcement ──────┘└── retirement ──────────┘
//! ```

use contract::control_plane::{
    CA_ROOTS_KEY, NEXT_CERT_KEY, NEXT_PRIVATE_KEY, RETIRING_KEY, ROOT_ANNOUNCED, ROOT_SWITCHED,
    ROTATE_ROOT,
};
use identity::{Authority, TrustBundle, validity::Stamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{decide::PlanError, finding::Finding, secret::State};

/// A moment that lies further ahead than this was noted by a clock that was wrong.
const SKEW: Duration = Duration::minutes(5);

/// How far a rotation has come, and whose the authority is that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Who made the authority that signs.
    pub(super) origin: Origin,
    /// Since when the bundle holds the roots of what comes next.
    pub(super) announced: Option<OffsetDateTime>,
    /// Since when the authority signs, if its predecessor is still trusted.
    pub(super) switched: Option<OffsetDateTime>,
    /// The roots that leave the bundle when they are not needed any more.
    pub(super) retiring: Option<TrustBundle>,
    /// An authority of our own that comes next.
    pub(super) next: Option<Authority>,
    /// Somebody asks for a new root.
    pub(super) is_requested: bool,
}

/// Who made an authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// This program, which renews it.
    #[default]
    Own,
    /// The user, by Secret `cacerts`.
    Given,
}

/// How long the parts of a rotation take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// From the announcement of a root until something is signed by it: what a ConfigMap takes to reach the files of every pod.
    pub announcement: Duration,
    /// How long a root stays after the last certificate by it: as long as the longest of these lives.
    pub retirement: Duration,
}

/// Does what is due at `now`, on the way to `given` if the user has given an authority.
///
/// # Errors
/// When a certificate cannot be made.
pub(super) fn advance(
    mut state: State,
    given: Option<&Authority>,
    trust_domain: &str,
    periods: Periods,
    now: OffsetDateTime,
) -> Result<(State, Vec<Finding>), PlanError> {
    let mut findings = Vec::new();
    // As the Secret notes it.
    let now = now.replace_nanosecond(0).unwrap_or(now);
    state.rotation.sanitize(now);
    if state.rotation.is_requested {
        state.rotation.is_requested = false;
        if given.is_none() && state.rotation.next.is_none() {
            let next = Authority::generate(trust_domain, now).map_err(PlanError::Authority)?;
            state.rotation.next = Some(next);
        }
    }
    let (next, origin) = match given {
        Some(given) => (Some(given.clone()), Origin::Given),
        None => (state.rotation.next.clone(), Origin::Own),
    };
    match next {
        Some(next) if next != state.authority => {
            findings.extend(approach(&mut state, &next, origin, periods, now)?);
        }
        Some(_) | None => withdraw(&mut state, given, periods, now),
    }
    findings.extend(retire(&mut state, periods, now)?);
    Ok((state, findings))
}

/// Announces `next`, or lets it sign if it has been announced for long enough or was trusted before.
fn approach(
    state: &mut State,
    next: &Authority,
    origin: Origin,
    periods: Periods,
    now: OffsetDateTime,
) -> Result<Option<Finding>, PlanError> {
    if !state.roots.holds(next.roots()) {
        state.roots = state.roots.and(next.roots()).map_err(PlanError::Roots)?;
        state.rotation.announced = Some(now);
        return Ok(Some(Finding::RootAnnounced(periods.announcement)));
    }
    let due = state
        .rotation
        .announced
        .is_none_or(|announced| now >= announced.saturating_add(periods.announcement));
    if !due {
        return Ok(None);
    }
    let names = state.pair.names();
    let pair = next.issue_server(names, now).map_err(PlanError::Pair)?;
    let former = state.authority.roots().clone();
    let rotation = &mut state.rotation;
    rotation.announced = None;
    rotation.origin = origin;
    if origin == Origin::Own {
        rotation.next = None;
    }
    rotation.switched = Some(now);
    rotation.retiring = Some(match &rotation.retiring {
        Some(retiring) => retiring.and(&former).map_err(PlanError::Roots)?,
        None => former,
    });
    state.roots = next.roots().and(&state.roots).map_err(PlanError::Roots)?;
    state.authority = next.clone();
    state.pair = pair;
    Ok(Some(Finding::RootSwitched(periods.retirement)))
}

/// Nothing is to come, or not any more: what was announced for nothing leaves with the rest.
fn withdraw(state: &mut State, given: Option<&Authority>, periods: Periods, now: OffsetDateTime) {
    let rotation = &mut state.rotation;
    if given.is_some() {
        rotation.origin = Origin::Given;
        rotation.next = None;
    }
    // Whoever changes his mind again finds how long it has been in the bundle.
    let is_known =
        |announced: OffsetDateTime| now >= announced.saturating_add(periods.announcement);
    if rotation.announced.is_some_and(is_known) {
        rotation.announced = None;
        rotation.switched = Some(now);
        // All but those of the authority that signs; only those stay when it is time.
        rotation.retiring = Some(state.roots.clone());
    }
}

fn retire(
    state: &mut State,
    periods: Periods,
    now: OffsetDateTime,
) -> Result<Option<Finding>, PlanError> {
    let rotation = &mut state.rotation;
    let Some(switched) = rotation.switched else {
        return Ok(None);
    };
    // What is announced must not leave with what retires.
    if rotation.announced.is_some() || now < switched.saturating_add(periods.retirement) {
        return Ok(None);
    }
    rotation.switched = None;
    let Some(retiring) = rotation.retiring.take() else {
        return Ok(None);
    };
    let kept = state.roots.without(&retiring, state.authority.roots());
    state.roots = kept.map_err(PlanError::Roots)?;
    Ok(Some(Finding::RootRetired))
}

// === impl Rotation ===

impl Rotation {
    /// What a Secret says of it; a part that cannot be read is not there.
    pub(super) fn read(secret: &Secret) -> Self {
        let text = |key| Some(secret.data.as_ref()?.get(key)?.0.as_slice());
        let annotation = |key| secret.metadata.annotations.as_ref()?.get(key);
        let moment = |key| OffsetDateTime::parse(annotation(key)?, &Rfc3339).ok();
        let next = text(NEXT_CERT_KEY).zip(text(NEXT_PRIVATE_KEY));
        Self {
            origin: match text(CA_ROOTS_KEY) {
                Some(_) => Origin::Given,
                None => Origin::Own,
            },
            announced: moment(ROOT_ANNOUNCED),
            switched: moment(ROOT_SWITCHED),
            retiring: text(RETIRING_KEY).and_then(|pem| TrustBundle::from_pem(pem).ok()),
            next: next.and_then(|(pem, key)| Authority::from_pem(pem, key).ok()),
            is_requested: annotation(ROTATE_ROOT).is_some(),
        }
    }

    /// Every key that a rotation may have, and what it is to hold.
    pub(super) fn data(&self) -> [(&'static str, Option<String>); 3] {
        let next = self.next.as_ref();
        let retiring = self.retiring.as_ref();
        [
            (
                NEXT_CERT_KEY,
                next.map(|next| next.certificate_pem().to_owned()),
            ),
            (NEXT_PRIVATE_KEY, next.map(|next| next.key_pem().to_owned())),
            (RETIRING_KEY, retiring.map(|roots| roots.pem().to_owned())),
        ]
    }

    /// Notes in an object's annotations how far it has come.
    pub(super) fn annotate(&self, metadata: &mut ObjectMeta) {
        let mut annotations = metadata.annotations.take().unwrap_or_default();
        for (key, moment) in [
            (ROOT_ANNOUNCED, self.announced),
            (ROOT_SWITCHED, self.switched),
        ] {
            match moment {
                Some(moment) => annotations.insert(key.to_owned(), Stamp(moment).to_string()),
                None => annotations.remove(key),
            };
        }
        if !self.is_requested {
            annotations.remove(ROTATE_ROOT);
        }
        metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    }

    fn sanitize(&mut self, now: OffsetDateTime) {
        let latest = now.saturating_add(SKEW);
        for moment in [&mut self.announced, &mut self.switched] {
            *moment = moment.map(|moment| if moment > latest { now } else { moment });
        }
    }
}

#[cfg(test)]
mod tests;
