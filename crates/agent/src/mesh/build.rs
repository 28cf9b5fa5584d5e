//! A model becomes a mesh: names are checked, references resolved, indexes made.
//!
//! Called by [`Mesh::build`] on the housekeeping thread. It goes on after a problem, so that one run tells as many as possible, but
//! references are looked at only if what they refer to is sound. A model with a problem gives no mesh at all.

mod check;
mod inbound;
mod ports;
mod preference;
mod workloads;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    Mesh, Own, Problems,
    model::{self, Model},
    names::Names,
    problem::{Fault, MOST, Place, Problem},
    protocol::Protocol,
    service::Service,
    settings::{AccessLog, Settings},
};
use crate::peer::names::Handle;
pub(super) use ports::sort_key;
use workloads::Workloads;

/// What is at hand while a mesh is made.
pub(super) struct Builder<'a> {
    model: &'a Model,
    own: &'a Own,
    previous: Option<&'a Mesh>,
    settings: Settings,
    problems: Vec<Problem>,
    texts: Texts,
}

/// A service of the model that passed.
struct Listed {
    service: Arc<Service>,
    /// Its position in the model.
    idx: usize,
}

/// Services by `NAMESPACE/HOSTNAME`.
type Services = HashMap<String, Listed>;

/// Equal texts, once.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

/// Istio's longest connect timeout is shorter, and it is safe to add to any clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn build(model: &Model, own: &Own, previous: Option<&Mesh>) -> Result<Mesh, Problems> {
    let mut builder = Builder {
        model,
        own,
        previous,
        settings: Settings::default(),
        problems: Vec::new(),
        texts: Texts::default(),
    };
    match builder.mesh() {
        Some(mesh) if builder.problems.is_empty() => Ok(mesh),
        _ => Err(Problems(builder.problems)),
    }
}

// === impl Builder ===

