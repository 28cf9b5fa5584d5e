//! Which resources are held, by what they have to do with addresses.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use crate::discovery::convert::{self, Address};

/// Resources by name and by address.
#[derive(Debug, Default)]
pub(super) struct Index {
    network: String,
    facts: HashMap<String, Facts>,
    by_address: HashMap<IpAddr, BTreeSet<String>>,
}

/// What a resource has to do with addresses.
#[derive(Debug, Default)]
struct Facts {
    addresses: Vec<IpAddr>,
    /// Services that a workload is behind.
    services: Vec<String>,
    is_service: bool,
}

// === impl Index ===

impl Index {
    pub(super) fn new(network: &str) -> Self {
        Self {
            network: network.to_owned(),
            ..Self::default()
        }
    }

    /// Notes a resource with this body in place of the one of its name: its addresses before, and now. Without a body it is no more.
    pub(super) fn note(
        &mut self,
        name: &str,
        aliases: impl Iterator<Item = IpAddr>,
        body: Option<&[u8]>,
    ) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let before = self.erase(name);
        let address = body.map(|body| convert::address(body, &self.network));
        let Some(Ok(address)) = address else {
            return (before, Vec::new());
        };
        let facts = Facts::of(address);
        let mut addresses = facts.addresses.clone();
        self.facts.insert(name.to_owned(), facts);
        for address in &addresses {
            self.lead(*address, name);
        }
        for alias in aliases {
            if self.add(name, alias) {
                addresses.push(alias);
            }
        }
        (before, addresses)
    }

    /// Notes that `address` leads to the resource as well, if it is held; whether that is new.
    pub(super) fn add(&mut self, name: &str, address: IpAddr) -> bool {
        let Some(facts) = self.facts.get_mut(name) else {
            return false;
        };
        if facts.addresses.contains(&address) {
            return false;
        }
        facts.addresses.push(address);
        self.lead(address, name);
        true
    }

    fn lead(&mut self, address: IpAddr, name: &str) {
        let names = self.by_address.entry(address).or_default();
        names.insert(name.to_owned());
    }

    /// Forgets a resource; the addresses that it had.
    pub(super) fn erase(&mut self, name: &str) -> Vec<IpAddr> {
        let Some(facts) = self.facts.remove(name) else {
            return Vec::new();
        };
        for address in &facts.addresses {
            if let Some(names) = self.by_address.get_mut(address) {
                names.remove(name);
                if names.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        facts.addresses
    }

    /// Whether anybody is held who is at this address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Resources that the address leads to.
    pub(super) fn names(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let names = self.by_address.get(&address).into_iter().flatten();
        names.map(String::as_str)
    }

    /// Whether the address is that of a service.
    pub(super) fn leads_to_service(&self, address: IpAddr) -> bool {
        let mut facts = self.names(address).filter_map(|name| self.facts.get(name));
        facts.any(|facts| facts.is_service)
    }

    /// Services that the workloads at the address are behind.
    pub(super) fn services_at(&self, address: IpAddr) -> impl Iterator<Item = &String> {
        let names = self.by_address.get(&address).into_iter().flatten();
        let facts = names.filter_map(|name| self.facts.get(name));
        facts.flat_map(|facts| &facts.services)
    }

    /// Resources that no address which is asked about leads to, nor a service that is asked for by its name or such an address.
    pub(super) fn strangers(
        &self,
        is_asked: impl Fn(IpAddr) -> bool,
        services: &BTreeSet<String>,
    ) -> Vec<String> {
        let is_asked = |facts: &Facts| facts.addresses.iter().any(|address| is_asked(*address));
        let wanted: HashSet<&String> = self
            .facts
            .iter()
            .filter(|(name, facts)| {
                facts.is_service && (is_asked(facts) || services.contains(*name))
            })
            .map(|(name, _)| name)
            .collect();
        let is_stranger = |name: &String, facts: &Facts| {
            let mut services = facts.services.iter();
            !is_asked(facts)
                && !wanted.contains(name)
                && !services.any(|name| wanted.contains(name))
        };
        let strangers = self.facts.iter();
        let strangers = strangers.filter(|(name, facts)| is_stranger(name, facts));
        strangers.map(|(name, _)| name.clone()).collect()
    }
}

// === impl Facts ===

impl Facts {
    fn of(address: Address) -> Self {
        match address {
            Address::Service(service, _) => Self {
                addresses: service.addresses.iter().map(|at| at.0).collect(),
                services: Vec::new(),
                is_service: true,
            },
            Address::Workload(workload) => Self {
                addresses: workload.addresses.iter().map(|at| at.0).collect(),
                services: workload.services.into_keys().collect(),
                is_service: false,
            },
            Address::Elsewhere => Self::default(),
        }
    }
}

/// The name by which an address of the own network is asked about.
pub(super) fn name_of(address: IpAddr) -> String {
    format!("/{address}")
}

/// The address that a name asks about, if it does.
pub(super) fn address_of(name: &str) -> Option<IpAddr> {
    let address: IpAddr = name.strip_prefix('/')?.parse().ok()?;
    Some(address.to_canonical())
}
