//! The mesh of the picture.

use std::time::Instant;

use tracing::{debug, error};

use super::Picture;
use crate::{
    discovery::{assemble::assemble, client::Kind, convert},
    mesh::{
        Mesh, Model, MtlsMode,
        model::{PeerAuthentication, WorkloadMode},
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

    fn model(&self) -> Model {
        let settings = self.client.resource(Kind::Settings, DEFAULT);
        let settings = settings.and_then(|held| convert::settings(&held.body).ok());
        let is_answered =
            self.is_foreign == Some(true) || self.answered.contains(&Kind::PeerAuthentication);
        let own = if is_answered {
            let held = self.client.resources(Kind::PeerAuthentication);
            let policies: Vec<_> = held
                .filter_map(|(name, held)| convert::policy(name, &held.body).ok())
                .collect();
            convert::own_modes(&policies)
        } else {
            WorkloadMode {
                mode: Some(MtlsMode::Strict),
                ..WorkloadMode::default()
            }
        };
        let peer_authentication = PeerAuthentication {
            own: Some(own),
            ..PeerAuthentication::default()
        };
        let network = &self.settings.network;
        assemble(
            &self.client,
            network,
            settings.unwrap_or_default(),
            peer_authentication,
        )
    }
}
