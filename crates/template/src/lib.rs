//! Pod, namespace and configuration in; injected pod, JSON patch or the reason for skipping out.
//!
//! Used by the injector's webhook and by `minimesh kube-inject`, which therefore give the same result; no I/O, no clock, no environment.
//! See [`Config::load`] and [`inject`] for the two entry points. Pods are plain JSON throughout, so a field that this crate does not know survives.
//!
//! ```text
//!  config, values, mesh ─► Config ─┐
//!                                  ├─► decide ─► validate ─► render ─► merge ─► overrides ─► probes ─► order ─► pod
//!  pod, namespace ─────────────────┘      │                 (gotemplate, yaml)                                   │
//!                                      Reason                                                  patch::diff ◄─────┘
//! ```

pub mod decide;
pub mod environment;
pub mod functions;
pub mod gotemplate;
pub mod lint;
pub mod merge;
pub mod options;
pub mod owner;
pub mod patch;
pub mod policy;
pub mod selector;
pub mod trial;
pub mod yaml;

mod bypass;
mod config;
mod error;
mod inject;
mod kubernetes;
mod openshift;
mod order;
mod overrides;
mod pod;
mod probes;
mod prometheus;
mod proxy_config;
mod quantity;
mod record;
mod render;
mod schema;
mod structure;
mod uninject;
mod validate;
mod warning;

pub use self::{
    bypass::CaptureBypass,
    config::{Config, ConfigError, Sources, Text},
    decide::{Reason, Surprise, surprises},
    error::Error,
    inject::{Namespace, Outcome, Request, inject},
    options::{InvalidOption, NativeSidecars, Node, Options, Platform},
    owner::Owner,
    proxy_config::ProxyConfigError,
    uninject::{Doubt, UninjectError, Uninjected, uninject},
    validate::InvalidAnnotation,
    warning::Warning,
};
