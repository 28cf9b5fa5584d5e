//! The sidecar: data plane, readiness, probes and metrics.
