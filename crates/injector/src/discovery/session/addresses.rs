//! What a client is told of services and workloads: everything, or what it asks for and what belongs to that.
//!
//! A client that asks for everything reads the store's changes in their order, from the first, so a large answer comes in parts and nothing of it is
//! remembered per client. One that asks by name or address holds what it was sent: services bring their workloads, also those that come later.
//! Names that nobody has are answered as removed, stay asked for, and are told once somebody has them.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use prost::Name as _;
use wire::{discovery::DeltaDiscoveryRequest, workload::Address};

use super::{Body, MAX_NAMES, Violation, WILDCARD};
use crate::discovery::{
    object::Text,
    store::{Change, Resource, Store},
};

/// What a client wants and has.
#[derive(Debug)]
pub(super) struct Addresses {
    wildcard: bool,
    /// Names of resources that are asked for.
    asked: HashSet<Text>,
    /// Addresses that are asked for.
    asked_at: HashMap<IpAddr, AskedAt>,
    /// What has been sent, or was there from an earlier stream; not kept with a wildcard.
    held: HashSet<Text>,
    /// What the client had when the stream began, until it has been compared.
    known: BTreeMap<String, String>,
    /// What is to be answered.
    due: VecDeque<Due>,
    /// The number of the last change that was looked at.
    seen: u64,
    /// The number of the last change before the stream.
    base: u64,
    /// Whether something is not asked for any more, so that less may be held.
    is_slack: bool,
    answered: bool,
}

#[derive(Debug)]
struct AskedAt {
    /// As the client wrote it.
    name: Text,
    /// Whether somebody had it when the client was last told.
    found: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// A name as the client wrote it.
    Asked(Text),
    /// A resource that belongs to what the client asked for.
    Resource(Text),
    /// A resource that the client has and that is no more.
    Gone(Text),
}

// === impl Addresses ===

impl Addresses {
    pub(super) fn begin(request: DeltaDiscoveryRequest, store: &Store) -> Result<Self, Violation> {
        let subscribe = request.resource_names_subscribe;
        let unsubscribe = request.resource_names_unsubscribe;
        let mut addresses = Self {
            wildcard: subscribe.is_empty(),
            asked: HashSet::new(),
            asked_at: HashMap::new(),
            held: HashSet::new(),
            known: request.initial_resource_versions,
            due: VecDeque::new(),
            seen: 0,
            base: store.last(),
            is_slack: false,
            answered: false,
        };
        addresses.update(subscribe, &unsubscribe)?;
        addresses.resume(store);
        if !addresses.wildcard {
            addresses.seen = addresses.base;
        }
        Ok(addresses)
    }

    /// Compares what the client had with what there is.
    fn resume(&mut self, store: &Store) {
        let mut found = Vec::new();
        for (name, version) in &self.known {
            let Some(resource) = store.get(name) else {
                self.due.push_back(Due::Gone(name.as_str().into()));
                continue;
            };
            if self.wildcard {
                continue;
            }
            self.held.insert(Arc::clone(&resource.name));
            if resource.version_text() != *version {
                let name = Arc::clone(&resource.name);
                self.due.push_back(Due::Resource(name));
            }
            found.push(resource);
        }
        // What has come to be behind a service while the client was away.
        for service in found {
            self.bring(&service.name, store);
        }
    }

    /// Takes note of names that are asked for from now on, or no more.
    pub(super) fn update(
        &mut self,
        subscribe: Vec<String>,
        unsubscribe: &[String],
    ) -> Result<(), Violation> {
        for name in subscribe {
            if name == WILDCARD {
                self.begin_wildcard();
                continue;
            }
            let name = Text::from(name);
            match address(&name) {
                Some(address) => {
                    let name = Arc::clone(&name);
                    let asked = AskedAt { name, found: false };
                    self.asked_at.insert(address, asked);
                }
                None => drop(self.asked.insert(Arc::clone(&name))),
            }
            self.due.push_back(Due::Asked(name));
            let n_asked = self.asked.len() + self.asked_at.len();
            // The same may be asked again while the last answer is on its way, but not for ever.
            if n_asked > MAX_NAMES || self.due.len() > 2 * MAX_NAMES + self.held.len() {
                return Err(Violation::Names);
            }
        }
        for name in unsubscribe {
            if name == WILDCARD {
                self.wildcard = false;
                continue;
            }
            match address(name) {
                Some(address) => drop(self.asked_at.remove(&address)),
                None => drop(self.asked.remove(&**name)),
            }
            self.is_slack = true;
        }
        Ok(())
    }

    /// The next response; none if there is nothing to tell.
    pub(super) fn next(&mut self, store: &Store) -> Result<Option<Body>, Violation> {
        if std::mem::take(&mut self.is_slack) {
            self.let_go(store);
        }
        if self.answered && self.due.is_empty() && self.seen == store.last() {
            return Ok(None);
        }
        if !store.remembers(self.seen.max(self.base)) {
            return Err(Violation::Behind);
        }
        let mut body = Body::default();
        let mut told = HashSet::new();
        self.tell_due(store, &mut body, &mut told);
        self.tell_changes(store, &mut body, &mut told);
        // A service that is new to the client brings its workloads.
        self.tell_due(store, &mut body, &mut told);
        self.tell_vacated(store, &mut body);
        body.is_partial = !self.due.is_empty() || self.seen < store.last();
        if self.seen >= self.base && self.due.is_empty() {
            self.known = BTreeMap::new();
        }
        let says_nothing = body.resources.is_empty() && body.removed.is_empty();
        if self.answered && says_nothing {
            return Ok(None);
        }
        self.answered = true;
        Ok(Some(body))
    }

    fn begin_wildcard(&mut self) {
        if !self.wildcard {
            self.wildcard = true;
            self.seen = 0;
            self.held = HashSet::new();
        }
    }

