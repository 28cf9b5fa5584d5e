//! The mesh of the picture.

use std::time::Instant;

use tracing::{debug, error};

use super::Picture;
use crate::{
    discovery::{assemble::assemble, client::Kind, convert},
    mesh::{
        Mesh, Model, MtlsMode,
        model::{NetworkMode, Workload, WorkloadMode},
    },
};

/// Name of the one resource of the settings.
const DEFAULT: &str = "default";

// === impl Picture ===

impl Picture {
    pub(super) fn apply(&mut self, now: Instant) {
        self.apply_at = None;
        let begun = Instant::now();
        let previous = self.store.current();
        match Mesh::build(&self.model(), &self.settings.own, Some(&previous)) {
            Ok(mesh) => {
                debug!(
                    ports = mesh.service_ports().len(),
                    workloads = mesh.workloads().len(),
                    "the mesh has changed"
                );
                self.store.replace(mesh);
                self.status.metrics.builds.inc();
                self.is_behind = false;
            }
            // Nothing more is settled until it can be built again.
            Err(problems) => {
                let problems = problems.to_string().replace('\n', "; ");
                error!(%problems, "what discovery has told makes no mesh, the last one stays in use");
            }
        }
        self.last_applied = Some((now, begun.elapsed()));
        self.publish(now);
        self.report();
    }

    fn model(&mut self) -> Model {
        let settings = self.client.resource(Kind::Settings, DEFAULT);
        let settings = settings.and_then(|held| convert::settings(&held.body).ok());
        let network = &self.settings.network;
        let mut model = assemble(&self.client, network, settings.unwrap_or_default());
        let attached = self.attached_modes(&model.workloads);
        self.knows_own = attached.is_some();
        let told = if self.is_foreign() {
            attached
        } else {
            self.policies()
        };
        // What was told last goes on until something else is told, so that another control plane opens nothing and cuts nothing.
        if told.is_some() {
            self.modes = told;
        }
        model.peer_authentication.own = Some(self.modes.clone().unwrap_or_else(closed));
        model
    }

    /// What the PeerAuthentications mean for the own ports; nothing before they were answered.
    fn policies(&self) -> Option<WorkloadMode> {
        if !self.answered.contains(&Kind::PeerAuthentication) {
            return None;
        }
        let held = self.client.resources(Kind::PeerAuthentication);
        let policies: Vec<_> = held
            .filter_map(|(name, held)| convert::policy(name, &held.body).ok())
            .collect();
        Some(convert::own_modes(&policies))
    }

    /// The same by what a control plane of Istio attaches to the own workload; nothing if that is not known.
    fn attached_modes(&self, workloads: &[Workload]) -> Option<WorkloadMode> {
        let own = &self.settings.own.addresses;
        let is_own = |workload: &&Workload| {
            let mut addresses = workload.addresses.iter();
            workload.network_mode == NetworkMode::Standard
                && addresses.any(|at| own.iter().any(|own| own.to_canonical() == at.0))
        };
        let own = workloads.iter().find(is_own)?;
        Some(convert::attached_modes(&own.authorization_policies))
    }
}

/// As long as nobody has said which ports take plain text, none of them does.
fn closed() -> WorkloadMode {
    WorkloadMode {
        mode: Some(MtlsMode::Strict),
        ..WorkloadMode::default()
    }
}
