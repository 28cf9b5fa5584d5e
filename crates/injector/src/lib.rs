//! The control plane: sidecar injection webhook.
//!
//! ```text
//! Args ─► Config ─► App ─┬─ files::Reloader ─► Live<template::Config>, Live<CertifiedKey>
//!                        ├─ server::Listener ─► webhook   :15017  POST /inject, GET /ready
//!                        ├─ server::Listener ─► monitoring :15014  GET /metrics, GET /ready
//!                        ├─ grpc::Server ─────► certificates, discovery :15012, on a thread of its own
//!                        └─ cluster::Parts ─► certificate, caBundle, trust bundle, nodes, namespaces
//! ```
//!
//! It works in one of two ways, see [`config::Mode`]: by files alone, where no cluster is looked for, or with a cluster, where its certificate comes
//! from its own authority and it keeps in step what depends on that.

pub mod app;
pub mod args;
pub mod ca;
pub mod cluster;
pub mod config;
pub mod configuration;
pub mod discovery;
pub mod files;
pub mod grpc;
pub mod metrics;
pub mod monitoring;
pub mod policy;
pub mod server;
pub mod webhook;

mod tasks;
