use std::num::{NonZeroU16, NonZeroU32};

use proptest::prelude::*;

use super::*;
use crate::capture::{Destinations, Dns, Inbound, Interception, OwnerGroups};

/// A system with one user and one group.
struct Image;

impl Accounts for Image {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "istio-proxy").then_some(101)
    }

    fn group(&self, name: &str) -> Option<u32> {
        (name == "ftp").then_some(21)
    }
}

fn read(flags: &[&str], env: &[(&str, &str)]) -> (LogOptions, Result<Invocation, UsageError>) {
    let variable = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    parse(
        flags.iter().map(OsString::from).collect(),
        &variable,
        &Image,
    )
}

#[track_caller]
fn config(flags: &[&str], env: &[(&str, &str)]) -> Config {
    match read(flags, env).1 {
        Ok(Invocation::Run(config)) => *config,
        other => panic!("{flags:?} {env:?}: {other:?}"),
    }
}

#[track_caller]
fn problems(flags: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    match read(flags, env).1 {
        Err(error) => error.problems.iter().map(Problem::to_string).collect(),
        Ok(invocation) => panic!("{flags:?} {env:?}: {invocation:?}"),
    }
}

#[test]
fn a_value_may_be_written_in_all_the_ways_of_pflag() {
    for flags in [
        &["-p", "7"][..],
        &["-p7"],
        &["-p=7"],
        &["--envoy-port", "7"],
        &["--envoy-port=7"],
        &["-np7"],
        &["-p", "8", "-p", "7"],
    ] {
        assert_eq!(
            config(flags, &[]).capture.outbound_port,
            NonZeroU16::new(7).expect("not zero"),
            "{flags:?}"
        );
    }
}

#[test]
fn a_switch_may_be_written_in_all_the_ways_of_pflag() {
    let task = |flags: &[&str]| config(flags, &[]).task;
    let shown = Task::ShowPlan(Backend::Nftables);
    for flags in [
        &["-n"][..],
        &["--dry-run"],
        &["--dry-run=true"],
        &["-n=T"],
        &["--dry-run=1"],
        &["-n=false", "-n"],
    ] {
        assert_eq!(task(flags), shown, "{flags:?}");
    }
    for flags in [
        &[][..],
        &["--dry-run=false"],
        &["-n=0"],
        &["-n", "--dry-run=F"],
    ] {
        assert_eq!(task(flags), Task::Apply { force: false }, "{flags:?}");
    }
}

#[test]
fn a_flag_beats_a_variable_and_an_empty_variable_is_none() {
    let port = |flags: &[&str], env: &[(&str, &str)]| config(flags, env).capture.inbound_port.get();
    assert_eq!(port(&[], &[]), 15006);
    assert_eq!(port(&[], &[("INBOUND_CAPTURE_PORT", "7")]), 7);
    assert_eq!(port(&["-z", "8"], &[("INBOUND_CAPTURE_PORT", "7")]), 8);
    assert_eq!(port(&[], &[("INBOUND_CAPTURE_PORT", "")]), 15006);
    // Even one that is empty, or that would be wrong.
    assert_eq!(
        config(&["-b", ""], &[("ISTIO_INBOUND_PORTS", "*")])
            .capture
            .inbound,
        Inbound::None
    );
    assert_eq!(port(&["-z", "8"], &[("INBOUND_CAPTURE_PORT", "x")]), 8);
    // This one never had a variable.
    assert_eq!(
        config(&[], &[("ENVOY_PORT", "7")])
            .capture
            .outbound_port
            .get(),
        15001
    );
}

#[test]
fn a_switch_with_two_variables_is_read_from_either() {
    for env in [
        &[("DROP_INVALID", "true")][..],
        &[("INVALID_DROP", "1")],
        &[("DROP_INVALID", ""), ("INVALID_DROP", "true")],
    ] {
        assert!(config(&[], env).capture.drop_invalid, "{env:?}");
    }
    assert!(
        !config(&["--drop-invalid=false"], &[("DROP_INVALID", "true")])
            .capture
            .drop_invalid
    );
}

