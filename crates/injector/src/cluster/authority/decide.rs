//! What to do about the Secret, decided from what it holds, what this replica remembers, and the time.
//!
//! [`decide`] is asked at every change and every few seconds, and is the same in every replica; [`Plan::carry_out`] makes the keys and
//! certificates that it calls for. An authority that pods may trust is never thrown away: what cannot be read is replaced from memory
//! or not at all.

use identity::{
    Authority, BundleError, DnsName, IssueError, ServerPair, TrustBundle, VerifyError,
    validity::Untimely,
};
use runtime::error::chain;
use time::OffsetDateTime;

use super::{
    finding::Finding,
    rotation::{Origin, Rotation},
    secret::{Held, State, Stored},
};

/// The most names of one certificate: beyond that the names of others are no longer kept.
const MAX_NAMES: usize = 64;

/// What a decision rests on.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// What the Secret holds.
    pub(super) stored: &'a Stored,
    /// What this replica serves.
    pub(super) memory: Option<&'a State>,
    /// The authority that the user has given.
    pub(super) given: Option<&'a Authority>,
    /// The names that the webhook is called by.
    pub(super) names: &'a [DnsName<'static>],
    /// The clock on the wall.
    pub(super) now: OffsetDateTime,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// Make it so.
    Keep(Plan<'a>),
    /// Change nothing, neither in the Secret nor in what is served.
    Hold(Finding),
    /// There is nothing that could be served, and a person has to say what becomes of the Secret.
    Refuse(Finding),
}

/// How to come by the state to serve and to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan<'a> {
    /// The authority.
    pub(super) authority: Source<'a>,
    /// Roots that are trusted so far.
    pub(super) roots: Option<&'a TrustBundle>,
    /// What the webhook serves.
    pub(super) pair: PairSource<'a>,
    /// How far a rotation has come.
    pub(super) rotation: &'a Rotation,
    /// What there is to say about it.
    pub(super) findings: Vec<Finding>,
}

/// That of a mesh whose authority has never changed.
static NO_ROTATION: Rotation = rotation_of(Origin::Own);
/// That of a mesh whose authority is the user's from the beginning.
static GIVEN: Rotation = rotation_of(Origin::Given);

const fn rotation_of(origin: Origin) -> Rotation {
    Rotation {
        origin,
        announced: None,
        switched: None,
        retiring: None,
        next: None,
        is_requested: false,
    }
}

/// Where the authority is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// It is made.
    Generated,
    /// It is there.
    Kept(&'a Authority),
    /// It is there and gets a new certificate for its key.
    Renewed(&'a Authority),
}

/// Where the serving pair is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairSource<'a> {
    /// It is there.
    Kept(&'a ServerPair),
    /// It is issued for the names of this replica, and for these, which another revision may need.
    Issued(&'a [DnsName<'static>]),
}

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// The authority could not be made or renewed.
    #[error("the authority's certificate cannot be made")]
    Authority(#[source] IssueError),
    /// The bundle cannot take the root.
    #[error("the trust bundle cannot take the root")]
    Roots(#[source] BundleError),
    /// The pair could not be issued.
    #[error("the webhook's certificate cannot be issued")]
    Pair(#[source] IssueError),
}

/// Why a pair is not to be served any longer.
enum Fault {
    Untimely(Untimely),
    HalfLife,
    Name(String),
    Unverified(VerifyError),
}

/// Decides what to do.
pub(super) fn decide<'a>(known: &Known<'a>) -> Verdict<'a> {
    match (known.stored, known.memory) {
        (Stored::Absent, None) => Verdict::Keep(match known.given {
            Some(given) => Plan {
                authority: Source::Kept(given),
                roots: None,
                pair: PairSource::Issued(&[]),
                rotation: &GIVEN,
                findings: Vec::new(),
            },
            None => Plan {
                authority: Source::Generated,
                roots: None,
                pair: PairSource::Issued(&[]),
                rotation: &NO_ROTATION,
                findings: vec![Finding::Generated],
            },
        }),
        (Stored::Absent, Some(memory)) => from_memory(known, memory, Finding::Deleted),
        (Stored::Unreadable(error), Some(memory)) => {
            from_memory(known, memory, Finding::Unreadable(chain(error).to_string()))
        }
        (Stored::Unreadable(error), None) => {
            Verdict::Refuse(Finding::Refused(chain(error).to_string()))
        }
        (Stored::Held(held), memory) => from_secret(known, held, memory),
    }
}

fn from_memory<'a>(known: &Known<'a>, memory: &'a State, why: Finding) -> Verdict<'a> {
    if let Some(finding) = too_early(&memory.authority, known.now) {
        return Verdict::Hold(finding);
    }
    let mut findings = vec![why];
    let authority = if is_due(&memory.authority, &memory.rotation, known.now) {
        findings.push(Finding::RootRenewed);
        Source::Renewed(&memory.authority)
    } else {
        Source::Kept(&memory.authority)
    };
    let pair = match check(known, &memory.authority, &memory.pair) {
        Ok(()) => PairSource::Kept(&memory.pair),
        Err(fault) => {
            findings.push(fault.into());
            PairSource::Issued(&[])
        }
    };
    Verdict::Keep(Plan {
        authority,
        roots: Some(&memory.roots),
        pair,
        rotation: &memory.rotation,
        findings,
    })
}

