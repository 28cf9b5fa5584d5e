//! The resources that sidecars are sent, by every name that they may be asked for, and in the order in which they changed.
//!
//! Written by the follower of the cluster once a burst of changes is over, read by every session. Each change has a number, so a session
//! needs to remember only how far it has come: what changed since is read from here, nothing is copied or queued per stream. Of what is gone
//! the names are remembered for a while; who falls behind further than that must begin anew, and resumes by the versions that it has.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use bytes::Bytes;

use super::object::Text;

/// A resource, encoded. All sessions share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `NAMESPACE/HOSTNAME` or a workload's uid.
    pub name: Text,
    /// Differs where the contents do; the same in every replica.
    pub version: u64,
    /// The message, encoded.
    pub value: Bytes,
    /// The addresses that it may be asked for by.
    pub addresses: Box<[IpAddr]>,
    /// Of a workload, the services that it is behind, by the names of their resources.
    pub services: Box<[Text]>,
}

/// What became of the resource of a name.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new, or other than it was.
    Present(Arc<Resource>),
    /// It is gone; this is what it was, without its value.
    Gone(Arc<Resource>),
}

/// The current resources.
#[derive(Debug, Default)]
pub struct Store {
    present: HashMap<Text, Numbered>,
    gone: HashMap<Text, Numbered>,
    by_address: HashMap<IpAddr, Vec<Text>>,
    /// The workloads of each service.
    by_service: HashMap<Text, Vec<Text>>,
    /// What has this number as its last change.
    log: BTreeMap<u64, Text>,
    last: u64,
    /// The last removal that is not remembered any more.
    forgotten: u64,
}

#[derive(Debug)]
struct Numbered {
    resource: Arc<Resource>,
    number: u64,
}

/// Removals that are remembered: more than a rollout of the largest Deployment makes.
const REMEMBERED: usize = 16_384;

// === impl Resource ===

impl Resource {
    /// The version as a text.
    #[must_use]
    pub fn version_text(&self) -> String {
        format!("{:016x}", self.version)
    }
}

// === impl Store ===

impl Store {
    /// Puts `resource` in the place of what has its name; says whether that differs.
    pub fn put(&mut self, resource: Resource) -> bool {
        let known = self.present.get(&resource.name);
        let known = known.map(|known| Arc::clone(&known.resource));
        if known
            .as_ref()
            .is_some_and(|known| known.version == resource.version)
        {
            return false;
        }
        let links = |resource: &Resource| (resource.addresses.clone(), resource.services.clone());
        if known.as_ref().map(|known| links(known)) != Some(links(&resource)) {
            if let Some(known) = &known {
                self.unlink(known);
            }
            self.link(&resource);
        }
        let resource = Arc::new(resource);
        if let Some(gone) = self.gone.remove(&resource.name) {
            self.log.remove(&gone.number);
        }
        let number = self.next(&resource.name);
        let name = Arc::clone(&resource.name);
        let before = self.present.insert(name, Numbered { resource, number });
        if let Some(before) = before {
            self.log.remove(&before.number);
        }
        true
    }

    /// Takes out the resource of this name; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some((name, before)) = self.present.remove_entry(name) else {
            return false;
        };
        self.log.remove(&before.number);
        self.unlink(&before.resource);
        let number = self.next(&name);
        let resource = Arc::new(Resource {
            value: Bytes::new(),
            ..(*before.resource).clone()
        });
        self.gone.insert(name, Numbered { resource, number });
        if self.gone.len() > REMEMBERED {
            self.forget();
        }
        true
    }

    /// The number of the last change.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there is no resource at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether everything that happened after the change `number` is still known.
    #[must_use]
    pub fn remembers(&self, number: u64) -> bool {
        number >= self.forgotten
    }

    /// What changed after the change `number`, oldest first; a name comes once, with what became of it in the end.
    pub fn since(&self, number: u64) -> impl Iterator<Item = (u64, Change)> {
        let begin = number.saturating_add(1);
        self.log.range(begin..).filter_map(|(&number, name)| {
            let change = match self.present.get(name) {
                Some(known) => Change::Present(Arc::clone(&known.resource)),
                None => Change::Gone(Arc::clone(&self.gone.get(name)?.resource)),
            };
            Some((number, change))
        })
    }

    /// The resource of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.present.get(name).map(|known| &known.resource)
    }

    /// Whoever has this address: workloads, services, or both.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = &Arc<Resource>> {
        let names = self.by_address.get(&address.to_canonical());
        names
            .into_iter()
            .flatten()
            .filter_map(|name| self.get(name))
    }

    /// The workloads behind the service of this name.
    pub fn behind(&self, service: &str) -> impl Iterator<Item = &Arc<Resource>> {
        let names = self.by_service.get(service);
        names
            .into_iter()
            .flatten()
            .filter_map(|name| self.get(name))
    }

    /// All resources, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.present.values().map(|known| &known.resource)
    }

    fn next(&mut self, name: &Text) -> u64 {
        self.last += 1;
        self.log.insert(self.last, Arc::clone(name));
        self.last
    }

    fn link(&mut self, resource: &Resource) {
        for address in &resource.addresses {
            // Mostly it stays at one, and there are tens of thousands.
            let names = self.by_address.entry(*address);
            let names = names.or_insert_with(|| Vec::with_capacity(1));
            names.push(Arc::clone(&resource.name));
        }
        for service in &resource.services {
            let names = self.by_service.entry(Arc::clone(service)).or_default();
            names.push(Arc::clone(&resource.name));
        }
    }

    fn unlink(&mut self, resource: &Resource) {
        for address in &resource.addresses {
            if let Some(names) = self.by_address.get_mut(address) {
                names.retain(|name| *name != resource.name);
                if names.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        for service in &resource.services {
            if let Some(names) = self.by_service.get_mut(service) {
                names.retain(|name| *name != resource.name);
                if names.is_empty() {
                    self.by_service.remove(service);
                }
            }
        }
    }

    /// Lets go of the older half of the removals.
    fn forget(&mut self) {
        let mut numbers: Vec<u64> = self.gone.values().map(|gone| gone.number).collect();
        let middle = numbers.len() / 2;
        let (_, &mut middle, _) = numbers.select_nth_unstable(middle);
        self.forgotten = middle;
        let log = &mut self.log;
        self.gone.retain(|_, gone| {
            let is_kept = gone.number > middle;
            if !is_kept {
                log.remove(&gone.number);
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests;
