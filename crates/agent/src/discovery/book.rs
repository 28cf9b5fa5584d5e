//! Which addresses are asked about, by whom, and what the answers were.
//!
//! Kept by [`run`](super::run): workers' questions come in, names to subscribe to go to the [`Client`], each response is looked through
//! for answers. An address is settled when the control plane has said that nobody is there, or whoever is there is held together with
//! the services that he is behind. Nothing here knows a connection or a clock.
//!
//! Where the control plane says nothing about an address, it stays open: a resource that had to be refused, or one that went away
//! without a word about its address, must not make the address look like nobody's.

mod index;
mod upkeep;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::Instant,
};

use tokio::sync::oneshot;

use super::client::{Client, Kind, Taken};
use index::{Index, address_of, name_of};

/// Addresses that are asked about, and what is known of them.
#[derive(Debug, Default)]
pub struct Book {
    asked: HashMap<IpAddr, Asked>,
    index: Index,
    /// Services that are subscribed to because a workload that was asked about is behind them.
    parents: BTreeSet<String>,
    /// Those of them that nothing has been said about.
    pending: HashSet<String>,
    is_changed: bool,
}

/// An address that somebody wants to be known.
#[derive(Debug)]
struct Asked {
    answer: Answer,
    waiting: Vec<oneshot::Sender<()>>,
    last_used: Instant,
    /// It stays even if nobody uses it.
    is_pinned: bool,
}

/// What the control plane has said of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing yet, or nothing that could be used.
    Open,
    /// Nobody is there.
    Nobody,
    /// Somebody is there, who is held.
    Somebody,
}

/// Addresses that are asked about at the same time. Each costs some 200 bytes here and a name at the control plane, which takes twice as
/// many names on a stream: there must be room for the services, too.
const MOST_ASKED: usize = 8192;
// === impl Book ===

impl Book {
    /// A book without a page. `network` is the pod's own.
    #[must_use]
    pub fn new(network: &str) -> Self {
        Self {
            index: Index::new(network),
            ..Self::default()
        }
    }

    /// Asks about an address that is to stay known.
    pub fn pin(&mut self, address: IpAddr, client: &mut Client, now: Instant) {
        self.open(address, client, now).is_pinned = true;
    }

    /// Puts back an address that an earlier life has known, with the names of the resources that it led to, which must be back before.
    pub fn restore(
        &mut self,
        address: IpAddr,
        names: &[String],
        client: &mut Client,
        now: Instant,
    ) {
        if self.asked.len() >= MOST_ASKED {
            return;
        }
        for name in names {
            self.index.add(name, address);
        }
        let is_held = self.index.has(address);
        self.open(address, client, now).answer = match (is_held, names.is_empty()) {
            (true, _) => Answer::Somebody,
            (false, true) => Answer::Nobody,
            (false, false) => Answer::Open,
        };
        self.is_changed = true;
        self.follow_parents(client);
    }

    /// Takes a worker's question; false if there is no room for it. `settled` is told by [`Self::release`].
    pub fn ask(
        &mut self,
        address: IpAddr,
        settled: oneshot::Sender<()>,
        client: &mut Client,
        now: Instant,
    ) -> bool {
        if !self.asked.contains_key(&address) && !self.make_room(client, now) {
            return false;
        }
        let is_held = self.index.has(address);
        let asked = self.open(address, client, now);
        asked.last_used = now;
        asked.waiting.retain(|waiting| !waiting.is_closed());
        asked.waiting.push(settled);
        if asked.answer == Answer::Open && is_held {
            asked.answer = Answer::Somebody;
            self.is_changed = true;
            self.follow_parents(client);
        }
        true
    }

    /// These addresses are in use.
    pub fn use_all(&mut self, addresses: &[IpAddr], now: Instant) {
        for address in addresses {
            if let Some(asked) = self.asked.get_mut(address) {
                asked.last_used = now;
            }
        }
    }

    /// Looks a response through for answers.
    pub fn hear(&mut self, taken: &Taken, client: &mut Client) {
        if taken.kind != Kind::Address {
            return;
        }
        let mut gone = Vec::new();
        for (name, aliases) in &taken.used {
            gone.extend(self.note(name, aliases, client));
            self.pending.remove(name);
        }
        for name in &taken.removed {
            gone.extend(self.index.erase(name));
            self.pending.remove(name);
        }
        for name in &taken.removed {
            if let Some(address) = address_of(name) {
                self.answer(address, Answer::Nobody);
            }
        }
        for address in gone {
            self.doubt(address, &taken.removed, client);
        }
        let refused = taken.refused.iter().flat_map(|(_, aliases)| aliases);
        for address in refused.filter_map(|alias| address_of(alias)) {
            // Who is there is not usable, so nobody may pass for being there.
            if self.index.has(address) {
                continue;
            }
            if let Some(asked) = self.asked.get_mut(&address) {
                asked.answer = Answer::Open;
                self.is_changed = true;
            }
        }
        self.follow_parents(client);
    }

    /// Reads what is held already, after a restart.
    pub fn read(&mut self, client: &mut Client) {
        let names: Vec<String> = client
            .resources(Kind::Address)
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in names {
            self.note(&name, &[], client);
        }
        self.follow_parents(client);
    }

    /// Asks anew about what a control plane does not tell of by itself, as istiod does not, without doubting anything meanwhile: who
    /// comes to an address where nobody was, and which pods come to a service.
    pub fn ask_again(&self, client: &mut Client) {
        self.repeat(client, |_| true);
    }

