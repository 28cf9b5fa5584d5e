//! Who is in which slice, and whose an address is.
//!
//! Kept by [`Model`](super::Model) beside its objects, so that a change of one object finds those that depend on it without going through all.
//! Lists are short and mostly of one entry, hence vectors.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
};

use crate::discovery::object::{Key, Slice, Target, Text};

/// Where to look.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Names of slices, by their Service.
    of_service: HashMap<Key, Vec<Text>>,
    /// Names of slices, by the pods that they name.
    of_pod: HashMap<Key, Vec<Text>>,
    /// Slices by the addresses that they name without saying whose they are.
    of_address: HashMap<IpAddr, Vec<Key>>,
    /// Pods by the addresses of their own.
    pods: HashMap<IpAddr, Vec<Key>>,
}

// === impl Index ===

impl Index {
    pub(super) fn add_slice(&mut self, key: &Key, slice: &Slice) {
        let service = key.sibling(&slice.service);
        add(&mut self.of_service, service, key.name.clone());
        for endpoint in &slice.endpoints {
            match &endpoint.target {
                Target::Pod(pod) => add(&mut self.of_pod, key.sibling(pod), key.name.clone()),
                Target::Address(address) => add(&mut self.of_address, *address, key.clone()),
            }
        }
    }

    pub(super) fn remove_slice(&mut self, key: &Key, slice: &Slice) {
        remove(&mut self.of_service, key.sibling(&slice.service), &key.name);
        for endpoint in &slice.endpoints {
            match &endpoint.target {
                Target::Pod(pod) => remove(&mut self.of_pod, key.sibling(pod), &key.name),
                Target::Address(address) => remove(&mut self.of_address, *address, key),
            }
        }
    }

    pub(super) fn move_pod(&mut self, key: &Key, old: &[IpAddr], new: &[IpAddr]) {
        for address in old {
            remove(&mut self.pods, *address, key);
        }
        for address in new {
            add(&mut self.pods, *address, key.clone());
        }
    }

    pub(super) fn slices_of_service(&self, service: &Key) -> Vec<Text> {
        self.of_service.get(service).cloned().unwrap_or_default()
    }

    /// The slices that name the pod, which are of its namespace.
    pub(super) fn slices_of_pod(&self, pod: &Key) -> impl Iterator<Item = Key> {
        let names = self.of_pod.get(pod).into_iter().flatten();
        names.map(|name| pod.sibling(name))
    }

    pub(super) fn slices_of_address(&self, address: IpAddr) -> impl Iterator<Item = Key> {
        self.of_address.get(&address).into_iter().flatten().cloned()
    }

    pub(super) fn pods_of_address(&self, address: IpAddr) -> impl Iterator<Item = &Key> {
        self.pods.get(&address).into_iter().flatten()
    }
}

fn add<K: Eq + Hash, V: PartialEq>(map: &mut HashMap<K, Vec<V>>, key: K, value: V) {
    // Mostly it stays at one, and there are tens of thousands.
    let values = map.entry(key).or_insert_with(|| Vec::with_capacity(1));
    if !values.contains(&value) {
        values.push(value);
    }
}

fn remove<K: Eq + Hash, V: PartialEq>(map: &mut HashMap<K, Vec<V>>, key: K, value: &V) {
    if let Entry::Occupied(mut values) = map.entry(key) {
        values.get_mut().retain(|known| known != value);
        if values.get().is_empty() {
            values.remove();
        }
    }
}
