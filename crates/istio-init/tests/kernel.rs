//! The rules in a real kernel: two pods, a proxy that listens, connections of every kind.
//!
//! The kernel's answer counts, not the text of a rule: who accepts a connection, and which
//! destination it was meant for.

#[path = "kernel/backends.rs"]
mod backends;
#[path = "shared/cases.rs"]
mod cases;
#[path = "kernel/cni.rs"]
mod cni;
#[path = "kernel/dns.rs"]
mod dns;
#[path = "kernel/drift.rs"]
mod drift;
#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/ports.rs"]
mod ports_again;
#[path = "kernel/sample.rs"]
mod sample;
#[path = "kernel/tproxy.rs"]
mod tproxy;
#[path = "kernel/validation.rs"]
mod validation;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use cases::Case;
use contract::{ids::PROXY_UID, net, ports};
use istio_init::plan::Families;
use lab::{
    APPLICATION, Lab, Listener, connect, connect_from, generation, loopback_addresses, run,
    run_case, run_with,
};
use testkit::netns::Capability;

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_out_reaches_the_proxy_with_its_destination() {
    let lab = Lab::captured(cases::INJECTED);
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    for peer in lab.peer_addresses() {
        let destination = SocketAddr::new(peer, 8080);
        connect(&lab.pod, APPLICATION, destination).expect("the proxy accepts");
        assert_eq!(proxy.accepted(), Some(destination));
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_of_the_proxy_goes_where_it_is_meant_to() {
    let lab = Lab::captured(cases::INJECTED);
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    let server = Listener::any(&lab.peer, 0);
    for peer in lab.peer_addresses() {
        for owner in [(PROXY_UID, 0), (1000, PROXY_UID)] {
            connect(&lab.pod, owner, SocketAddr::new(peer, server.port()))
                .expect("the server accepts");
            assert!(server.was_reached(), "{owner:?} to {peer}");
            assert!(!proxy.was_reached(), "{owner:?} to {peer}");
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_in_reaches_the_proxy_whatever_its_port() {
    let lab = Lab::captured(cases::INJECTED);
    let proxy = Listener::any(&lab.pod, ports::INBOUND);
    let application = Listener::any(&lab.pod, 0);
    for own in lab.own_addresses() {
        for port in [application.port(), 1, 65535, ports::OUTBOUND] {
            let destination = SocketAddr::new(own, port);
            connect(&lab.peer, APPLICATION, destination).expect("the proxy accepts");
            assert_eq!(proxy.accepted(), Some(destination));
        }
    }
    assert!(!application.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_in_to_an_excluded_port_passes() {
    let lab = Lab::captured(cases::INJECTED);
    let proxy = Listener::any(&lab.pod, ports::INBOUND);
    for port in [
        ports::HBONE,
        ports::STATUS,
        ports::READINESS,
        ports::PROMETHEUS,
    ] {
        let server = Listener::any(&lab.pod, port);
        for own in lab.own_addresses() {
            connect(&lab.peer, APPLICATION, SocketAddr::new(own, port))
                .expect("the server accepts");
            assert!(server.was_reached(), "{port}");
        }
    }
    assert!(!proxy.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn only_listed_inbound_ports_and_ranges_are_captured() {
    let lab = Lab::captured("-i * -b 80,7000-7010,443 -d 7005");
    let proxy = Listener::any(&lab.pod, ports::INBOUND);
    let own = IpAddr::from(lab.pod.ip4());
    for (port, is_captured) in [
        (80, true),
        (443, true),
        (7000, true),
        (7010, true),
        (81, false),
        (6999, false),
        (7011, false),
        (7005, false),
    ] {
        let reached = connect(&lab.peer, APPLICATION, SocketAddr::new(own, port)).is_ok();
        assert_eq!(
            (reached, proxy.was_reached()),
            (is_captured, is_captured),
            "{port}"
        );
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn outbound_capture_follows_networks_and_ports() {
    let lab = Lab::captured(
        "-i 192.0.2.0/24,198.51.100.0/24,2001:db8::/32 -x 192.0.2.7/32,192.0.2.64/26 -q 3306,5000-5010 -o 9999,10-20 -b *",
    );
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    let table = [
        ("192.0.2.1:80", true),
        ("192.0.2.255:80", true),
        ("198.51.100.1:80", true),
        ("[2001:db8::1]:80", true),
        ("192.0.2.7:80", false),
        ("192.0.2.65:80", false),
        ("192.0.3.0:80", false),
        ("203.0.113.1:80", false),
        ("203.0.113.1:3306", true),
        ("203.0.113.1:5010", true),
        ("203.0.113.1:5011", false),
        ("192.0.2.1:9999", false),
        ("192.0.2.1:15", false),
        ("[2001:db9::1]:80", false),
    ];
    for (destination, is_captured) in table {
        let destination: SocketAddr = destination.parse().expect("the table holds addresses");
        // What is not captured leads nowhere: the node forwards nothing.
        let reached = connect(&lab.pod, APPLICATION, destination).is_ok();
        let arrived = proxy.accepted();
        assert_eq!(
            (reached, arrived),
            (is_captured, is_captured.then_some(destination)),
            "{destination}"
        );
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn what_the_application_says_to_itself_passes() {
    let lab = Lab::captured(cases::INJECTED);
    let (outbound, inbound) = (
        Listener::any(&lab.pod, ports::OUTBOUND),
        Listener::any(&lab.pod, ports::INBOUND),
    );
    let application = Listener::any(&lab.pod, 0);
    let localhost = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv4Addr::new(127, 0, 0, 5).into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    for address in localhost.into_iter().chain(lab.own_addresses()) {
        connect(
            &lab.pod,
            APPLICATION,
            SocketAddr::new(address, application.port()),
        )
        .expect("the application accepts");
        assert!(application.was_reached(), "{address}");
    }
    assert!(!outbound.was_reached() && !inbound.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn the_proxy_reaches_its_application_from_its_own_source_address_and_else_passes_the_inbound_side()
{
    let lab = Lab::captured(cases::INJECTED);
    let inbound = Listener::any(&lab.pod, ports::INBOUND);
    let application = Listener::any(&lab.pod, 0);
    let sources = [
        IpAddr::from(net::INBOUND_SOURCE_V4),
        net::INBOUND_SOURCE_V6.into(),
    ];
    for (own, source) in lab.own_addresses().into_iter().zip(sources) {
        let destination = SocketAddr::new(own, application.port());
        connect_from(&lab.pod, (PROXY_UID, PROXY_UID), source, destination)
            .expect("the application accepts");
        assert!(application.was_reached(), "from {source}");
        connect(&lab.pod, (PROXY_UID, PROXY_UID), destination).expect("the inbound side accepts");
        assert_eq!(inbound.accepted(), Some(destination));
    }
    for localhost in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        connect(
            &lab.pod,
            (PROXY_UID, PROXY_UID),
            SocketAddr::new(localhost, application.port()),
        )
        .expect("the application accepts");
        assert!(application.was_reached(), "{localhost}");
    }
    assert!(!inbound.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn udp_is_left_alone() {
    let lab = Lab::captured(cases::INJECTED);
    for peer in lab.peer_addresses() {
        let server = lab
            .peer
            .enter(|| UdpSocket::bind(SocketAddr::new(peer, 0)))
            .expect("a port is free");
        server
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("the limit is not zero");
        let address = server.local_addr().expect("the socket is bound");
        lab::as_owner(&lab.pod, APPLICATION, || {
            let any: IpAddr = if peer.is_ipv4() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                Ipv6Addr::UNSPECIFIED.into()
            };
            UdpSocket::bind(SocketAddr::new(any, 0))?.send_to(b"hello", address)
        })
        .expect("the datagram leaves");
        let mut buffer = [0; 16];
        assert_eq!(server.recv(&mut buffer).expect("the datagram arrives"), 5);
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn an_excluded_interface_has_no_capture_in_either_direction() {
    let lab = Lab::captured("-i * -b * -c eth0");
    let (inbound, outbound) = (
        Listener::any(&lab.pod, ports::INBOUND),
        Listener::any(&lab.pod, ports::OUTBOUND),
    );
    let (here, there) = (Listener::any(&lab.pod, 0), Listener::any(&lab.peer, 0));
    connect(
        &lab.peer,
        APPLICATION,
        SocketAddr::new(lab.pod.ip4().into(), here.port()),
    )
    .expect("the application accepts");
    connect(
        &lab.pod,
        APPLICATION,
        SocketAddr::new(lab.peer.ip6().into(), there.port()),
    )
    .expect("the peer accepts");
    assert!(here.was_reached() && there.was_reached());
    assert!(!inbound.was_reached() && !outbound.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn what_comes_from_a_virtual_machine_is_captured_as_outbound() {
    let lab = Lab::captured("-i * -b * -k eth0");
    let outbound = Listener::any(&lab.pod, ports::OUTBOUND);
    let destination = SocketAddr::new(lab.pod.ip4().into(), 8080);
    connect(&lab.peer, APPLICATION, destination).expect("the proxy accepts");
    assert_eq!(outbound.accepted(), Some(destination));
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn owner_groups_choose_whose_connections_are_captured() {
    let lab = Lab::new();
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    let server = Listener::any(&lab.peer, 0);
    let check = |group: u32, is_captured: bool| {
        connect(
            &lab.pod,
            (1000, group),
            SocketAddr::new(lab.peer.ip4().into(), server.port()),
        )
        .expect("somebody accepts");
        assert_eq!(
            (proxy.was_reached(), server.was_reached()),
            (is_captured, !is_captured),
            "group {group}"
        );
    };
    run(
        &lab.pod,
        "-i * -b *",
        &[("ISTIO_OUTBOUND_OWNER_GROUPS", "202,101")],
    )
    .succeeds();
    for (group, is_captured) in [(202, true), (101, true), (100, false)] {
        check(group, is_captured);
    }
    run(
        &lab.pod,
        "-i * -b *",
        &[("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "202,101")],
    )
    .succeeds();
    for (group, is_captured) in [(202, false), (101, false), (100, true)] {
        check(group, is_captured);
    }
}

/// With the proxy down nothing passes by, in either direction and family.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn without_a_proxy_connections_are_refused() {
    let lab = Lab::captured(cases::INJECTED);
    let (here, there) = (Listener::any(&lab.pod, 0), Listener::any(&lab.peer, 0));
    for (own, peer) in lab.own_addresses().into_iter().zip(lab.peer_addresses()) {
        assert!(connect(&lab.pod, APPLICATION, SocketAddr::new(peer, there.port())).is_err());
        assert!(connect(&lab.peer, APPLICATION, SocketAddr::new(own, here.port())).is_err());
    }
    assert!(!here.was_reached() && !there.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn the_first_run_is_one_transaction_and_the_second_none() {
    let lab = Lab::new();
    let before = generation(&lab.pod);
    run(&lab.pod, cases::INJECTED, &[]).succeeds_saying("rules installed");
    assert_eq!(generation(&lab.pod), before + 1);
    assert!(loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
    run(&lab.pod, cases::INJECTED, &[]).succeeds_saying("rules unchanged");
    assert_eq!(generation(&lab.pod), before + 1);
    run(&lab.pod, &format!("{} --force-apply", cases::INJECTED), &[])
        .succeeds_saying("in the place of others");
    assert_eq!(generation(&lab.pod), before + 2);
}

/// Each case is read back by the program itself before it says success, so this covers every kind
/// of rule and set.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn each_case_comes_into_force_in_one_transaction_whatever_was_there() {
    let lab = Lab::new();
    let mut has_ipv6 = true;
    for case in cases::CASES {
        if has_ipv6 != (case.families == Families::V4AndV6) {
            has_ipv6 = !has_ipv6;
            lab.set_ipv6(has_ipv6);
        }
        let before = generation(&lab.pod);
        run_case(&lab.pod, case, "").succeeds_saying("rules installed");
        assert_eq!(generation(&lab.pod), before + 1, "{}", case.name);
        run_case(&lab.pod, case, "").succeeds_saying("rules unchanged\n");
        assert_eq!(generation(&lab.pod), before + 1, "{}", case.name);
        for output in ["nft", "iptables"] {
            let flags = format!("--dry-run --output={output}");
            let printed = run_case(&lab.pod, case, &flags).succeeds();
            testkit::golden::check(&Case::path(case.name, output), &printed);
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn lists_of_thousands_fit_into_one_transaction() {
    let lab = Lab::new();
    let networks: Vec<String> = (0..4000)
        .map(|i| format!("10.{}.{}.0/25,fd00:{i:x}::/32", i / 250, i % 250))
        .collect();
    let flags = format!("-b * -i {}", networks.join(","));
    let before = generation(&lab.pod);
    run(&lab.pod, &flags, &[]).succeeds();
    assert_eq!(generation(&lab.pod), before + 1);
    run(&lab.pod, &flags, &[]).succeeds_saying("rules unchanged");
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    for (destination, is_captured) in [
        ("10.15.249.127:80", true),
        ("10.15.249.128:80", false),
        ("[fd00:f9f::1]:80", true),
        ("[fd00:fa0::1]:80", false),
    ] {
        let destination = destination.parse().expect("the table holds addresses");
        assert_eq!(
            connect(&lab.pod, APPLICATION, destination).is_ok(),
            is_captured,
            "{destination}"
        );
        assert_eq!(proxy.was_reached(), is_captured, "{destination}");
    }
}

/// Nobody listens behind the proxy, so a connection that is not captured fails.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn while_flags_change_no_connection_goes_uncaptured() {
    let lab = Lab::captured(cases::INJECTED);
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    let destination = SocketAddr::new(lab.peer.ip4().into(), 8080);
    let before = generation(&lab.pod);
    let done = std::sync::atomic::AtomicBool::new(false);
    let n_connections = std::thread::scope(|scope| {
        let connections = scope.spawn(|| {
            let mut n_connections = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                connect(&lab.pod, APPLICATION, destination)
                    .expect("the proxy accepts at every moment");
                assert_eq!(proxy.accepted(), Some(destination));
                n_connections += 1;
            }
            n_connections
        });
        for round in 0..20 {
            run(
                &lab.pod,
                &format!("{} -o {}", cases::INJECTED, 20000 + round),
                &[],
            )
            .succeeds();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        connections.join().expect("no connection failed")
    });
    assert_eq!(generation(&lab.pod), before + 20);
    assert!(n_connections > 20, "{n_connections}");
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn net_admin_alone_is_enough_and_without_it_the_error_names_it() {
    let lab = Lab::new();
    let before = generation(&lab.pod);
    let refused = run_with(
        &lab.pod,
        Some(&[Capability::CAP_NET_RAW]),
        cases::INJECTED,
        &[],
    );
    refused.fails_with(1, "NET_ADMIN");
    assert_eq!(generation(&lab.pod), before);
    assert!(!loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
    run_with(
        &lab.pod,
        Some(&[Capability::CAP_NET_ADMIN]),
        cases::INJECTED,
        &[],
    )
    .succeeds();
    assert_eq!(generation(&lab.pod), before + 1);
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn wrong_flags_leave_the_rules_as_they_are() {
    let lab = Lab::captured(cases::INJECTED);
    let before = generation(&lab.pod);
    for (flags, named) in [
        ("-p 0", "--envoy-port"),
        ("-b 80,http", "http"),
        ("-i 10.0.0.0/33", "10.0.0.0/33"),
        ("-m FOO", "--istio-inbound-interception-mode"),
        ("-m TPROXY -t 0", "--istio-inbound-tproxy-mark"),
        ("--frobnicate", "--frobnicate"),
    ] {
        run(&lab.pod, flags, &[]).fails_with(2, named);
    }
    assert_eq!(generation(&lab.pod), before);
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_dry_run_needs_no_privilege_and_changes_nothing() {
    let lab = Lab::new();
    let before = generation(&lab.pod);
    for output in ["nft", "iptables"] {
        let flags = format!("{} --dry-run --output {output}", cases::INJECTED);
        let printed = run_with(&lab.pod, Some(&[]), &flags, &[]).succeeds();
        let name = Case::path("injected", output);
        testkit::golden::check(&name, &printed);
    }
    assert_eq!(generation(&lab.pod), before);
    assert!(!loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn cleanup_leaves_nothing_and_is_nothing_where_nothing_is() {
    let lab = Lab::captured("-i 10.0.0.0/8,11.0.0.0/8 -b * --drop-invalid -c eth5,eth6");
    run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("rules removed");
    assert!(!loopback_addresses(&lab.pod).contains(&net::INBOUND_SOURCE_V6));
    let server = Listener::any(&lab.pod, 0);
    connect(
        &lab.peer,
        APPLICATION,
        SocketAddr::new(lab.pod.ip4().into(), server.port()),
    )
    .expect("the server accepts");
    let before = generation(&lab.pod);
    run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("no rules to remove");
    assert_eq!(generation(&lab.pod), before);
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn rules_that_somebody_else_sets_are_left_to_them() {
    let lab = Lab::new();
    let before = generation(&lab.pod);
    run_with(
        &lab.pod,
        Some(&[]),
        &format!("{} --skip-rule-apply", cases::INJECTED),
        &[],
    )
    .succeeds_saying("left as they are");
    assert_eq!(generation(&lab.pod), before);
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn where_ipv6_is_off_there_are_no_rules_for_it_until_it_is_on() {
    let lab = Lab::new();
    lab.set_ipv6(false);
    run(&lab.pod, cases::INJECTED, &[]).succeeds();
    let printed = run(&lab.pod, &format!("{} --dry-run", cases::INJECTED), &[]).succeeds();
    testkit::golden::check(&Case::path("injected-without-ipv6", "nft"), &printed);
    lab.set_ipv6(true);
    run(&lab.pod, cases::INJECTED, &[]).succeeds_saying("in the place of others");
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    let destination = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), proxy.port());
    connect(&lab.pod, APPLICATION, destination).expect("the listener accepts");
}
