//! Ports of services, with the endpoints behind them and the indexes that lead to them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    net::SocketAddr,
    ops::Range,
    sync::Arc,
};

use super::{Builder, Listed, Services, declared, preference::Preference};
use crate::mesh::{
    Mesh, Target,
    model::{self, BalancingMode},
    problem::{Fault, Place},
    protocol::Protocol,
    service::{Endpoint, Service, ServicePort, Transport},
    standing::Standing,
    target,
    workload::Workload,
};

/// How endpoints are doing, by address.
type Standings = HashMap<SocketAddr, Arc<Standing>>;

/// A workload that is behind a service, and the ports of its own.
struct Member {
    workload: Arc<Workload>,
    ports: Vec<model::EndpointPort>,
}

// === impl Builder ===

impl Builder<'_> {
    /// All ports of `services`, sorted by host name, namespace and port. Ports for datagrams are left out.
    pub(super) fn ports(
        &mut self,
        services: &Services,
        workloads: &[Option<Arc<Workload>>],
        own: Option<&Workload>,
    ) -> Vec<Arc<ServicePort>> {
        let mut members = self.members(services, workloads);
        let mut standings = self.previous.map(standings).unwrap_or_default();
        let mut ports = Vec::new();
        for (key, listed) in services {
            let members = members.remove(key.as_str()).unwrap_or_default();
            self.add_ports(listed, &members, own, &mut standings, &mut ports);
        }
        ports.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        ports
    }

    /// Who is behind each service.
    fn members<'s>(
        &mut self,
        services: &'s Services,
        workloads: &[Option<Arc<Workload>>],
    ) -> HashMap<&'s str, Vec<Member>> {
        let mut members: HashMap<&str, Vec<Member>> = HashMap::new();
        let listed = self.model.workloads.iter().zip(workloads);
        for (idx, (model, workload)) in listed.enumerate() {
            for (key, list) in &model.services {
                let place = || {
                    Place::root("workloads")
                        .index(idx)
                        .field("services")
                        .field(key)
                };
                let Some((name, listed)) = services.get_key_value(&canonical(key)) else {
                    let known = services.keys().collect::<BTreeSet<_>>().into_iter();
                    self.refuse(place(), Fault::unknown("service", key, known));
                    continue;
                };
                self.check_ports(listed, list, &place);
                let Some(workload) = workload else {
                    continue;
                };
                members.entry(name).or_default().push(Member {
                    workload: Arc::clone(workload),
                    ports: list.ports.clone(),
                });
            }
        }
        members
    }

    fn check_ports(&mut self, listed: &Listed, list: &model::PortList, place: &impl Fn() -> Place) {
        let Some(service) = self.model.services.get(listed.idx) else {
            return;
        };
        let mut seen = BTreeMap::new();
        for (idx, port) in list.ports.iter().enumerate() {
            let place = |idx| place().field("ports").index(idx).field("servicePort");
            let known = || service.ports.iter().map(|port| port.service_port);
            if !known().any(|known| known == port.service_port) {
                let number = port.service_port.to_string();
                let fault = Fault::unknown("port of that service", &number, known());
                self.refuse(place(idx), fault);
            }
            if let Some(first) = seen.insert(port.service_port, idx) {
                let fault = Fault::Duplicate {
                    what: "port of the service",
                    value: port.service_port.to_string(),
                    first: place(first),
                };
                self.refuse(place(idx), fault);
            }
        }
    }

    fn add_ports(
        &mut self,
        listed: &Listed,
        members: &[Member],
        own: Option<&Workload>,
        standings: &mut Standings,
        ports: &mut Vec<Arc<ServicePort>>,
    ) {
        let Some(model) = self.model.services.get(listed.idx) else {
            return;
        };
        let identities = members.iter().map(|member| &*member.workload.identity);
        let alternatives = model.subject_alt_names.iter().map(String::as_str);
        let identities: BTreeSet<&str> = identities.chain(alternatives).collect();
        let identities: Arc<[Arc<str>]> = identities
            .into_iter()
            .map(|identity| self.texts.get(identity))
            .collect();
        let mut seen = HashMap::new();
        for (idx, port) in model.ports.iter().enumerate() {
            let place = |idx| {
                let ports = Place::root("services").index(listed.idx).field("ports");
                ports.index(idx).field("servicePort")
            };
            let protocol = declared(port);
            if protocol == Protocol::Udp {
                continue;
            }
            let number = port.service_port.get();
            if let Some(first) = seen.insert(number, idx) {
                let fault = Fault::Duplicate {
                    what: "port",
                    value: number.to_string(),
                    first: place(first),
                };
                self.refuse(place(idx), fault);
                continue;
            }
            let balancing = &model.load_balancing;
            let endpoints = self.endpoints(port, members, standings);
            let arranged = Preference { balancing, own }.arrange(endpoints);
            let hostname = &listed.service.hostname;
            ports.push(self.kept_port(ServicePort {
                sni: format!("outbound_.{number}_._.{hostname}").into(),
                service: Arc::clone(&listed.service),
                port: number,
                protocol,
                endpoints: arranged.endpoints,
                tiers: arranged.tiers,
                aside: arranged.aside,
                passthrough: balancing.mode == BalancingMode::Passthrough,
                identities: Arc::clone(&identities),
            }));
        }
    }

    fn endpoints(
        &self,
        port: &model::Port,
        members: &[Member],
        standings: &mut Standings,
    ) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for member in members {
            let own = member
                .ports
                .iter()
                .find(|own| own.service_port == port.service_port);
            let target = own.map(|own| own.target_port).or(port.target_port);
            let target = target.unwrap_or(port.service_port).get();
            let transport = match member.workload.transport_to(target) {
                Transport::IstioMtls if self.settings.auto_mtls => Transport::IstioMtls,
                Transport::IstioMtls | Transport::Plaintext => Transport::Plaintext,
            };
            endpoints.extend(member.workload.addresses.iter().map(|address| {
                let address = SocketAddr::from((*address, target));
                Endpoint {
                    address,
                    workload: Arc::clone(&member.workload),
                    transport,
                    standing: Arc::clone(standings.entry(address).or_default()),
                }
            }));
        }
        endpoints.sort_by_key(|endpoint| endpoint.address);
        // Two pods of one node's network cannot both listen there.
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        endpoints
    }

    /// The service of the previous mesh if it is the same.
    pub(super) fn kept_service(&self, service: Service) -> Arc<Service> {
        let key = (&*service.hostname, &*service.namespace);
        let known = self.previous.and_then(|mesh| {
            let position = mesh.ports.partition_point(|port| sort_key(port).0 < key);
            mesh.ports.get(position)
        });
        match known {
            Some(known) if *known.service == service => Arc::clone(&known.service),
            _ => Arc::new(service),
        }
    }

    /// The port of the previous mesh if it is the same.
    fn kept_port(&self, port: ServicePort) -> Arc<ServicePort> {
        let known = self.previous.and_then(|mesh| {
            let ports = &mesh.ports;
            let position = ports.binary_search_by(|known| sort_key(known).cmp(&sort_key(&port)));
            ports.get(position.ok()?)
        });
        match known {
            Some(known) if **known == port => Arc::clone(known),
            _ => Arc::new(port),
        }
    }

    /// Which port a virtual address leads to.
    pub(super) fn by_virtual_ip(
        &mut self,
        services: &Services,
        ports: &[Arc<ServicePort>],
    ) -> HashMap<Target, u32> {
        let mut by_virtual_ip: HashMap<Target, u32> = HashMap::new();
        for (port, idx) in ports.iter().zip(0..) {
            let service = &port.service;
            let key = format!("{}/{}", service.namespace, service.hostname);
            let Some(listed) = services.get(&key) else {
                continue;
            };
            let Some(model) = self.model.services.get(listed.idx) else {
                continue;
            };
            let place = |idx| Place::root("services").index(idx).field("addresses");
            for (position, address) in model.addresses.iter().enumerate() {
                match by_virtual_ip.entry((address.0, port.port)) {
                    Entry::Vacant(entry) => {
                        entry.insert(idx);
                    }
                    Entry::Occupied(first) => {
                        let first = first_service(services, ports, *first.get());
                        let fault = Fault::Duplicate {
                            what: "address and port",
                            value: SocketAddr::from((address.0, port.port)).to_string(),
                            first: first.map(place).unwrap_or_default(),
                        };
                        self.refuse(place(listed.idx).index(position), fault);
                    }
                }
            }
        }
        by_virtual_ip
    }
}

