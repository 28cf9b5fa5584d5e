//! Which service accounts lack a good Secret, and which is to be written next.
//!
//! Fed by the part with what the watches see and how writes end, asked by it for the next write. Pure: both clocks come in as arguments. Nothing is due before both
//! lists are whole and it is known what signs.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use contract::control_plane::WITHOUT_ROOT_CERT;
use kube::runtime::watcher::Event;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::secret::{Account, Held};
use crate::cluster::{
    listed::{Listed, Touched, map},
    pace::{Pace, Tempo},
};

/// How fast one Secret may be written, whatever comes of a write.
const TEMPO: Tempo = Tempo {
    shortest: Duration::from_secs(1),
    longest: Duration::from_secs(120),
};

/// What every certificate has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// First part of its identity.
    pub(super) trust_domain: String,
    /// The roots beside it.
    pub(super) roots: u64,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write the Secret of this account.
    Write(Account),
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing until something changes.
    Nothing,
}

/// The state of all accounts, each known by `NAMESPACE/NAME`.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    demand: Option<Demand>,
    accounts: Listed<Account>,
    held: Listed<Held>,
    due: BTreeSet<Box<str>>,
    busy: HashSet<Box<str>>,
    paces: HashMap<Box<str>, Pace>,
    failing: HashSet<Box<str>>,
    /// Accounts whose Secret is somebody else's.
    foreign: HashSet<Box<str>>,
}

// === impl Demand ===

impl Demand {
    /// The identity of an account.
    pub(super) fn id(&self, account: &Account) -> String {
        let Self { trust_domain, .. } = self;
        let Account {
            namespace, name, ..
        } = account;
        format!("spiffe://{trust_domain}/ns/{namespace}/sa/{name}")
    }
}

// === impl Ledger ===

impl Ledger {
    /// Certificates are to be like this from `now` on.
    pub(super) fn demand(&mut self, demand: Demand, now: OffsetDateTime) {
        if self.demand.as_ref() != Some(&demand) {
            self.demand = Some(demand);
            self.look(now);
        }
    }

    /// What is demanded.
    pub(super) fn demanded(&self) -> Option<&Demand> {
        self.demand.as_ref()
    }

    /// Time has passed: more may be due.
    pub(super) fn look(&mut self, now: OffsetDateTime) {
        let names = self.accounts.known.keys().cloned().collect::<Vec<_>>();
        let known = &self.accounts.known;
        self.due.retain(|name| known.contains_key(name));
        self.failing.retain(|name| known.contains_key(name));
        self.foreign.retain(|name| known.contains_key(name));
        for name in names {
            self.review(&name, now);
        }
    }

    /// An account came, changed or went.
    pub(super) fn accounts(&mut self, event: Event<Account>, now: OffsetDateTime) {
        let touched = self
            .accounts
            .observe(map(event, |account| (account.key(), account)));
        self.touch(touched, now);
    }

    /// A Secret of ours came, changed or went.
    pub(super) fn secrets(&mut self, event: Event<(Box<str>, Held)>, now: OffsetDateTime) {
        let touched = self.held.observe(event);
        self.touch(touched, now);
    }

    /// The next write, which counts as begun.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let mut wait: Option<Instant> = None;
        let mut ready = None;
        for name in &self.due {
            match self.paces.get(name).and_then(|pace| pace.not_before(now)) {
                Some(until) => wait = Some(wait.map_or(until, |wait| wait.min(until))),
                None => {
                    ready = self.accounts.known.get(name).cloned();
                    break;
                }
            }
        }
        match (ready, wait) {
            (Some(account), _) => {
                let key = account.key();
                self.due.remove(&key);
                self.busy.insert(key);
                Next::Write(account)
            }
            (None, Some(until)) => Next::Wait(until),
            (None, None) => {
                self.paces.retain(|_, pace| !pace.is_forgotten(now));
                Next::Nothing
            }
        }
    }

    /// The account has this now. The watch will say the same, but maybe after the next question.
    pub(super) fn written(&mut self, key: &str, held: Held, clocks: (Instant, OffsetDateTime)) {
        self.held.known.insert(key.into(), held);
        self.failing.remove(key);
        self.foreign.remove(key);
        self.end(key, Some(clocks.0), clocks.1);
    }

    /// Its Secret is somebody else's. Says whether that is new.
    pub(super) fn foreign(&mut self, key: &str, clocks: (Instant, OffsetDateTime)) -> bool {
        self.failing.remove(key);
        self.end(key, Some(clocks.0), clocks.1);
        self.foreign.insert(key.into())
    }

    /// It did not work, and may not for a while.
    pub(super) fn failed(&mut self, key: &str, clocks: (Instant, OffsetDateTime)) {
        self.failing.insert(key.into());
        self.end(key, Some(clocks.0), clocks.1);
    }

    /// Somebody was faster, or what is written about is going: the watches will tell, and until then it is not tried again at once.
    pub(super) fn again(&mut self, key: &str, clocks: (Instant, OffsetDateTime)) {
        self.failing.remove(key);
        self.end(key, Some(clocks.0), clocks.1);
    }

    /// It could not even be tried.
    pub(super) fn untried(&mut self, key: &str, now: OffsetDateTime) {
        self.end(key, None, now);
    }

    /// Secrets that are to be written, those that are being written included.
    pub(super) fn n_pending(&self) -> usize {
        self.due.len() + self.busy.len()
    }

    /// Accounts whose last write failed.
    pub(super) fn n_failing(&self) -> usize {
        self.failing.len()
    }

    fn end(&mut self, key: &str, paced: Option<Instant>, now: OffsetDateTime) {
        self.busy.remove(key);
        if let Some(instant) = paced {
            let pace = self.paces.entry(key.into());
            pace.or_insert_with(|| Pace::new(&TEMPO)).attempted(instant);
        }
        self.review(key, now);
    }

    fn touch(&mut self, touched: Touched, now: OffsetDateTime) {
        match touched {
            Touched::Nothing => {}
            Touched::One(name) => self.review(&name, now),
            Touched::All => self.look(now),
        }
    }

    fn review(&mut self, key: &str, now: OffsetDateTime) {
        if self.lacks(key, now) && !self.busy.contains(key) {
            self.due.insert(key.into());
        } else {
            self.due.remove(key);
        }
        if !self.accounts.known.contains_key(key) {
            self.failing.remove(key);
            self.foreign.remove(key);
        }
    }

    fn lacks(&self, key: &str, now: OffsetDateTime) -> bool {
        let (Some(demand), Some(account)) = (&self.demand, self.accounts.known.get(key)) else {
            return false;
        };
        let is_open = !WITHOUT_ROOT_CERT.contains(&&*account.namespace);
        if !is_open || account.secret().is_none() || !self.accounts.whole || !self.held.whole {
            return false;
        }
        self.held.known.get(key).is_none_or(|held| {
            held.owner != account.uid
                || held.roots != demand.roots
                || *held.id != *demand.id(account)
                || now >= held.renew_at
        })
    }
}

