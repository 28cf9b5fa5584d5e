//! The injector in a cluster, against an API server that lives in the test and fails on demand.

#[path = "cluster/account_secrets.rs"]
mod account_secrets;
#[path = "cluster/api.rs"]
mod api;
#[path = "cluster/certificates.rs"]
mod certificates;
#[path = "cluster/discovery.rs"]
mod discovery;
#[path = "cluster/events.rs"]
mod events;
#[path = "cluster/failures.rs"]
mod failures;
#[path = "cluster/fixture.rs"]
mod fixture;
#[path = "cluster/grpc.rs"]
mod grpc;
#[path = "cluster/lease.rs"]
mod lease;
#[path = "cluster/life.rs"]
mod life;
#[path = "cluster/policies.rs"]
mod policies;
#[path = "cluster/revocations.rs"]
mod revocations;
#[path = "cluster/tags.rs"]
mod tags;
