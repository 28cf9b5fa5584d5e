use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::{
    scheme::{Expected, Facts, Outside, Probe, Way, destinations, owners, probes, shown},
    *,
};
use crate::{
    accounts::Accounts,
    args::{Invocation, parse},
    rules,
    walk::Owner,
};

struct NoAccounts;

impl Accounts for NoAccounts {
    fn user(&self, _: &str) -> Option<u32> {
        None
    }

    fn group(&self, _: &str) -> Option<u32> {
        None
    }
}

fn capture(flags: &str) -> Capture {
    let words = flags.split(' ').map(|word| word.replace("''", "").into());
    match parse(words.collect(), &|_| None, &NoAccounts).1 {
        Ok(Invocation::Run(config)) => config.capture,
        other => panic!("{flags}: {other:?}"),
    }
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("ports of tests are not zero")
}

/// A pod with an address of each family that reaches the world through eth0.
fn facts(capture: &Capture) -> Facts {
    let outside = destinations(capture, &[]).into_iter();
    let outside = outside.map(|destination| Outside {
        destination,
        source: match destination {
            SocketAddr::V4(_) => IpAddr::from([10, 0, 0, 5]),
            SocketAddr::V6(_) => "fd00::5".parse().expect("an address"),
        },
        interface: "eth0".to_owned(),
    });
    let servers = ["127.0.0.1:1", "10.0.0.5:2", "[::1]:3", "[fd00::5]:4"];
    Facts {
        owners: owners(capture).to_vec(),
        servers: servers
            .map(|server| server.parse().expect("an address"))
            .to_vec(),
        outside: outside.collect(),
    }
}

fn probes_of(capture: &Capture, backend: Backend) -> Vec<Probe> {
    let plan = rules::plan(capture, Families::V4AndV6, backend);
    probes(&plan, backend, capture, port(15002), &facts(capture))
}

#[test]
fn an_application_must_be_captured_and_the_proxy_must_not() {
    for backend in [Backend::Nftables, Backend::Iptables] {
        let capture = capture("-i * -b *");
        let probes = probes_of(&capture, backend);
        let outbound = |owner: Owner| {
            let of_owner = probes.iter().filter(move |probe| probe.owner == owner);
            let outbound = of_owner.filter(|probe| probe.way == Way::Outbound);
            outbound.map(|probe| probe.expected).collect::<Vec<_>>()
        };
        let [application, user, group] = owners(&capture);
        assert_eq!(outbound(application), [Expected::Proxy(port(15001)); 2]);
        for proxy in [user, group] {
            assert_eq!(outbound(proxy), [Expected::Elsewhere; 2]);
        }
        assert_eq!(
            shown(&probes, &capture),
            Shown {
                is_read_back: false,
                n_connections: probes.len(),
                outbound: vec![Family::V4, Family::V6],
                inbound: vec![Family::V4, Family::V6],
            }
        );
    }
}

#[test]
fn the_proxys_call_to_the_pod_comes_in_unless_it_is_to_its_application() {
    let capture = capture("-i * -b *");
    let proxy = Owner {
        user: 1337,
        ..owners(&capture)[0]
    };
    let table = [
        ("127.0.0.1", "127.0.0.1:1", Expected::Destination),
        ("10.0.0.5", "10.0.0.5:2", Expected::Proxy(port(15006))),
        ("127.0.0.6", "10.0.0.5:2", Expected::Destination),
        ("::1", "[::1]:3", Expected::Destination),
        ("fd00::5", "[fd00::5]:4", Expected::Proxy(port(15006))),
        ("::6", "[fd00::5]:4", Expected::Destination),
    ];
    let seen: Vec<_> = probes_of(&capture, Backend::Nftables)
        .into_iter()
        .filter(|probe| probe.owner == proxy && probe.way == Way::Inbound)
        .map(|probe| (probe.source, probe.destination, probe.expected))
        .collect();
    let wanted = table.map(|(source, destination, expected)| {
        (
            source.parse().ok(),
            destination.parse().expect("an address"),
            expected,
        )
    });
    assert_eq!(seen, wanted);
}

