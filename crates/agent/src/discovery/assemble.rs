//! One model of all that discovery has told.
//!
//! Called on the housekeeping thread when something has changed. Resources come one by one and in any order, so for a moment two may
//! claim one address, or refer to what is not there; a file would be refused for that, here the one that came later is believed and
//! the rest of the other stays. What is assembled can be built as long as each of its resources can.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use super::{
    client::{Client, Kind},
    convert::{self, Address},
};
use crate::mesh::{
    Model,
    model::{NetworkMode, PortNumber, Service, Settings, Workload},
};

/// A service, and what decides between two of one name or address.
struct Listed {
    service: Service,
    /// The one that Kubernetes would mean, then the later one.
    rank: (bool, u64),
}

/// The addresses that `client` holds, with these settings and without modes. `network` is the pod's own.
#[must_use]
pub fn assemble(client: &Client, network: &str, settings: Settings) -> Model {
    let (mut services, mut workloads) = (Vec::new(), Vec::new());
    for (_, held) in client.resources(Kind::Address) {
        // What is held has passed once.
        match convert::address(&held.body, network) {
            Ok(Address::Service(service, is_canonical)) => services.push(Listed {
                service,
                rank: (is_canonical, held.order),
            }),
            Ok(Address::Workload(workload)) => workloads.push((held.order, *workload)),
            Ok(Address::Elsewhere) | Err(_) => {}
        }
    }
    let services = distinct(services);
    let mut workloads = apart(workloads);
    refer(&mut workloads, &services);
    Model {
        settings,
        services,
        workloads,
        ..Model::default()
    }
}

/// Services of which no two have the same name, or the same address and port.
fn distinct(mut services: Vec<Listed>) -> Vec<Service> {
    services.sort_by_key(|listed| std::cmp::Reverse(listed.rank));
    let mut keys = HashSet::new();
    let mut taken: HashSet<(IpAddr, PortNumber)> = HashSet::new();
    let mut distinct = Vec::new();
    for Listed { mut service, .. } in services {
        if !keys.insert(key(&service.namespace, &service.hostname)) {
            continue;
        }
        let mut own = HashSet::new();
        let ports = &service.ports;
        service.addresses.retain(|address| {
            let mut targets = ports.iter().map(|port| (address.0, port.service_port));
            own.insert(address.0) && !targets.any(|target| taken.contains(&target))
        });
        for address in &service.addresses {
            let targets = ports.iter().map(|port| (address.0, port.service_port));
            taken.extend(targets);
        }
        distinct.push(service);
    }
    distinct
}

/// Workloads of which no two have the same address, those of a node's network aside.
fn apart(mut workloads: Vec<(u64, Workload)>) -> Vec<Workload> {
    workloads.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
    let mut taken: HashSet<IpAddr> = HashSet::new();
    let mut apart = Vec::new();
    for (_, mut workload) in workloads {
        let is_shared = workload.network_mode == NetworkMode::HostNetwork;
        let addresses = &mut workload.addresses;
        addresses.retain(|address| is_shared || taken.insert(address.0));
        if !addresses.is_empty() {
            apart.push(workload);
        }
    }
    apart
}

/// Leaves of what the workloads refer to only what is there.
fn refer(workloads: &mut [Workload], services: &[Service]) {
    let ports: HashMap<String, BTreeSet<PortNumber>> = services
        .iter()
        .map(|service| {
            let ports = service.ports.iter().map(|port| port.service_port);
            (key(&service.namespace, &service.hostname), ports.collect())
        })
        .collect();
    for workload in workloads {
        let told = std::mem::take(&mut workload.services);
        let mut services = BTreeMap::new();
        for (name, mut list) in told {
            let Some((namespace, hostname)) = name.split_once('/') else {
                continue;
            };
            let name = key(namespace, hostname);
            let Some(ports) = ports.get(&name) else {
                continue;
            };
            let mut seen = HashSet::new();
            list.ports.retain(|port| {
                ports.contains(&port.service_port) && seen.insert(port.service_port)
            });
            services.insert(name, list);
        }
        workload.services = services;
    }
}

/// `NAMESPACE/HOSTNAME`, as the mesh compares them.
fn key(namespace: &str, hostname: &str) -> String {
    let hostname = hostname.strip_suffix('.').unwrap_or(hostname);
    format!("{namespace}/{}", hostname.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
