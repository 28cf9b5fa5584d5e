//! The control plane: sidecar injection webhook.
//!
//! ```text
//! Args ─► Config ─► App ─┬─ files::Reloader ─► Live<template::Config>, Live<CertifiedKey>
//!                        ├─ server::Listener ─► webhook   :15017  POST /inject, GET /ready
//!                        └─ server::Listener ─► monitoring :15014  GET /metrics, GET /ready
//! ```

pub mod app;
pub mod args;
pub mod cluster;
pub mod config;
pub mod configuration;
pub mod files;
pub mod metrics;
pub mod monitoring;
pub mod server;
pub mod webhook;
