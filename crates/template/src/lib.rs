//! Pod, namespace and configuration in; injected pod, JSON patch or the reason for skipping out.

pub mod functions;
pub mod gotemplate;
pub mod merge;
pub mod patch;
pub mod yaml;
