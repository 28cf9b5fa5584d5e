//! Network namespaces as pods, test servers, certificates, golden files and the table of injection cases.
//!
//! Tests of every crate and `cargo xtask demo` stand on this crate; nothing that is shipped depends on it.
//! Whatever it makes (namespaces, links, processes) goes away when the value that stands for it is dropped.
//!
//! ```text
//!   Node (its own namespace)          every Pod: eth0 10.244.0.N/24, fd00:10:244::N/64, default route to the node
//!   ├─ bridge cni0 10.244.0.1         a Pod runs closures on a thread (`enter`) and programs (`spawn`) inside
//!   ├─ veth ── Pod
//!   └─ veth ── Pod
//! ```

pub mod api_server;
pub mod cases;
pub mod corpus;
pub mod golden;
pub mod http;
pub mod mount;
pub mod netns;
pub mod pki;
pub mod pod;
pub mod process;
pub mod reviews;
