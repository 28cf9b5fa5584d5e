//! Reaching upstreams.
//!
//! A request takes an idle connection or makes one; where an endpoint cannot be reached, nothing of the request has left, and it moves
//! on to another endpoint of the same service. A connection to another sidecar is secured before anyone gets it.

use std::time::Duration;

use tokio::time::timeout;

use super::Connection;
use crate::{
    data_plane::{
        error::Failure,
        net::{Stream, connect},
        pool::Upstream,
        target::Target,
        telemetry::Side,
    },
    peer::Party,
    tls::Offer,
};

/// What an upstream connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A request.
    Http {
        /// An idle connection will do.
        pooled: bool,
    },
    /// Bytes of any kind.
    Opaque,
}

// === impl Connection ===

impl Connection {
    /// A connection to `target`. Where the endpoint cannot be reached, `target` may be another one afterwards.
    pub(crate) async fn upstream(
        &self,
        target: &mut Target,
        purpose: Use,
    ) -> Result<Upstream, Failure> {
        loop {
            match self.take_or_dial(target, purpose).await {
                Err(failure) if failure.was_not_reached() => {
                    if !self.move_on(target, failure.code()) {
                        return Err(failure);
                    }
                }
                result => return result,
            }
        }
    }

    /// Lets a request go to another endpoint than `target`, which nothing of it has reached for this `reason`; false if there is nobody
    /// left to try.
    pub(crate) fn move_on(&self, target: &mut Target, reason: &str) -> bool {
        let endpoint = target.key.address;
        if !target.move_on(&self.worker.mesh()) {
            return false;
        }
        self.keep_within_means(target);
        tracing::debug!(%endpoint, other = %target.key.address, reason, "an endpoint was not reached, trying another one");
        self.worker.telemetry.count_retry();
        true
    }

    async fn take_or_dial(&self, target: &Target, purpose: Use) -> Result<Upstream, Failure> {
        let idle = match purpose {
            Use::Http { pooled: true } => self.worker.pool.take(&target.key, target.identities()),
            Use::Http { pooled: false } | Use::Opaque => None,
        };
        match idle {
            Some(upstream) => Ok(upstream),
            // On the heap: most requests find an idle connection, and every connection of a client would hold the room.
            None => Box::pin(self.dial(target, purpose)).await,
        }
    }

    async fn dial(&self, target: &Target, purpose: Use) -> Result<Upstream, Failure> {
        let key = target.key;
        let told = self.worker.mesh().settings().connect_timeout;
        let limit = told.unwrap_or(self.worker.config.connect_timeout);
        let mut stream = connect(key.address, key.source, limit).await?;
        self.worker.telemetry.count_dialled();
        if key.is_secured {
            stream = self.secure(stream, target, purpose, limit).await?;
        }
        let local = self.logs().then(|| stream.local_address()).flatten();
        Ok(Upstream {
            party: self.party(target, &stream),
            stream,
            key,
            local,
            reused: false,
        })
    }

    async fn secure(
        &self,
        stream: Stream,
        target: &Target,
        purpose: Use,
        limit: Duration,
    ) -> Result<Stream, Failure> {
        let credentials = self.worker.credentials().ok_or(Failure::NoCertificate)?;
        let offer = match purpose {
            Use::Http { .. } => Offer::Http,
            Use::Opaque => Offer::Tcp,
        };
        let handshake = stream.connect_tls(&credentials, target.identities(), target.sni(), offer);
        let ended = timeout(limit, handshake).await;
        self.count_handshake(Side::Client, &ended);
        match ended {
            Ok(secured) => secured.map_err(Failure::UpstreamTls),
            Err(_elapsed) => Err(Failure::ConnectTimeout),
        }
    }

    /// Whom the metrics name as the upstream.
    fn party(&self, target: &Target, stream: &Stream) -> Party {
        let identity = stream.peer().map(|peer| peer.spiffe_id().as_str());
        let known = target
            .workload
            .as_ref()
            .map(|workload| workload.party(&self.worker.config.names));
        match (known, identity) {
            // An address may have passed on to another pod that the mesh has not heard of.
            (Some(known), Some(identity)) if known.principal != identity => {
                self.worker.peers.borrow_mut().party(identity, &[])
            }
            (Some(known), _) => known.clone(),
            (None, _) => Party::unknown().clone(),
        }
    }
}
