//! Plans, applies and verifies traffic interception.
//!
//! The binary is [`app::run`]. Everything that decides is a function from values to values; only
//! the last step talks to the kernel, over netlink and in one transaction, without a child process.
//!
//! ```text
//! flags, env ─ args ─► Capture ─ rules ─► Plan ─┬─ nft ──────► text   (--dry-run)
//!                      (checked)         (data) ├─ iptables ─► text   (--dry-run --output iptables)
//!                                               └─ apply ────► kernel (read, compare, replace, read again)
//! ```

pub mod accounts;
pub mod answer;
pub mod app;
pub mod apply;
pub mod args;
pub mod capture;
pub mod cni;
pub mod error;
pub mod explain;
pub mod iptables;
pub mod live;
pub mod log;
pub mod netlink;
pub mod nfnetlink;
pub mod nft;
pub mod plan;
pub mod privilege;
pub mod probe;
pub mod resolver;
pub mod restore;
mod rtnetlink;
pub mod rules;
pub mod sets;
pub mod trace;
pub mod walk;
