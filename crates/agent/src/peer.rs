//! Who is at the other end, in the words of telemetry.
//!
//! [`names`] gives every workload and every service one cheap handle, by which the request path finds its metrics without looking at
//! a name. Everything here is a function from values to values; the data plane decides whom to believe.

pub mod names;

pub use names::{Names, Party, PartyNames, ServiceNames};
