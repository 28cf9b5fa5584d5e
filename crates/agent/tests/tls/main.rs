//! Mutual TLS as the data plane uses it: between two of our own ends, and with openssl on the other side.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod harness;
mod hostile;
mod identities;
mod openssl;
mod reload;
mod revoked;
mod streams;