impl Builder<'_> {
    /// The mesh; nothing if it was not worth going on.
    fn mesh(&mut self) -> Option<Mesh> {
        self.settings = self.settings();
        let services = self.services();
        let Workloads {
            sorted: workloads,
            listed,
            by_ip,
        } = self.workloads();
        if !self.problems.is_empty() {
            return None;
        }
        let own = self.own_workload(&workloads);
        let ports = self.ports(&services, &listed, own.as_deref());
        let by_name = ports::by_name(&ports, &self.own.namespace);
        Some(Mesh {
            names: Names::new(by_name, &self.own.namespace, &self.own.cluster_domain),
            by_virtual_ip: self.by_virtual_ip(&services, &ports),
            by_endpoint: ports::by_endpoint(&ports),
            inbound: self.inbound(own.as_deref(), &workloads, &ports),
            settings: self.settings.clone(),
            own,
            ports,
            workloads,
            by_ip,
        })
    }

    fn settings(&mut self) -> Settings {
        let model = &self.model.settings;
        let place = Place::root("settings");
        let trust_domain = model.trust_domain.as_deref().unwrap_or_default();
        let trust_domain = match trust_domain {
            "" => self.own.trust_domain.as_str(),
            given => self.checked(given, check::trust_domain, || {
                place.clone().field("trustDomain")
            }),
        };
        let aliases = model.trust_domain_aliases.iter().enumerate();
        let aliases: Vec<&str> = aliases
            .map(|(idx, alias)| {
                let place = || place.clone().field("trustDomainAliases").index(idx);
                self.checked(alias, check::trust_domain, place)
            })
            .collect();
        let connect_timeout = model.connect_timeout;
        if connect_timeout.is_some_and(|limit| limit.is_zero() || limit > LONGEST) {
            let given = format!("{:?}", connect_timeout.unwrap_or_default());
            let fault = Fault::value(given, "a duration of more than nothing, of a day at most");
            self.refuse(place.clone().field("connectTimeout"), fault);
        }
        let encoding = model.access_log_encoding.unwrap_or_default();
        Settings {
            outbound_policy: model.outbound_traffic_policy.mode,
            auto_mtls: model.enable_auto_mtls.unwrap_or(true),
            access_log: model
                .access_log_file
                .as_ref()
                .map(|file| match file.as_str() {
                    "" => AccessLog::Off,
                    path => AccessLog::File {
                        path: PathBuf::from(path),
                        encoding,
                    },
                }),
            // Istio's 0s waits for ever, which nobody wants who does not know it.
            detection_timeout: model
                .protocol_detection_timeout
                .filter(|limit| !limit.is_zero())
                .map(|limit| limit.min(LONGEST)),
            connect_timeout,
            trust_domain: self.texts.get(trust_domain),
            trust_domain_aliases: aliases.iter().map(|alias| self.texts.get(alias)).collect(),
        }
    }

    fn services(&mut self) -> Services {
        let mut services = Services::new();
        for (idx, service) in self.model.services.iter().enumerate() {
            let place = || Place::root("services").index(idx);
            let listed = self.service(service, &place);
            let key = format!("{}/{}", listed.namespace, listed.hostname);
            if let Some(first) = services.get(&key) {
                let fault = Fault::Duplicate {
                    what: "service",
                    value: key,
                    first: Place::root("services").index(first.idx),
                };
                self.refuse(place(), fault);
                continue;
            }
            let service = self.kept_service(listed);
            services.insert(key, Listed { service, idx });
        }
        services
    }

    fn service(&mut self, service: &model::Service, place: &impl Fn() -> Place) -> Service {
        let name = self.checked(&service.name, check::name, || place().field("name"));
        let namespace = self.checked(&service.namespace, check::name, || {
            place().field("namespace")
        });
        let hostname = self.hostname(service, place);
        for (idx, identity) in service.subject_alt_names.iter().enumerate() {
            self.checked(identity, check::identity, || {
                place().field("subjectAltNames").index(idx)
            });
        }
        for (idx, address) in service.addresses.iter().enumerate() {
            let place = || place().field("addresses").index(idx);
            self.check_address(address.0, place);
        }
        Service {
            name: self.texts.get(name),
            namespace: self.texts.get(namespace),
            hostname: self.texts.get(&hostname),
            headless: service.addresses.is_empty(),
            names: Handle::default(),
        }
    }

    fn hostname(&mut self, service: &model::Service, place: &impl Fn() -> Place) -> String {
        if service.hostname.is_empty() {
            let (name, namespace) = (&service.name, &service.namespace);
            let hostname = format!("{name}.{namespace}.svc.{}", self.own.cluster_domain);
            return hostname.to_ascii_lowercase();
        }
        check::hostname(&service.hostname).unwrap_or_else(|fault| {
            self.refuse(place().field("hostname"), fault);
            service.hostname.clone()
        })
    }

    fn check_address(&mut self, address: IpAddr, place: impl FnOnce() -> Place) {
        if address.is_unspecified() || address.is_multicast() {
            let fault = Fault::value(address, "an address that a connection can have");
            self.refuse(place(), fault);
        }
    }

    /// `text`, with a problem if `check` finds one.
    fn checked<'t>(
        &mut self,
        text: &'t str,
        check: impl FnOnce(&str) -> Result<(), Fault>,
        place: impl FnOnce() -> Place,
    ) -> &'t str {
        if let Err(fault) = check(text) {
            self.refuse(place(), fault);
        }
        text
    }

    fn refuse(&mut self, place: Place, fault: Fault) {
        if self.problems.len() < MOST {
            self.problems.push(Problem { place, fault });
        }
    }
}

// === impl Texts ===

impl Texts {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text = Arc::from(text);
        self.0.insert(Arc::clone(&text));
        text
    }
}

fn declared(port: &model::Port) -> Protocol {
    let number = port.service_port.get();
    Protocol::declared(number, &port.name, port.app_protocol.as_deref())
}
