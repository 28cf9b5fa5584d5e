//! The data plane in this process, between sockets that the test holds at both ends.
//!
//! No rule redirects anything: the original destination is fixed to the test's server. Every test says byte for byte what one side
//! sends and what the other receives, so whatever the proxy adds, loses or reorders is seen.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its scene has failed"
)]

mod harness;

mod bodies;
mod framing;
mod lifecycle;
mod messages;
mod mutual_tls;
mod on_demand;
mod opaque;
mod pooling;
mod retries;
mod services;
mod telemetry;
