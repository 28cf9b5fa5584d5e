//! Who is at the other end, in the words of telemetry and of the fields that sidecars send each other.
//!
//! [`names`] gives every workload and every service one cheap handle, by which the request path finds its metrics without looking at
//! a name; [`metadata`] and [`forwarded`] read and write what sidecars tell each other and the application, [`cache`] remembers what
//! was read. Nothing here does input or output, and nothing decides whom to believe: callers pass what a verified peer has sent.

pub mod cache;
pub mod forwarded;
pub mod metadata;
pub mod names;
mod structure;

pub use cache::PeerCache;
pub use names::{Names, Party, PartyNames, ServiceNames};