    fn tell_due(&mut self, store: &Store, body: &mut Body, told: &mut HashSet<Text>) {
        while !body.is_full()
            && let Some(due) = self.due.pop_front()
        {
            match due {
                Due::Asked(name) => self.answer(&name, store, body, told),
                Due::Resource(name) => {
                    if let Some(resource) = store.get(&name) {
                        self.tell(resource, store, body, told);
                    }
                }
                Due::Gone(name) => body.remove(&name),
            }
        }
    }

    fn answer(&mut self, name: &Text, store: &Store, body: &mut Body, told: &mut HashSet<Text>) {
        let found: Vec<_> = match address(name) {
            Some(address) if !self.asked_at.contains_key(&address) => return,
            Some(address) => store.at(address).cloned().collect(),
            None if !self.asked.contains(name) => return,
            None => store.get(name).cloned().into_iter().collect(),
        };
        if found.is_empty() {
            body.remove(name);
        }
        for resource in found {
            if self.knows(&resource) {
                self.hold(&resource, store);
                self.aliases(&resource);
            } else {
                self.tell(&resource, store, body, told);
            }
        }
    }

    /// Whether the client has it from an earlier stream, as it is.
    fn knows(&self, resource: &Resource) -> bool {
        let known = self.known.get(&*resource.name);
        known.is_some_and(|version| *version == resource.version_text())
    }

    fn tell_changes(&mut self, store: &Store, body: &mut Body, told: &mut HashSet<Text>) {
        for (number, change) in store.since(self.seen) {
            if body.is_full() {
                return;
            }
            self.seen = number;
            match change {
                Change::Present(resource) if self.wildcard => {
                    let known = self.known.remove(&*resource.name);
                    if known.is_none_or(|version| version != resource.version_text()) {
                        self.tell(&resource, store, body, told);
                    }
                }
                Change::Present(resource) if self.concerns(&resource) => {
                    self.tell(&resource, store, body, told);
                }
                Change::Gone(resource) if self.wildcard => {
                    if number > self.base {
                        body.remove(&resource.name);
                    }
                }
                Change::Gone(resource) => {
                    if self.held.remove(&resource.name) || self.asked.contains(&resource.name) {
                        body.remove(&resource.name);
                    }
                }
                Change::Present(_) => {}
            }
        }
        self.seen = store.last();
    }

    /// Tells of addresses that somebody had and nobody has.
    fn tell_vacated(&mut self, store: &Store, body: &mut Body) {
        if body.resources.is_empty() && body.removed.is_empty() {
            return;
        }
        for (address, asked) in &mut self.asked_at {
            if asked.found && store.at(*address).next().is_none() {
                asked.found = false;
                body.remove(&asked.name);
            }
        }
    }

    fn tell(
        &mut self,
        resource: &Arc<Resource>,
        store: &Store,
        body: &mut Body,
        told: &mut HashSet<Text>,
    ) {
        self.hold(resource, store);
        // With a wildcard only what is asked for by name as well can come twice.
        let repeats = !self.wildcard || !self.asked.is_empty() || !self.asked_at.is_empty();
        if repeats && !told.insert(Arc::clone(&resource.name)) {
            return;
        }
        body.put(resource, &Address::type_url(), self.aliases(resource));
    }

    /// The addresses of `resource` that are asked for, as the client wrote them.
    fn aliases(&mut self, resource: &Resource) -> Vec<String> {
        let mut aliases = Vec::new();
        for address in &resource.addresses {
            if let Some(asked) = self.asked_at.get_mut(address) {
                asked.found = true;
                aliases.push(asked.name.to_string());
            }
        }
        aliases
    }

    fn hold(&mut self, resource: &Arc<Resource>, store: &Store) {
        if self.wildcard || !self.held.insert(Arc::clone(&resource.name)) {
            return;
        }
        self.bring(&resource.name, store);
    }

    /// The workloads behind a service are due, as far as the client does not have them.
    fn bring(&mut self, service: &str, store: &Store) {
        let behind = store.behind(service);
        let behind = behind.filter(|workload| !self.held.contains(&workload.name));
        let due = behind.map(|workload| Due::Resource(Arc::clone(&workload.name)));
        self.due.extend(due);
    }

    /// Forgets what was sent because of something that is not asked for any more.
    fn let_go(&mut self, store: &Store) {
        let held = std::mem::take(&mut self.held);
        let is_asked = |name: &Text| {
            let resource = store.get(name);
            self.asked.contains(name)
                || resource.is_some_and(|resource| self.asked_by_address(resource))
        };
        let (mut kept, others): (HashSet<Text>, HashSet<Text>) =
            held.into_iter().partition(is_asked);
        let belongs = |name: &Text| {
            let services = store.get(name).map(|resource| &resource.services);
            services.is_some_and(|services| services.iter().any(|name| kept.contains(name)))
        };
        let others: Vec<Text> = others.into_iter().filter(belongs).collect();
        kept.extend(others);
        self.held = kept;
    }

    /// Whether a client without a wildcard is to hear of it.
    fn concerns(&self, resource: &Resource) -> bool {
        self.held.contains(&resource.name)
            || self.asked.contains(&resource.name)
            || self.asked_by_address(resource)
            || resource
                .services
                .iter()
                .any(|name| self.held.contains(name))
    }

    fn asked_by_address(&self, resource: &Resource) -> bool {
        let mut addresses = resource.addresses.iter();
        addresses.any(|address| self.asked_at.contains_key(address))
    }
}

/// The address in `NETWORK/IP`. There is one network, whose name is empty.
fn address(name: &str) -> Option<IpAddr> {
    let address = name.strip_prefix('/')?;
    Some(address.parse::<IpAddr>().ok()?.to_canonical())
}
