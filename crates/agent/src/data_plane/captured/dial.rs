//! Reaching upstreams.
//!
//! A request takes an idle connection or makes one; where an endpoint cannot be reached, nothing of the request has left, and another
//! endpoint of the same service is tried once.

use super::Connection;
use crate::{
    data_plane::{
        error::Failure,
        net::{Stream, connect},
        pool::Upstream,
        target::Target,
    },
    peer::Party,
};

// === impl Connection ===

impl Connection {
    /// A connection to `target`: an idle one if `pooled` and there is one, else a new one. Where the endpoint cannot be reached,
    /// `target` may be another one afterwards.
    pub(crate) async fn upstream(
        &self,
        target: &mut Target,
        pooled: bool,
    ) -> Result<Upstream, Failure> {
        if let Some(upstream) = pooled.then(|| self.worker.pool.take(&target.key)).flatten() {
            return Ok(upstream);
        }
        let failure = match self.dial(target).await {
            Err(failure) if failure.was_not_reached() => failure,
            result => return result,
        };
        let Some(other) = target.alternative(&self.worker.mesh()) else {
            return Err(failure);
        };
        tracing::debug!(
            endpoint = %target.key.address, other = %other.key.address, reason = failure.code(),
            "an endpoint cannot be reached, trying another one"
        );
        *target = other;
        if let Some(upstream) = pooled.then(|| self.worker.pool.take(&target.key)).flatten() {
            return Ok(upstream);
        }
        self.dial(target).await
    }

    async fn dial(&self, target: &Target) -> Result<Upstream, Failure> {
        let key = target.key;
        let told = self.worker.mesh().settings().connect_timeout;
        let limit = told.unwrap_or(self.worker.config.connect_timeout);
        let stream = connect(key.address, key.source, limit).await?;
        let local = self.logs().then(|| stream.local_address()).flatten();
        Ok(Upstream {
            party: self.party(target, &stream),
            stream,
            key,
            local,
            reused: false,
        })
    }

    /// Whom the metrics name as the upstream.
    fn party(&self, target: &Target, _stream: &Stream) -> Party {
        match &target.workload {
            Some(workload) => self.worker.handles.party(workload, None),
            None => Party::unknown().clone(),
        }
    }
}
