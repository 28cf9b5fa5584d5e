//! The clients: each tries something, checks what comes back, and reports.
//!
//! `main` runs one of them and prints its [`Report`](super::report::Report). A failure is recorded, not returned: only arguments
//! that make no sense end a client early.

pub(crate) mod http;
pub(crate) mod tcp;
pub(crate) mod websocket;
