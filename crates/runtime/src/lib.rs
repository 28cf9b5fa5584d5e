//! Scaffolding of the long-running programs: logs, tasks, lifecycle, readiness, metrics.