#[test]
fn where_the_usual_destination_is_not_captured_one_that_is_takes_its_place() {
    for (flags, destinations) in [
        ("-i 10.9.0.0/16", vec!["10.9.0.1:15002"]),
        (
            "-i 10.9.0.0/16,fd99::/16 -o 15002",
            vec!["10.9.0.1:80", "[fd99::]:80"],
        ),
        ("-q 3306", vec!["192.0.2.1:3306", "[2001:db8::1]:3306"]),
        (
            "-i * -x 192.0.2.0/24",
            vec!["198.51.100.1:15002", "[2001:db8::1]:15002"],
        ),
        ("-i ''", vec![]),
    ] {
        let captured = |probe: &Probe| {
            let is_captured = probe.expected == Expected::Proxy(port(15001));
            is_captured.then(|| probe.destination.to_string())
        };
        let probes = probes_of(&capture(flags), Backend::Nftables);
        let seen: Vec<String> = probes.iter().filter_map(captured).collect();
        assert_eq!(seen, destinations, "{flags}");
    }
}

#[test]
fn a_failure_names_direction_family_and_rule() {
    let probes = probes_of(&capture("-i * -b *"), Backend::Nftables);
    let probe = probes.first().expect("there are some").clone();
    let seen = Seen::Unanswered;
    assert_eq!(
        ValidationError::Rules {
            failures: vec![Failure { probe, seen }; 6]
        }
        .to_string()
        .split("; ")
        .next(),
        Some(
            "the rules are not in force: outbound IPv4 from user 65534, group 65534 to 192.0.2.1:15002 must arrive at port 15001, but it left the pod"
        )
    );
    let probe = probes.first().expect("there are some").clone();
    let failure = Failure {
        probe,
        seen: Seen::Stranger,
    }
    .to_string();
    assert!(failure.ends_with("; see the rules output-raw: meta l4proto tcp jump ISTIO_OUTPUT-raw, output: jump ISTIO_OUTPUT, ISTIO_OUTPUT: jump ISTIO_REDIRECT, ISTIO_REDIRECT: meta l4proto tcp counter redirect to :15001"), "{failure}");
}

#[test]
fn neighbours_are_tried_where_nothing_else_is() {
    let own: (SocketAddr, IpNet) = (
        "10.0.0.1:0".parse().expect("an address"),
        "10.0.0.0/24".parse().expect("a network"),
    );
    let host: (SocketAddr, IpNet) = (
        "10.0.0.1:0".parse().expect("an address"),
        "10.0.0.1/32".parse().expect("a network"),
    );
    let tried = destinations(&capture("-i *"), &[host, own]);
    assert_eq!(
        tried.last().map(ToString::to_string),
        Some("10.0.0.2:0".to_owned())
    );
    assert_eq!(tried.len(), 5);
}

proptest! {
    /// What is probed is neither the proxy nor left out by its group, whoever these are.
    #[test]
    fn the_application_is_nobody_whose_connections_pass(users in prop::collection::vec(65500u32..=65535, 1..40), groups in prop::collection::vec(65500u32..=65535, 1..40)) {
        let mut capture = capture("-i * -b *");
        capture.proxy_uids = users;
        capture.proxy_gids = groups;
        let [application, ..] = owners(&capture);
        prop_assert!(!capture.proxy_uids.contains(&application.user));
        prop_assert!(!capture.proxy_gids.contains(&application.group));
        let probes = probes_of(&capture, Backend::Nftables);
        let first = probes.first().map(|probe| probe.expected);
        prop_assert_eq!(first, Some(Expected::Proxy(port(15001))));
    }
}

#[test]
fn a_link_local_neighbour_is_not_tried() {
    let own: SocketAddr = "[fe80::1%2]:0".parse().expect("an address");
    let network = "fe80::/64".parse().expect("a network");
    let tried = destinations(&capture("-i *"), &[(own, network)]);
    assert!(
        tried
            .iter()
            .all(|tried| tried.to_string() != "[fe80::%2]:0"),
        "{tried:?}"
    );
    assert_eq!(tried, destinations(&capture("-i *"), &[]));
}
