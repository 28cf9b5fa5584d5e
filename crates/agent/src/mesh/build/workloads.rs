//! Workloads of the model, with their identities and addresses.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use super::{Builder, check};
use crate::mesh::{
    model::{self, NetworkMode, TunnelProtocol, WorkloadStatus},
    problem::{Fault, Place},
    service::Transport,
    workload::{Locality, Workload},
};
use crate::peer::names::Handle;

/// The workloads of a model that passed.
#[derive(Default)]
pub(super) struct Workloads {
    /// Sorted by `uid`.
    pub(super) sorted: Vec<Arc<Workload>>,
    /// In the order of the model; nothing where one was refused.
    pub(super) listed: Vec<Option<Arc<Workload>>>,
    /// Positions of the sorted.
    pub(super) by_ip: HashMap<IpAddr, u32>,
}

/// Istio's name for a workload without a revision.
const LATEST: &str = "latest";

// === impl Builder ===

impl Builder<'_> {
    pub(super) fn workloads(&mut self) -> Workloads {
        let mut workloads = Workloads::default();
        let mut by_uid: HashMap<Arc<str>, usize> = HashMap::new();
        let mut addresses: HashMap<IpAddr, Place> = HashMap::new();
        for (idx, workload) in self.model.workloads.iter().enumerate() {
            let place = || Place::root("workloads").index(idx);
            let workload = self.workload(workload, &place);
            let uid = Arc::clone(&workload.uid);
            if let Some(first) = by_uid.get(&uid) {
                let fault = Fault::Duplicate {
                    what: "workload",
                    value: uid.to_string(),
                    first: Place::root("workloads").index(*first),
                };
                self.refuse(place(), fault);
                workloads.listed.push(None);
                continue;
            }
            by_uid.insert(uid, idx);
            self.claim(&workload, &place, &mut addresses);
            let workload = self.kept(workload);
            workloads.listed.push(Some(Arc::clone(&workload)));
            workloads.sorted.push(workload);
        }
        workloads.sorted.sort_by(|a, b| a.uid.cmp(&b.uid));
        for (workload, idx) in workloads.sorted.iter().zip(0..) {
            if !workload.host_network {
                let addresses = workload.addresses.iter();
                workloads
                    .by_ip
                    .extend(addresses.map(|address| (*address, idx)));
            }
        }
        workloads
    }

    fn workload(&mut self, workload: &model::Workload, place: &impl Fn() -> Place) -> Workload {
        let name = self.checked(&workload.name, check::name, || place().field("name"));
        let namespace = self.checked(&workload.namespace, check::name, || {
            place().field("namespace")
        });
        let service_account = match workload.service_account.as_str() {
            "" => "default",
            given => self.checked(given, check::name, || place().field("serviceAccount")),
        };
        let mesh_domain = Arc::clone(&self.settings.trust_domain);
        let trust_domain = match workload.trust_domain.as_str() {
            "" => &*mesh_domain,
            given => self.checked(given, check::trust_domain, || place().field("trustDomain")),
        };
        let own = self.own;
        let mut shown = |given, field, default| match given {
            "" => default,
            given => self.checked(given, check::text, || place().field(field)),
        };
        let cluster = shown(&workload.cluster_id, "clusterId", own.cluster.as_str());
        let workload_name = shown(&workload.workload_name, "workloadName", name);
        let canonical_name = shown(&workload.canonical_name, "canonicalName", workload_name);
        let canonical_revision = shown(&workload.canonical_revision, "canonicalRevision", LATEST);
        let default = format!("{cluster}//Pod/{namespace}/{name}");
        let uid = shown(&workload.uid, "uid", &default);
        let node = shown(&workload.node, "node", "");
        let locality = self.locality(&workload.locality, place);
        let identity = format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}");
        if workload.addresses.is_empty() {
            let fault = Fault::Empty { what: "IP address" };
            self.refuse(place().field("addresses"), fault);
        }
        Workload {
            uid: self.texts.get(uid),
            name: self.texts.get(name),
            namespace: self.texts.get(namespace),
            service_account: self.texts.get(service_account),
            trust_domain: self.texts.get(trust_domain),
            identity: self.texts.get(&identity),
            cluster: self.texts.get(cluster),
            workload_name: self.texts.get(workload_name),
            canonical_name: self.texts.get(canonical_name),
            canonical_revision: self.texts.get(canonical_revision),
            addresses: workload.addresses.iter().map(|address| address.0).collect(),
            transport: self.transport(workload.tunnel_protocol, place),
            plaintext_ports: plaintext_ports(&workload.inbound_tls),
            ready: workload.status == WorkloadStatus::Healthy,
            node: self.texts.get(node),
            locality,
            host_network: workload.network_mode == NetworkMode::HostNetwork,
            party: Handle::default(),
        }
    }

    fn locality(&mut self, model: &model::Locality, place: &impl Fn() -> Place) -> Locality {
        let mut part = |given: &str, field| {
            let place = || place().field("locality").field(field);
            let text = match given {
                "" => "",
                given => self.checked(given, check::text, place),
            };
            self.texts.get(text)
        };
        Locality {
            region: part(&model.region, "region"),
            zone: part(&model.zone, "zone"),
            subzone: part(&model.subzone, "subzone"),
        }
    }

    fn transport(&mut self, tunnel: TunnelProtocol, place: &impl Fn() -> Place) -> Transport {
        match tunnel {
            TunnelProtocol::None => Transport::Plaintext,
            TunnelProtocol::LegacyIstioMtls => Transport::IstioMtls,
            TunnelProtocol::Hbone => {
                let fault = Fault::Unsupported {
                    what: "HBONE",
                    instead: "give LEGACY_ISTIO_MTLS for mutual TLS between sidecars, or NONE",
                };
                self.refuse(place().field("tunnelProtocol"), fault);
                Transport::Plaintext
            }
        }
    }

    /// Refuses addresses that are none, or somebody else's.
    fn claim(
        &mut self,
        workload: &Workload,
        place: &impl Fn() -> Place,
        addresses: &mut HashMap<IpAddr, Place>,
    ) {
        for (idx, address) in workload.addresses.iter().enumerate() {
            let place = || place().field("addresses").index(idx);
            self.check_address(*address, place);
            if workload.host_network {
                continue;
            }
            match addresses.entry(*address) {
                Entry::Vacant(entry) => {
                    entry.insert(place());
                }
                Entry::Occupied(first) => {
                    let fault = Fault::Duplicate {
                        what: "address, unless its networkMode is HOST_NETWORK,",
                        value: address.to_string(),
                        first: first.get().clone(),
                    };
                    self.refuse(place(), fault);
                }
            }
        }
    }

    /// The workload of the previous mesh if it is the same.
    fn kept(&self, workload: Workload) -> Arc<Workload> {
        let known = self.previous.and_then(|mesh| {
            let position = mesh
                .workloads
                .binary_search_by(|known| known.uid.cmp(&workload.uid));
            mesh.workloads.get(position.ok()?)
        });
        match known {
            Some(known) if **known == workload => Arc::clone(known),
            _ => Arc::new(workload),
        }
    }

    /// The own pod: by its address, else the only pod of that namespace whose owner has that name.
    pub(super) fn own_workload(&self, workloads: &[Arc<Workload>]) -> Option<Arc<Workload>> {
        let is_own = |workload: &&Arc<Workload>| {
            let own = &self.own.addresses;
            let holds = |address: &IpAddr| own.iter().any(|own| own.to_canonical() == *address);
            !workload.host_network && workload.addresses.iter().any(holds)
        };
        if let Some(own) = workloads.iter().find(is_own) {
            return Some(Arc::clone(own));
        }
        let mut namesakes = workloads.iter().filter(|workload| {
            *workload.namespace == *self.own.namespace
                && *workload.workload_name == *self.own.workload_name
        });
        let own = namesakes.next()?;
        namesakes.next().is_none().then(|| Arc::clone(own))
    }
}

fn plaintext_ports(tls: &model::InboundTls) -> Box<[u16]> {
    let ports = tls.disabled_ports.iter().map(|port| port.get());
    ports.collect::<BTreeSet<u16>>().into_iter().collect()
}