fn from_secret<'a>(known: &Known<'a>, held: &'a Held, memory: Option<&'a State>) -> Verdict<'a> {
    if let Some(finding) = too_early(&held.authority, known.now) {
        return Verdict::Hold(finding);
    }
    let mut findings = Vec::new();
    let related = memory.filter(|memory| memory.authority.continues(&held.authority));
    if memory.is_some_and(|memory| !is_orderly(held, memory)) && related.is_none() {
        findings.push(Finding::Replaced);
    }
    // A renewal that could not be written yet is written, not repeated.
    let renewed = related.filter(|memory| !is_due(&memory.authority, &memory.rotation, known.now));
    let (authority, issuer) = match renewed {
        _ if !is_due(&held.authority, &held.rotation, known.now) => {
            (Source::Kept(&held.authority), &held.authority)
        }
        Some(memory) => (Source::Kept(&memory.authority), &memory.authority),
        None => (Source::Renewed(&held.authority), &held.authority),
    };
    if authority != Source::Kept(&held.authority) {
        findings.push(Finding::RootRenewed);
    }
    if let Err(error) = &held.roots {
        findings.push(Finding::Roots(chain(error).to_string()));
    }
    let (pair, finding) = choose_pair(known, issuer, held, related);
    findings.extend(finding);
    Verdict::Keep(Plan {
        authority,
        roots: held.roots.as_ref().ok(),
        pair,
        rotation: &held.rotation,
        findings,
    })
}

/// The Secret's pair if it is good, else one that is remembered and could not be written yet, else a new one.
fn choose_pair<'a>(
    known: &Known<'a>,
    issuer: &Authority,
    held: &'a Held,
    memory: Option<&'a State>,
) -> (PairSource<'a>, Option<Finding>) {
    let (others, finding) = match &held.pair {
        Err(error) => (&[][..], Finding::PairBroken(chain(error).to_string())),
        Ok(pair) => match check(known, issuer, pair) {
            Ok(()) => return (PairSource::Kept(pair), None),
            Err(fault @ Fault::Name(_)) => (pair.names(), fault.into()),
            Err(fault) => (&[][..], fault.into()),
        },
    };
    let remembered = memory
        .map(|memory| &memory.pair)
        .filter(|pair| check(known, issuer, pair).is_ok());
    let source = remembered.map_or(PairSource::Issued(others), PairSource::Kept);
    (source, Some(finding))
}

/// Whether a pair is good: now, for some time to come, and for every name.
fn check(known: &Known<'_>, issuer: &Authority, pair: &ServerPair) -> Result<(), Fault> {
    pair.validity().check(known.now).map_err(Fault::Untimely)?;
    if known.now >= pair.validity().half_life() {
        return Err(Fault::HalfLife);
    }
    for name in known.names {
        pair.verify(issuer.roots(), name, known.now)
            .map_err(|error| match error {
                VerifyError::Name { name, .. } => Fault::Name(name),
                error => Fault::Unverified(error),
            })?;
    }
    Ok(())
}

/// What the user has given is his to renew.
fn is_due(authority: &Authority, rotation: &Rotation, now: OffsetDateTime) -> bool {
    rotation.origin == Origin::Own && now >= authority.renew_at()
}

/// Whether another replica has led the mesh to another authority, so that the former one is still trusted.
fn is_orderly(held: &Held, memory: &State) -> bool {
    let roots = held.roots.as_ref();
    roots.is_ok_and(|roots| roots.holds(memory.authority.roots()))
}

/// A root whose time has not come says that this clock is wrong, and nothing good comes of signing by a wrong clock.
fn too_early(authority: &Authority, now: OffsetDateTime) -> Option<Finding> {
    match authority.validity().check(now) {
        Err(untimely @ Untimely::NotYet { .. }) => Some(Finding::Clock(untimely)),
        Err(Untimely::Over { .. }) | Ok(()) => None,
    }
}

// === impl Plan ===

impl Plan<'_> {
    /// Makes what is to be made.
    ///
    /// # Errors
    /// When a key or a certificate cannot be made; nothing is left of the attempt.
    pub(super) fn carry_out(
        &self,
        names: &[DnsName<'static>],
        trust_domain: &str,
        now: OffsetDateTime,
    ) -> Result<State, PlanError> {
        let authority = match self.authority {
            Source::Generated => {
                Authority::generate(trust_domain, now).map_err(PlanError::Authority)?
            }
            Source::Kept(authority) => authority.clone(),
            Source::Renewed(authority) => authority.renew(now).map_err(PlanError::Authority)?,
        };
        let roots = match self.roots {
            Some(roots) if roots.holds(authority.roots()) => roots.clone(),
            Some(roots) => roots.led_by(&authority).map_err(PlanError::Roots)?,
            None => authority.roots().clone(),
        };
        let pair = match self.pair {
            PairSource::Kept(pair) => pair.clone(),
            PairSource::Issued(others) => {
                let mut names = names.to_vec();
                let others = others.iter().filter(|other| !names.contains(other));
                let others = others.cloned().collect::<Vec<_>>();
                if names.len() + others.len() <= MAX_NAMES {
                    names.extend(others);
                }
                authority
                    .issue_server(&names, now)
                    .map_err(PlanError::Pair)?
            }
        };
        Ok(State {
            authority,
            roots,
            pair,
            rotation: self.rotation.clone(),
        })
    }
}

// === impl Fault ===

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::HalfLife | Fault::Untimely(Untimely::Over { .. }) => Self::Renewed,
            Fault::Untimely(untimely @ Untimely::NotYet { .. }) => {
                Self::PairFromTheFuture(untimely)
            }
            Fault::Name(name) => Self::NameMissing(name),
            Fault::Unverified(error) => Self::PairBroken(chain(&error).to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
