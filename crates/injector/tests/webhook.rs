//! The webhook as its clients see it: a server on a port of its own, certificates made for the test, real TLS.

#[path = "webhook/cases.rs"]
mod cases;
#[path = "webhook/client.rs"]
mod client;
#[path = "webhook/clients.rs"]
mod clients;
#[path = "webhook/fixture.rs"]
mod fixture;
#[path = "webhook/reload.rs"]
mod reload;
#[path = "webhook/reviews.rs"]
mod reviews;
#[path = "webhook/shutdown.rs"]
mod shutdown;
#[path = "webhook/validation.rs"]
mod validation;
