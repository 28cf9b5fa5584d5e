//! The table of options: each flag with its shorthand, variables, default and meaning.
//!
//! Read by the parser, the checks and the help text. Names, shorthands, variables and defaults are
//! those of Istio's `istio-iptables` command; `--backend` and `--output` are ours.

/// One option.
#[derive(Debug)]
pub(super) struct Spec {
    /// The flag without dashes; empty if there is only a variable.
    pub(super) flag: &'static str,
    /// The flag's one-letter form.
    pub(super) short: Option<char>,
    /// Variables that give a default, the first one that is set counts.
    pub(super) env: &'static [&'static str],
    /// What the flag takes.
    pub(super) takes: Takes,
    /// The value where neither flag nor variable gives one.
    pub(super) default: &'static str,
    /// What it is for, for the help text.
    pub(super) help: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, or a boolean behind an equals sign.
    Nothing,
    /// A value, shown by this word in the help text.
    Value(&'static str),
}

/// Declares the options and the table of them all, in the order of the help text.
macro_rules! options {
    ($($name:ident: $flag:literal, $short:expr, [$($env:literal),*], $takes:expr, $default:literal, $help:literal;)*) => {
        $(pub(super) static $name: Spec = Spec {
            flag: $flag, short: $short, env: &[$($env),*], takes: $takes, default: $default, help: $help,
        };)*
        /// Every option.
        pub(super) static ALL: &[&Spec] = &[$(&$name),*];
    };
}

const SWITCH: Takes = Takes::Nothing;
const PORT: Takes = Takes::Value("PORT");
const PORTS: Takes = Takes::Value("PORTS");
const CIDRS: Takes = Takes::Value("CIDRS");
const OWNERS: Takes = Takes::Value("OWNERS");
const NAMES: Takes = Takes::Value("NAMES");
const TEXT: Takes = Takes::Value("VALUE");