#[test]
fn the_name_of_the_command_is_passed_over_where_it_comes_first() {
    for name in ["istio-iptables", "istio-init"] {
        assert_eq!(
            config(&[name, "-p", "7"], &[]).capture.outbound_port.get(),
            7
        );
        assert_eq!(problems(&["-p", "7", name], &[]).len(), 1);
    }
}

#[test]
fn owners_are_numbers_or_names_and_groups_follow_users() {
    let owners = |flags: &[&str], env: &[(&str, &str)]| {
        let capture = config(flags, env).capture;
        (capture.proxy_uids, capture.proxy_gids)
    };
    // The user of the proxy, as the image knows it.
    assert_eq!(owners(&[], &[]), (vec![101], vec![101]));
    assert_eq!(
        owners(&[], &[("ENVOY_USER", "nobody")]),
        (vec![1337], vec![1337])
    );
    assert_eq!(owners(&["-u", "1, 2"], &[]), (vec![1, 2], vec![1, 2]));
    assert_eq!(
        owners(&["-u", "istio-proxy", "-g", "ftp,3"], &[]),
        (vec![101], vec![21, 3])
    );
    assert_eq!(
        owners(&["-u", ""], &[("PROXY_GID", "5")]),
        (vec![101], vec![5])
    );
}

#[test]
fn wildcards_and_lists_mean_all_and_some() {
    let capture = config(&["-i", "*", "-b", "*", "-d", "15020"], &[]).capture;
    assert_eq!(capture.destinations, Destinations::All);
    assert!(matches!(capture.inbound, Inbound::All { except } if except.len() == 1));
    let capture = config(
        &["-i", "10.0.0.0/8, fd00::/8"],
        &[("ISTIO_OUTBOUND_OWNER_GROUPS", "ftp")],
    )
    .capture;
    assert!(matches!(capture.destinations, Destinations::Only(networks) if networks.len() == 2));
    assert_eq!(capture.inbound, Inbound::None);
    assert_eq!(capture.owner_groups, OwnerGroups::Only(vec![21]));
}

#[test]
fn dns_is_captured_only_where_it_is_asked_for_by_that_name() {
    for (flags, env, dns) in [
        (&[][..], &[][..], Dns::Off),
        (&["--capture-all-dns"], &[], Dns::Off),
        (&["--redirect-dns"], &[], Dns::Servers(Vec::new())),
        (
            &[],
            &[("ISTIO_META_DNS_CAPTURE", "true")],
            Dns::Servers(Vec::new()),
        ),
        (&["--redirect-dns", "--capture-all-dns"], &[], Dns::All),
        (
            &["--redirect-dns=false"],
            &[("CAPTURE_ALL_DNS", "true"), ("REDIRECT_DNS", "true")],
            Dns::Off,
        ),
    ] {
        assert_eq!(config(flags, env).capture.dns, dns, "{flags:?} {env:?}");
    }
}

#[test]
fn tproxy_has_a_mark_and_a_table() {
    let interception = |flags: &[&str]| config(flags, &[]).capture.interception;
    let tproxy = |mark, table| Interception::Tproxy {
        mark: NonZeroU32::new(mark).expect("not zero"),
        table: NonZeroU32::new(table).expect("not zero"),
    };
    assert_eq!(interception(&["-m", ""]), Interception::Redirect);
    assert_eq!(
        interception(&["-m", "REDIRECT", "-t", "5"]),
        Interception::Redirect
    );
    assert_eq!(interception(&["-m", "TPROXY"]), tproxy(1337, 133));
    assert_eq!(
        interception(&["-m", "TPROXY", "-t", "4294967295", "-r", "1000"]),
        tproxy(u32::MAX, 1000)
    );
}

#[test]
fn a_port_that_is_included_and_excluded_is_excluded_with_a_warning() {
    let config = config(
        &[
            "-b",
            "80,8000-9000",
            "-d",
            "8080,15020",
            "-q",
            "3306",
            "-o",
            "3306",
        ],
        &[],
    );
    let warnings: Vec<String> = config.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("port 8080 is included by --istio-inbound-ports"))
    );
    assert!(matches!(config.capture.inbound, Inbound::Only { except, .. } if except.len() == 1));
}

