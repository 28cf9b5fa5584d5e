//! The metric names of the mesh's workloads and services, found by their place in memory.
//!
//! A worker asks [`Names`] once for each of them, which takes a lock, and keeps the handle as long as the mesh keeps the object.
//! Upstream connections remember the handle of their peer, so a request looks up a service at most.

use std::{cell::RefCell, sync::Arc};

use hashbrown::HashMap;

use crate::{
    mesh::{self, Workload},
    peer::{Names, Party, PartyNames, ServiceNames, names::UNKNOWN},
};

/// A worker's handles.
#[derive(Debug)]
pub(crate) struct Handles {
    names: Arc<Names>,
    services: RefCell<HashMap<usize, (Arc<mesh::Service>, ServiceNames)>>,
    parties: RefCell<HashMap<usize, Known>>,
}

/// The handles of one workload.
#[derive(Debug)]
struct Known {
    workload: Arc<Workload>,
    /// While it has proven nothing.
    unproven: Option<Party>,
    /// Once its certificate has proven its identity.
    proven: Option<Party>,
}

// === impl Handles ===

impl Handles {
    /// No handles yet.
    pub(crate) fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            services: RefCell::default(),
            parties: RefCell::default(),
        }
    }

    /// The handle of a service.
    pub(crate) fn service(&self, service: &Arc<mesh::Service>) -> ServiceNames {
        let mut known = self.services.borrow_mut();
        let entry = known.entry(Arc::as_ptr(service).addr()).or_insert_with(|| {
            let mesh::Service {
                hostname,
                name,
                namespace,
                ..
            } = &**service;
            let names = self.names.service(hostname, name, namespace);
            (Arc::clone(service), names)
        });
        entry.1.clone()
    }

    /// The handle of a workload whose certificate has proven `identity`, if any has.
    pub(crate) fn party(&self, workload: &Arc<Workload>, identity: Option<&str>) -> Party {
        // An address may have passed on to another pod that the mesh has not heard of.
        if let Some(other) = identity.filter(|identity| *identity != &*workload.identity) {
            return self.names.party(names(workload, other));
        }
        let mut parties = self.parties.borrow_mut();
        let known = parties
            .entry(Arc::as_ptr(workload).addr())
            .or_insert_with(|| Known {
                workload: Arc::clone(workload),
                unproven: None,
                proven: None,
            });
        let party = match identity {
            Some(_) => &mut known.proven,
            None => &mut known.unproven,
        };
        party
            .get_or_insert_with(|| {
                let principal = identity.unwrap_or(UNKNOWN);
                self.names.party(names(workload, principal))
            })
            .clone()
    }

    /// Forgets what the mesh has forgotten; called about once a second.
    pub(crate) fn sweep(&self) {
        // What is held here alone, the mesh has let go.
        let mut services = self.services.borrow_mut();
        services.retain(|_, (service, _)| Arc::strong_count(service) > 1);
        let mut parties = self.parties.borrow_mut();
        parties.retain(|_, known| Arc::strong_count(&known.workload) > 1);
    }
}

fn names(workload: &Workload, principal: &str) -> PartyNames {
    let Workload {
        workload_name,
        namespace,
        cluster,
        canonical_name,
        canonical_revision,
        ..
    } = workload;
    PartyNames {
        workload: workload_name.to_string(),
        namespace: namespace.to_string(),
        principal: principal.to_owned(),
        // Istio takes both from the canonical service where the labels themselves are not told.
        app: canonical_name.to_string(),
        version: canonical_revision.to_string(),
        cluster: cluster.to_string(),
        canonical_service: canonical_name.to_string(),
        canonical_revision: canonical_revision.to_string(),
    }
}