/// Which ports a name leads to. Of services of one name in several namespaces the own namespace's is meant, else the first.
pub(super) fn by_name(
    ports: &[Arc<ServicePort>],
    namespace: &str,
) -> HashMap<Arc<str>, Range<u32>> {
    let mut by_name: HashMap<Arc<str>, Range<u32>> = HashMap::new();
    let mut start = 0;
    for run in ports.chunk_by(|a, b| sort_key(a).0 == sort_key(b).0) {
        let Some((first, end)) = run.first().zip(u32::try_from(run.len()).ok()) else {
            continue;
        };
        let service = &first.service;
        let range = start..start + end;
        start = range.end;
        if *service.namespace == *namespace || !by_name.contains_key(&service.hostname) {
            by_name.insert(Arc::clone(&service.hostname), range);
        }
    }
    by_name
}

/// Which port, and which of all its endpoints, an address leads to.
pub(super) fn by_endpoint(ports: &[Arc<ServicePort>]) -> HashMap<Target, (u32, u32)> {
    let mut by_endpoint: HashMap<Target, (u32, u32)> = HashMap::new();
    for headless in [true, false] {
        let ports = ports.iter().zip(0..);
        for (port, port_idx) in ports.filter(|(port, _)| port.service.headless == headless) {
            for (endpoint, idx) in port.all_endpoints().zip(0..) {
                by_endpoint
                    .entry(target(endpoint.address))
                    .or_insert((port_idx, idx));
            }
        }
    }
    by_endpoint
}

fn standings(mesh: &Mesh) -> Standings {
    mesh.ports
        .iter()
        .flat_map(|port| port.all_endpoints())
        .map(|endpoint| (endpoint.address, Arc::clone(&endpoint.standing)))
        .collect()
}

/// Host name and namespace, then the port.
pub(in crate::mesh) fn sort_key(port: &ServicePort) -> ((&str, &str), u16) {
    let service = &port.service;
    ((&service.hostname, &service.namespace), port.port)
}

fn first_service(services: &Services, ports: &[Arc<ServicePort>], idx: u32) -> Option<usize> {
    let service = &ports.get(idx as usize)?.service;
    let key = format!("{}/{}", service.namespace, service.hostname);
    services.get(&key).map(|listed| listed.idx)
}

/// `NAMESPACE/HOSTNAME` as services are listed by.
fn canonical(key: &str) -> String {
    match key.split_once('/') {
        Some((namespace, hostname)) => {
            let hostname = hostname.strip_suffix('.').unwrap_or(hostname);
            format!("{namespace}/{}", hostname.to_ascii_lowercase())
        }
        None => key.to_owned(),
    }
}