/// Flags, variables, and what is said about them.
type Complaint = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

const COMPLAINTS: &[Complaint] = &[
    (
        &["-p", "0"],
        &[],
        "--envoy-port \"0\": expected a port from 1 to 65535",
    ),
    (
        &["-z", "70000"],
        &[],
        "--inbound-capture-port \"70000\" (env INBOUND_CAPTURE_PORT): expected a port from 1 to 65535",
    ),
    (
        &[],
        &[("INBOUND_CAPTURE_PORT", "+1")],
        "INBOUND_CAPTURE_PORT=\"+1\" (flag --inbound-capture-port): expected a port from 1 to 65535",
    ),
    (
        &["-b", "80,,443"],
        &[],
        "--istio-inbound-ports \"80,,443\" (env ISTIO_INBOUND_PORTS): expected a comma list without empty elements",
    ),
    (
        &["-d", "9-8"],
        &[],
        "--istio-local-exclude-ports \"9-8\" (env ISTIO_LOCAL_EXCLUDE_PORTS): expected a range whose first port is the lower one",
    ),
    (
        &["-o", "80,*"],
        &[],
        "--istio-local-outbound-ports-exclude \"*\" (env ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE): expected a port from 1 to 65535 or a range such as 6000-8000",
    ),
    (
        &["-i", "10.0.0.1"],
        &[],
        "--istio-service-cidr \"10.0.0.1\" (env ISTIO_SERVICE_CIDR): expected a network such as 10.0.0.0/8 or fd00::/8, a single address ends in /32 or /128",
    ),
    (
        &["-x", "fd00::/129"],
        &[],
        "--istio-service-exclude-cidr \"fd00::/129\" (env ISTIO_SERVICE_EXCLUDE_CIDR): expected a prefix length of at most 32 for IPv4, 128 for IPv6",
    ),
    (
        &["-x", "::ffff:10.0.0.0/104"],
        &[],
        "--istio-service-exclude-cidr \"::ffff:10.0.0.0/104\" (env ISTIO_SERVICE_EXCLUDE_CIDR): expected an IPv4 network in IPv4's notation",
    ),
    (
        &["-u", "nobody"],
        &[],
        "--proxy-uid \"nobody\" (env PROXY_UID): expected a known user, and this one is not in the image: write its number",
    ),
    (
        &["-u", "4294967295"],
        &[],
        "--proxy-uid \"4294967295\" (env PROXY_UID): expected a user, by its number from 0 to 4294967294 or by its name",
    ),
    (
        &["-m", "FOO"],
        &[],
        "--istio-inbound-interception-mode \"FOO\" (env ISTIO_INBOUND_INTERCEPTION_MODE): expected REDIRECT or TPROXY",
    ),
    (
        &["--dry-run=maybe"],
        &[],
        "--dry-run \"maybe\" (env DRY_RUN): expected true or false",
    ),
    (
        &[],
        &[("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "10.0.0.0/8")],
        "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=\"10.0.0.0/8\": expected an IPv4 loopback network such as 127.0.0.1/32, its prefix 8 to 32",
    ),
    (
        &["--probe-timeout", "5"],
        &[],
        "--probe-timeout \"5\" (env PROBE_TIMEOUT): expected a time span with a unit such as 5s or 500ms",
    ),
    (
        &["-t", "0"],
        &[],
        "--istio-inbound-tproxy-mark \"0\" (env ISTIO_INBOUND_TPROXY_MARK): expected a number from 1 to 4294967295 other than 1338, the mark of what the proxy sends to its own pod",
    ),
    (
        &["-m", "TPROXY", "-r", "254"],
        &[],
        "--istio-inbound-tproxy-route-table \"254\" (env ISTIO_INBOUND_TPROXY_ROUTE_TABLE): expected a number from 1 to 4294967295 other than 253, 254 and 255, the kernel's own tables",
    ),
    (
        &["--output", "json"],
        &[],
        "--output \"json\" (env OUTPUT): expected nft or iptables",
    ),
    (
        &["--log_output_level", "loud"],
        &[],
        "--log_output_level \"loud\": expected levels such as default:info, each one of none, fatal, error, warn, info, debug",
    ),
];

#[test]
fn each_wrong_value_is_named_with_flag_variable_and_expectation() {
    for (flags, env, expected) in COMPLAINTS {
        assert_eq!(problems(flags, env), [*expected]);
    }
    assert!(
        problems(&["-c", "eth0 -j ACCEPT"], &[])[0]
            .starts_with("--istio-exclude-interfaces \"eth0 -j ACCEPT\"")
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (flags, env, origin) in [
        (&["--cni-mode"][..], &[][..], "--cni-mode"),
        (
            &["--network-namespace", "/proc/1/ns/net"],
            &[],
            "--network-namespace",
        ),
        (
            &[],
            &[("DRY_RUN_FILE_PATH", "/tmp/plan")],
            "DRY_RUN_FILE_PATH",
        ),
        (
            &["--dry-run", "--cleanup-only", "--output=iptables"],
            &[],
            "--output \"iptables\"",
        ),
    ] {
        let [problem] =
            <[String; 1]>::try_from(problems(flags, env)).expect("there is one problem");
        assert!(
            problem.starts_with(origin) && problem.ends_with("is not supported, remove it"),
            "{problem}"
        );
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let all = problems(
        &[
            "--frobnicate=1",
            "-y",
            "stray",
            "-p",
            "0",
            "-b",
            "1,x,2,y",
            "-i",
            "10.0.0.0/33",
            "-m",
            "tproxy",
            "--",
            "-p",
            "--envoy-port",
        ],
        &[("DRY_RUN", "perhaps")],
    );
    assert_eq!(all.len(), 11, "{all:#?}");
    assert_eq!(problems(&["-p"], &[]), ["-p needs a value"]);
}

#[test]
fn a_list_that_is_wrong_throughout_does_not_flood_the_log() {
    let ports: Vec<String> = (70_000..90_000).map(|port: u32| port.to_string()).collect();
    assert_eq!(problems(&["-b", &ports.join(",")], &[]).len(), 10);
}

#[test]
fn injected_flags_of_every_generation_are_accepted() {
    let flags = [
        "istio-iptables",
        "-p",
        "15001",
        "-z",
        "15006",
        "-u",
        "1337",
        "-m",
        "REDIRECT",
        "-i",
        "*",
        "-x",
        "",
        "-b",
        "*",
        "-d",
        "15090,15021,15020",
        "-q",
        "",
        "-o",
        "",
        "-k",
        "",
        "-c",
        "",
        "-t",
        "1337",
        "-r",
        "133",
        "--log_output_level=default:info,ads:debug",
        "--log_as_json",
        "--log_target",
        "stdout",
        "--log_caller=",
        "--log_stacktrace_level=default:none",
        "--log_rotate=",
        "--force-apply",
        "--native-nftables",
        "--dual-stack",
        "--reconcile",
        "--run-validation=false",
        "--capture-all-dns",
        "--probe-timeout=1m30.5s",
        "--iptables-probe-port=15002",
        "--cni-mode=false",
        "--vklog",
        "3",
    ];
    let (log, invocation) = read(&flags, &[]);
    assert_eq!(
        log,
        LogOptions {
            format: Format::Json,
            verbose: true
        }
    );
    assert!(
        matches!(invocation, Ok(Invocation::Run(config)) if config.task == Task::Apply { force: true })
    );
}

#[test]
fn levels_above_info_silence_what_is_no_warning() {
    for (level, verbose) in [
        ("default:info", true),
        ("debug", true),
        ("default:warn", false),
        ("none", false),
        ("ads:error", true),
        ("all:error", false),
    ] {
        assert_eq!(
            read(&["--log_output_level", level], &[]).0.verbose,
            verbose,
            "{level}"
        );
    }
}

#[test]
fn the_last_task_asked_for_is_no_surprise() {
    for (flags, task) in [
        (&["--cleanup-only"][..], Task::Cleanup),
        (&["--cleanup-only", "-n"], Task::ShowCleanup),
        (&["--skip-rule-apply"], Task::Nothing),
        (
            &["--skip-rule-apply", "-n"],
            Task::ShowPlan(Backend::Nftables),
        ),
        (
            &["--output=iptables", "-n"],
            Task::ShowPlan(Backend::Iptables),
        ),
        (
            &["--backend=iptables", "-n"],
            Task::ShowPlan(Backend::Iptables),
        ),
        (
            &["--backend=iptables", "-n", "--output", "nft"],
            Task::ShowPlan(Backend::Nftables),
        ),
    ] {
        assert_eq!(config(flags, &[]).task, task, "{flags:?}");
    }
}

#[test]
fn the_back_end_and_its_programs_are_chosen_by_name() {
    for (flags, backend, iptables) in [
        (&[][..], Backend::Nftables, None),
        (&["--backend", "iptables"], Backend::Iptables, None),
        (
            &["--backend=iptables", "--force-iptables-binary=legacy"],
            Backend::Iptables,
            Some(Variant::Legacy),
        ),
    ] {
        let config = config(flags, &[]);
        assert_eq!((config.backend, config.iptables), (backend, iptables));
        assert_eq!(config.warnings, [], "{flags:?}");
    }
    let useless = config(&[], &[("FORCE_IPTABLES_BINARY", "nft")]);
    assert_eq!(useless.warnings, [Warning::NoIptables]);
    assert_eq!(
        problems(&["--backend=ipfw", "--force-iptables-binary=old"], &[]).len(),
        2
    );
}

#[test]
fn validation_has_a_deadline_and_a_port() {
    assert_eq!(config(&["--probe-timeout=1s"], &[]).validation, None);
    let flags = [
        "--run-validation",
        "--probe-timeout=1m0.5s",
        "--iptables-probe-port=7",
    ];
    let wanted = probe::Options {
        timeout: std::time::Duration::from_millis(60_500),
        port: NonZeroU16::new(7).expect("seven is not zero"),
    };
    assert_eq!(config(&flags, &[]).validation, Some(wanted));
}

#[test]
fn help_names_every_option_and_is_wanted_even_where_all_else_is_wrong() {
    let text = help();
    for spec in options::ALL {
        assert!(
            text.contains(&format!("--{}", spec.flag)) || spec.flag.is_empty(),
            "{}",
            spec.flag
        );
        assert!(
            spec.env.iter().all(|name| text.contains(name)),
            "{:?}",
            spec.env
        );
    }
    assert_eq!(
        read(&["-p", "0", "--frobnicate", "-h"], &[]).1,
        Ok(Invocation::Help)
    );
    assert_eq!(read(&["--version"], &[]).1, Ok(Invocation::Version));
}

#[test]
fn no_two_options_share_a_name() {
    let mut names: Vec<String> = Vec::new();
    for spec in options::ALL {
        names.extend((!spec.flag.is_empty()).then(|| format!("--{}", spec.flag)));
        names.extend(spec.short.map(|letter| format!("-{letter}")));
        names.extend(spec.env.iter().map(|name| (*name).to_owned()));
    }
    let total = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), total);
}

proptest! {
    #[test]
    fn any_words_are_read_to_a_result(words in prop::collection::vec("(-|--)?[a-z*=,0-9./:-]{0,12}|\\PC{0,8}", 0..8), value in "\\PC{0,20}") {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (_, outcome) = read(&words, &[("ISTIO_SERVICE_CIDR", &value), ("PROXY_UID", &value), ("PROBE_TIMEOUT", &value)]);
        if let Err(error) = outcome {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn ports_and_ranges_read_back_as_they_are_shown(first in 1u16.., last in 1u16..) {
        let text = format!("{first}-{last}");
        match values::port_range(&text) {
            Ok(range) => prop_assert!(first <= last && (range.to_string() == text || range.is_single())),
            Err(_) => prop_assert!(first > last),
        }
    }
}
