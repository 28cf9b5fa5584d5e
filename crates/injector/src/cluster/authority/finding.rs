//! What there is to say about the Secret.
//!
//! Each [`Finding`] is one sentence for the log and, where whoever runs the mesh should know, for an Event.

use contract::control_plane::{CA_SECRET, GIVEN_CA_SECRET};
use identity::validity::Untimely;
use time::Duration;

/// What was found, and with it what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// There was no authority, one was made.
    Generated,
    /// The Secret was deleted while this replica was running.
    Deleted,
    /// The Secret was edited into nonsense while this replica was running.
    Unreadable(String),
    /// The Secret was nonsense when this replica started.
    Refused(String),
    /// The Secret holds another authority than before.
    Replaced,
    /// The root is near its end or beyond.
    RootRenewed,
    /// The roots were edited into nonsense.
    Roots(String),
    /// The serving pair cannot be used.
    PairBroken(String),
    /// The serving pair is at half life.
    Renewed,
    /// The serving pair lacks a name.
    NameMissing(String),
    /// The serving pair's time has not come: the clock of another replica, or this one's, is wrong.
    PairFromTheFuture(Untimely),
    /// The root's time has not come: this clock is wrong.
    Clock(Untimely),
    /// Another authority is to sign after this time.
    RootAnnounced(Duration),
    /// It signs, and the roots of the former one are trusted for this time.
    RootSwitched(Duration),
    /// The roots of the former one are trusted no longer.
    RootRetired,
    /// The user's authority was unusable when there was no other.
    GivenRefused(String),
    /// The user's authority is unusable and another one signs.
    GivenUnusable(String),
}

// === impl Finding ===

impl Finding {
    /// A word for it, the reason of an Event.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Generated => "AuthorityCreated",
            Self::Deleted => "AuthoritySecretDeleted",
            Self::Unreadable(_) => "AuthoritySecretRestored",
            Self::Refused(_) => "AuthoritySecretUnreadable",
            Self::Replaced => "AuthorityReplaced",
            Self::RootRenewed => "RootRenewed",
            Self::Roots(_) => "TrustBundleRepaired",
            Self::PairBroken(_) => "ServingCertificateRepaired",
            Self::Renewed | Self::NameMissing(_) => "ServingCertificateRenewed",
            Self::PairFromTheFuture(_) | Self::Clock(_) => "ClockWrong",
            Self::RootAnnounced(_) => "RootAnnounced",
            Self::RootSwitched(_) => "RootInUse",
            Self::RootRetired => "RootRetired",
            Self::GivenRefused(_) | Self::GivenUnusable(_) => "GivenAuthorityRefused",
        }
    }

    /// Whether somebody or something did what should not be done.
    pub(super) fn is_warning(&self) -> bool {
        match self {
            Self::Generated
            | Self::RootRenewed
            | Self::Renewed
            | Self::NameMissing(_)
            | Self::RootAnnounced(_)
            | Self::RootSwitched(_)
            | Self::RootRetired => false,
            Self::Deleted
            | Self::Unreadable(_)
            | Self::Refused(_)
            | Self::Replaced
            | Self::Roots(_)
            | Self::PairBroken(_)
            | Self::PairFromTheFuture(_)
            | Self::Clock(_)
            | Self::GivenRefused(_)
            | Self::GivenUnusable(_) => true,
        }
    }

    /// The sentence, about the Secret in `namespace`.
    pub(super) fn note(&self, namespace: &str) -> String {
        let secret = format!("Secret {namespace}/{CA_SECRET}");
        match self {
            Self::Generated => format!("made the mesh's certificate authority, kept in {secret}"),
            Self::Deleted => format!("{secret} was deleted, it is created again as it was"),
            Self::Unreadable(why) => {
                format!("{secret} cannot be used and is put back as it was: {why}")
            }
            Self::Refused(why) => format!(
                "{secret} cannot be used and is left as it is, because pods may trust its authority: {why}; \
                 repair it, or give the authority up with `kubectl delete secret -n {namespace} {CA_SECRET}`, \
                 then a new one is made and injected pods have to be restarted"
            ),
            Self::Replaced => format!(
                "{secret} holds another authority than before, which is in use now; \
                 pods that trust the former one only have to be restarted"
            ),
            Self::RootRenewed => {
                format!("the root in {secret} is near its end and is renewed with the same key")
            }
            Self::Roots(why) => format!("the trust bundle in {secret} is put right: {why}"),
            Self::PairBroken(why) => {
                format!("the webhook's certificate in {secret} is replaced: {why}")
            }
            Self::Renewed => format!("the webhook's certificate in {secret} is renewed"),
            Self::NameMissing(name) => format!(
                "the webhook's certificate in {secret} is issued again, it is not for {name}"
            ),
            Self::PairFromTheFuture(untimely) => format!(
                "the webhook's certificate in {secret} is replaced, a clock is wrong, here or where it was made: {untimely}"
            ),
            Self::Clock(untimely) => {
                format!("the authority in {secret} is left as it is: its root is {untimely}")
            }
            Self::RootAnnounced(after) => format!(
                "a new root is in the trust bundle; {} minutes from now, when every pod has it, certificates are signed by it",
                after.whole_minutes()
            ),
            Self::RootSwitched(for_as_long) => format!(
                "certificates are signed by the new authority, {secret} holds it; the former root stays in the trust bundle for {} minutes",
                for_as_long.whole_minutes()
            ),
            Self::RootRetired => {
                "the former root has left the trust bundle, no certificate by it is valid any more"
                    .to_owned()
            }
            Self::GivenRefused(why) => format!(
                "Secret {namespace}/{GIVEN_CA_SECRET} cannot be used and there is no other authority: {why}; \
                 correct it, or delete it, then the mesh gets an authority of its own"
            ),
            Self::GivenUnusable(why) => format!(
                "Secret {namespace}/{GIVEN_CA_SECRET} cannot be used, the authority in {secret} goes on signing: {why}"
            ),
        }
    }
}