    /// The same, of addresses where nobody was only about those that are to stay known.
    pub fn ask_again_soon(&self, client: &mut Client) {
        self.repeat(client, |asked| asked.is_pinned);
    }

    fn repeat(&self, client: &mut Client, is_urgent: impl Fn(&Asked) -> bool) {
        let addresses = self
            .asked
            .iter()
            .filter(|(address, asked)| match asked.answer {
                Answer::Open => false,
                Answer::Nobody => is_urgent(asked),
                Answer::Somebody => self.index.leads_to_service(**address),
            });
        let addresses = addresses.map(|(address, _)| name_of(*address));
        let services = self.parents.iter().cloned();
        for name in addresses.chain(services) {
            client.unsubscribe(&name);
            client.subscribe(&name);
        }
    }

    /// The addresses that are settled, if they are others than at the last call.
    pub fn settled(&mut self) -> Option<HashSet<IpAddr>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let asked = self.asked.iter();
        let settled = asked.filter(|(address, asked)| self.is_settled(**address, asked));
        Some(settled.map(|(address, _)| *address).collect())
    }

    /// Tells everybody who waits for what is settled; how many found somebody and how many nobody.
    pub fn release(&mut self) -> (u64, u64) {
        let settled: Vec<IpAddr> = self
            .asked
            .iter()
            .filter(|(address, asked)| {
                !asked.waiting.is_empty() && self.is_settled(**address, asked)
            })
            .map(|(address, _)| *address)
            .collect();
        let mut counts = (0, 0);
        for address in settled {
            let Some(asked) = self.asked.get_mut(&address) else {
                continue;
            };
            match asked.answer {
                Answer::Somebody => counts.0 += 1,
                Answer::Nobody | Answer::Open => counts.1 += 1,
            }
            for waiting in asked.waiting.drain(..) {
                // Who has given up hears nothing.
                let _ = waiting.send(());
            }
        }
        counts
    }

    /// Every address that is answered about, with the names of the resources that it leads to.
    pub fn answered(&self) -> impl Iterator<Item = (IpAddr, impl Iterator<Item = &str>)> {
        let answered = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.answer != Answer::Open);
        answered.map(|(address, _)| {
            let names = self.index.names(*address);
            (*address, names)
        })
    }

    /// How many addresses are asked about.
    #[must_use]
    pub fn n_asked(&self) -> usize {
        self.asked.len()
    }

    /// Whether there is an answer for this address.
    #[must_use]
    pub fn is_answered(&self, address: IpAddr) -> bool {
        let asked = self.asked.get(&address);
        asked.is_some_and(|asked| asked.answer != Answer::Open)
    }

    fn is_settled(&self, address: IpAddr, asked: &Asked) -> bool {
        match asked.answer {
            Answer::Open => false,
            Answer::Nobody => true,
            Answer::Somebody => {
                let mut services = self.index.services_at(address);
                !services.any(|service| self.pending.contains(service))
            }
        }
    }

    fn open(&mut self, address: IpAddr, client: &mut Client, now: Instant) -> &mut Asked {
        client.subscribe(&name_of(address));
        self.asked.entry(address).or_insert_with(|| Asked {
            answer: Answer::Open,
            waiting: Vec::new(),
            last_used: now,
            is_pinned: false,
        })
    }

    fn answer(&mut self, address: IpAddr, answer: Answer) {
        if let Some(asked) = self.asked.get_mut(&address)
            && asked.answer != answer
        {
            asked.answer = answer;
            self.is_changed = true;
        }
    }

    /// Notes a resource that is held; the addresses that it had before.
    fn note(&mut self, name: &str, aliases: &[String], client: &Client) -> Vec<IpAddr> {
        let body = client.resource(Kind::Address, name).map(|held| &*held.body);
        let aliases = aliases.iter().filter_map(|alias| address_of(alias));
        let (before, addresses) = self.index.note(name, aliases, body);
        for address in addresses {
            self.answer(address, Answer::Somebody);
        }
        self.is_changed = true;
        before
    }

    /// Somebody who was at `address` is gone: unless another one is there, or the address itself was said to be nobody's, it is
    /// asked about anew.
    fn doubt(&mut self, address: IpAddr, removed: &[String], client: &mut Client) {
        let name = name_of(address);
        if self.index.has(address) || removed.contains(&name) {
            return;
        }
        if let Some(asked) = self.asked.get_mut(&address) {
            asked.answer = Answer::Open;
            self.is_changed = true;
            client.unsubscribe(&name);
            client.subscribe(&name);
        }
    }

    /// Subscribes to the services of the workloads that were asked about, and to no others.
    fn follow_parents(&mut self, client: &mut Client) {
        let services = self.asked.keys();
        let services = services.flat_map(|address| self.index.services_at(*address));
        let wanted: BTreeSet<String> = services.cloned().collect();
        if wanted == self.parents {
            return;
        }
        for service in wanted.difference(&self.parents) {
            client.subscribe(service);
            if client.resource(Kind::Address, service).is_none() {
                self.pending.insert(service.clone());
            }
        }
        for service in self.parents.difference(&wanted) {
            client.unsubscribe(service);
            self.pending.remove(service);
        }
        self.parents = wanted;
        self.is_changed = true;
    }
}

#[cfg(test)]
mod tests;