#[cfg(test)]
mod tests {
    use ::time::Duration as Span;

    use super::*;

    const ROOTS: u64 = 7;

    fn wall() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    fn account(namespace: &str, name: &str) -> Account {
        Account {
            namespace: namespace.into(),
            name: name.into(),
            uid: format!("uid-of-{name}").into(),
        }
    }

    fn demand(trust_domain: &str, roots: u64) -> Demand {
        Demand {
            trust_domain: trust_domain.to_owned(),
            roots,
        }
    }

    /// What a good Secret of an account holds.
    fn good(account: &Account) -> (Box<str>, Held) {
        let held = Held {
            owner: account.uid.clone(),
            id: demand("cluster.local", ROOTS).id(account).into(),
            roots: ROOTS,
            renew_at: wall() + Span::HOUR,
        };
        (account.key(), held)
    }

    /// A ledger that has listed these.
    fn ledger(accounts: &[Account], secrets: &[(Box<str>, Held)]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.demand(demand("cluster.local", ROOTS), wall());
        for account in accounts {
            ledger.accounts(Event::InitApply(account.clone()), wall());
        }
        ledger.accounts(Event::InitDone, wall());
        for secret in secrets {
            ledger.secrets(Event::InitApply(secret.clone()), wall());
        }
        ledger.secrets(Event::InitDone, wall());
        ledger
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_without_a_secret_gets_one_and_one_with_a_good_one_does_not() {
        let (web, api) = (account("shop", "web"), account("shop", "api"));
        let nobody = account("kube-public", "default");
        let endless = account("shop", &"x".repeat(250));
        let all = [web.clone(), api.clone(), nobody, endless];
        let mut ledger = ledger(&all, &[good(&api)]);
        let now = Instant::now();
        assert_eq!(ledger.next(now), Next::Write(web.clone()));
        assert_eq!(ledger.next(now), Next::Nothing);
        assert_eq!(ledger.n_pending(), 1);
        let (key, held) = good(&web);
        ledger.written(&key, held, (now, wall()));
        assert_eq!((ledger.next(now), ledger.n_pending()), (Next::Nothing, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_as_demanded_is_written_again() {
        let web = account("shop", "web");
        let now = Instant::now();
        let changes: [fn(&mut Held); 4] = [
            |held| held.owner = "uid-of-a-former-one".into(),
            |held| held.roots = 8,
            |held| held.id = "spiffe://other/ns/shop/sa/web".into(),
            |held| held.renew_at = wall(),
        ];
        for change in changes {
            let (key, mut held) = good(&web);
            change(&mut held);
            let mut ledger = ledger(std::slice::from_ref(&web), &[(key, held)]);
            assert_eq!(ledger.next(now), Next::Write(web.clone()));
        }
        let mut ledger = ledger(std::slice::from_ref(&web), &[good(&web)]);
        assert_eq!(ledger.next(now), Next::Nothing);
        ledger.look(wall() + Span::HOUR);
        assert_eq!(
            ledger.next(now),
            Next::Write(web.clone()),
            "its time has come"
        );
        let mut ledger = self::ledger(std::slice::from_ref(&web), &[good(&web)]);
        ledger.demand(demand("cluster.local", 9), wall());
        assert_eq!(ledger.next(now), Next::Write(web), "there is another root");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_due_before_both_lists_are_whole_and_it_is_known_what_signs() {
        let web = account("shop", "web");
        let mut ledger = Ledger::default();
        let now = Instant::now();
        ledger.accounts(Event::InitApply(web.clone()), wall());
        ledger.accounts(Event::InitDone, wall());
        assert_eq!(ledger.next(now), Next::Nothing);
        ledger.secrets(Event::InitDone, wall());
        assert_eq!(ledger.next(now), Next::Nothing);
        ledger.demand(demand("cluster.local", ROOTS), wall());
        assert_eq!(ledger.next(now), Next::Write(web));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_somebody_elses_is_told_once_and_looked_at_ever_more_rarely() {
        let web = account("shop", "web");
        let mut ledger = ledger(std::slice::from_ref(&web), &[]);
        let mut now = Instant::now();
        let mut gaps = Vec::new();
        for round in 0..12 {
            assert_eq!(ledger.next(now), Next::Write(web.clone()));
            assert_eq!(ledger.foreign(&web.key(), (now, wall())), round == 0);
            let Next::Wait(until) = ledger.next(now) else {
                panic!("it is to be looked at again");
            };
            gaps.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120, 120]);
    }
}
