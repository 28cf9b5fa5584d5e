//! The CNI plugin that sets a pod's rules from its node, in place of an init container.
//!
//! `istio-init install-cni` writes the name and the capability into the node's network configuration; the container runtime reads them there, runs the
//! program of that name and gives it the pod's annotations. What the annotations do not say is in [`crate::annotations::STATUS`], under [`CAPTURE`].

/// Type of the plugin in the network configuration, and name of the program among the node's CNI programs.
pub const PLUGIN: &str = "minimesh-cni";
/// Capability by which a plugin asks the runtime for the pod's annotations; their key in `runtimeConfig`. Known to containerd 1.5 and CRI-O 1.29.
pub const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
/// Key of the plugin's own list in its configuration: namespaces whose pods may start although the runtime gives no annotations.
pub const EXCLUDE_NAMESPACES: &str = "excludeNamespaces";

/// Field of the status annotation, written by `template` where something else than `istio-init` is to set the rules: how the pod is to be captured,
/// as [`ARGS`] and [`ENV`] of the container [`crate::pod::VALIDATION_CONTAINER`], which checks just that.
pub const CAPTURE: &str = "capture";
/// Field of [`CAPTURE`]: the command line, a list of texts.
pub const ARGS: &str = "args";
/// Field of [`CAPTURE`]: the variables that are texts, as an object.
pub const ENV: &str = "env";

/// Where the node's CNI programs are mounted in the installer's container.
pub const BIN_DIR: &str = "/host/opt/cni/bin";
/// Where the node's network configurations are mounted in the installer's container.
pub const CONF_DIR: &str = "/host/etc/cni/net.d";