options! {
    ENVOY_PORT: "envoy-port", Some('p'), [], PORT, "15001", "redirect outbound connections to this port";
    INBOUND_CAPTURE_PORT: "inbound-capture-port", Some('z'), ["INBOUND_CAPTURE_PORT"], PORT, "15006", "redirect inbound connections to this port";
    INBOUND_TUNNEL_PORT: "inbound-tunnel-port", Some('e'), ["INBOUND_TUNNEL_PORT"], PORT, "15008", "HBONE port, never redirected inbound";
    PROXY_UID: "proxy-uid", Some('u'), ["PROXY_UID"], OWNERS, "", "users whose traffic passes; the user ENVOY_USER, else 1337";
    PROXY_GID: "proxy-gid", Some('g'), ["PROXY_GID"], OWNERS, "", "groups whose traffic passes; the same as --proxy-uid";
    MODE: "istio-inbound-interception-mode", Some('m'), ["ISTIO_INBOUND_INTERCEPTION_MODE"], TEXT, "", "how inbound connections come to the proxy: REDIRECT (also if empty) or TPROXY";
    INBOUND_PORTS: "istio-inbound-ports", Some('b'), ["ISTIO_INBOUND_PORTS"], PORTS, "", "capture these inbound ports; * for all, empty for none";
    LOCAL_EXCLUDE_PORTS: "istio-local-exclude-ports", Some('d'), ["ISTIO_LOCAL_EXCLUDE_PORTS"], PORTS, "", "let these inbound ports pass";
    SERVICE_CIDR: "istio-service-cidr", Some('i'), ["ISTIO_SERVICE_CIDR"], CIDRS, "", "capture these destinations; * for all, empty for none";
    SERVICE_EXCLUDE_CIDR: "istio-service-exclude-cidr", Some('x'), ["ISTIO_SERVICE_EXCLUDE_CIDR"], CIDRS, "", "let these destinations pass";
    OUTBOUND_PORTS: "istio-outbound-ports", Some('q'), ["ISTIO_OUTBOUND_PORTS"], PORTS, "", "capture these outbound ports whatever the destination";
    OUTBOUND_PORTS_EXCLUDE: "istio-local-outbound-ports-exclude", Some('o'), ["ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"], PORTS, "", "let these outbound ports pass";
    EXCLUDE_INTERFACES: "istio-exclude-interfaces", Some('c'), ["ISTIO_EXCLUDE_INTERFACES"], NAMES, "", "no capture on these interfaces";
    KUBE_VIRT_INTERFACES: "kube-virt-interfaces", Some('k'), ["KUBE_VIRT_INTERFACES"], NAMES, "", "what comes in here are calls of virtual machines, captured as outbound";
    OWNER_GROUPS: "", None, ["ISTIO_OUTBOUND_OWNER_GROUPS"], OWNERS, "*", "capture outbound connections of these groups; * for all";
    OWNER_GROUPS_EXCLUDE: "", None, ["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"], OWNERS, "", "let outbound connections of these groups pass";
    LOOPBACK_CIDR: "", None, ["ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"], TEXT, "127.0.0.1/32", "IPv4 destinations that count as the pod itself";
    ENVOY_USER: "", None, ["ENVOY_USER"], TEXT, "istio-proxy", "user of the proxy where --proxy-uid is not given";
    DROP_INVALID: "drop-invalid", None, ["DROP_INVALID", "INVALID_DROP"], SWITCH, "false", "drop packets that connection tracking finds invalid";
    DUAL_STACK: "dual-stack", None, ["DUAL_STACK", "ISTIO_DUAL_STACK"], SWITCH, "false", "accepted: both families are always captured where the pod has both";
    BACKEND: "backend", None, ["BACKEND"], TEXT, "nftables", "nftables, by netlink; or iptables, by iptables-restore, for nodes without nf_tables";
    NATIVE_NFTABLES: "native-nftables", None, ["NATIVE_NFTABLES"], SWITCH, "false", "accepted: nf_tables is what is used";
    DRY_RUN: "dry-run", Some('n'), ["DRY_RUN"], SWITCH, "false", "print the plan and change nothing";
    OUTPUT: "output", None, ["OUTPUT"], TEXT, "", "form of the printed plan: nft or iptables; that of --backend unless given";
    CLEANUP_ONLY: "cleanup-only", None, ["CLEANUP_ONLY"], SWITCH, "false", "remove the rules and set none";
    CLEANUP_ISTIO: "cleanup-istio", None, ["CLEANUP_ISTIO"], SWITCH, "false", "also remove what an Istio init container left: its chains in iptables, its native tables, and its routing rules and routes for the mark and table of TPROXY";
    SKIP_RULE_APPLY: "skip-rule-apply", None, ["SKIP_RULE_APPLY"], SWITCH, "false", "leave everything as it is: somebody else sets the rules";
    RECONCILE: "reconcile", None, ["RECONCILE"], SWITCH, "false", "accepted: rules that differ are always replaced, in one transaction";
    FORCE_APPLY: "force-apply", None, ["FORCE_APPLY"], SWITCH, "false", "replace the rules even if they are as they should be";
    RUN_VALIDATION: "run-validation", None, ["RUN_VALIDATION"], SWITCH, "false", "afterwards make connections that show whether the rules are in force";
    IPTABLES_PROBE_PORT: "iptables-probe-port", None, ["IPTABLES_PROBE_PORT"], PORT, "15002", "port of other hosts that --run-validation connects to";
    PROBE_TIMEOUT: "probe-timeout", None, ["PROBE_TIMEOUT"], Takes::Value("DURATION"), "5s", "--run-validation gives up after this time";
    REDIRECT_DNS: "redirect-dns", None, ["REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"], SWITCH, "false", "capture questions to the DNS servers in /etc/resolv.conf";
    CAPTURE_ALL_DNS: "capture-all-dns", None, ["CAPTURE_ALL_DNS"], SWITCH, "false", "with --redirect-dns: capture questions to any DNS server";
    TPROXY_MARK: "istio-inbound-tproxy-mark", Some('t'), ["ISTIO_INBOUND_TPROXY_MARK"], TEXT, "1337", "packet mark for TPROXY, not 1338";
    TPROXY_ROUTE_TABLE: "istio-inbound-tproxy-route-table", Some('r'), ["ISTIO_INBOUND_TPROXY_ROUTE_TABLE"], TEXT, "133", "routing table for TPROXY, not 253 to 255";
    FORCE_IPTABLES_BINARY: "force-iptables-binary", None, ["FORCE_IPTABLES_BINARY"], TEXT, "", "legacy or nft: which iptables --backend iptables uses; the one that is in use unless given";
    NETWORK_NAMESPACE: "network-namespace", None, ["NETWORK_NAMESPACE"], TEXT, "", "refused: the rules are for the namespace of the process";
    CNI_MODE: "cni-mode", None, ["CNI_MODE"], SWITCH, "false", "refused";
    DRY_RUN_FILE_PATH: "", None, ["DRY_RUN_FILE_PATH"], TEXT, "", "refused: the plan goes to standard output";
    LOG_AS_JSON: "log_as_json", None, [], SWITCH, "false", "write log lines as JSON";
    LOG_OUTPUT_LEVEL: "log_output_level", None, [], Takes::Value("LEVELS"), "default:info", "warn, error, fatal or none silence what is no warning";
    LOG_STACKTRACE_LEVEL: "log_stacktrace_level", None, [], Takes::Value("LEVELS"), "default:none", "accepted, no effect";
    LOG_CALLER: "log_caller", None, [], Takes::Value("SCOPES"), "", "accepted, no effect";
    LOG_TARGET: "log_target", None, [], Takes::Value("PATHS"), "stderr", "accepted, lines go to standard error";
    LOG_ROTATE: "log_rotate", None, [], Takes::Value("PATH"), "", "accepted, no effect";
    LOG_ROTATE_MAX_AGE: "log_rotate_max_age", None, [], Takes::Value("DAYS"), "30", "accepted, no effect";
    LOG_ROTATE_MAX_BACKUPS: "log_rotate_max_backups", None, [], Takes::Value("COUNT"), "1000", "accepted, no effect";
    LOG_ROTATE_MAX_SIZE: "log_rotate_max_size", None, [], Takes::Value("MEGABYTES"), "104857600", "accepted, no effect";
    VKLOG: "vklog", None, [], Takes::Value("LEVEL"), "0", "accepted, no effect";
    HELP: "help", Some('h'), [], SWITCH, "false", "print this text";
    VERSION: "version", None, [], SWITCH, "false", "print the version";
}
