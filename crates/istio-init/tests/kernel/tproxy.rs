//! TPROXY in a real kernel: who gets a connection, with which addresses, and what is left of the
//! routes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
};

use contract::{
    ids::{PROXY_GID, TPROXY_MARK},
    net, ports,
};
use nix::sys::socket::{setsockopt, sockopt};
use testkit::netns::{Capability, Pod};

use crate::{
    cases,
    lab::{
        APPLICATION, Lab, Listener, as_owner, connect, connect_from, generation,
        loopback_addresses, run, run_with, tool, tool_reading,
    },
};

const RULE: &str = "fwmark 0x539 lookup 133";
/// Under TPROXY the proxy has to be root, and is known by its group.
const PROXY: (u32, u32) = (0, PROXY_GID);

/// Rules and routes of both families that lead marked packets to the pod.
fn routing(pod: &Pod) -> (usize, usize) {
    let both = |command: &str| {
        tool(pod, &format!("ip -4 {command}")) + &tool(pod, &format!("ip -6 {command}"))
    };
    let rules = both("rule list");
    let routes = both("route list table all");
    let rules = rules.lines().filter(|line| line.contains(RULE)).count();
    let is_ours =
        |line: &&str| line.starts_with("local default dev lo") && line.contains("table 133");
    (rules, routes.lines().filter(is_ours).count())
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_in_reaches_the_proxy_with_both_its_addresses() {
    let lab = Lab::captured(cases::TPROXY);
    let proxy = Listener::transparent(&lab.pod, ports::INBOUND);
    let application = Listener::any(&lab.pod, 0);
    for (own, peer) in lab.own_addresses().into_iter().zip(lab.peer_addresses()) {
        // The tunnel's port is captured too.
        for port in [application.port(), 1, 65535, ports::HBONE] {
            let destination = SocketAddr::new(own, port);
            connect(&lab.peer, APPLICATION, destination).expect("the proxy accepts");
            let (to, from) = proxy.accepted_as_is().expect("somebody came");
            assert_eq!((to, from.ip()), (destination, peer));
        }
    }
    assert!(!application.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn excluded_and_unlisted_ports_pass() {
    for (flags, port, is_captured) in [
        (cases::TPROXY, ports::READINESS, false),
        ("-m TPROXY -b 80,7000-7010 -d 7005", 7010, true),
        ("-m TPROXY -b 80,7000-7010 -d 7005", 7005, false),
        ("-m TPROXY -b 80,7000-7010 -d 7005", 7011, false),
        ("-m TPROXY -i * -b ''", 80, false),
        ("-m TPROXY -b * -c eth0", 80, false),
    ] {
        let lab = Lab::captured(flags);
        let proxy = Listener::transparent(&lab.pod, ports::INBOUND);
        let application = Listener::any(&lab.pod, port);
        for own in lab.own_addresses() {
            connect(&lab.peer, APPLICATION, SocketAddr::new(own, port)).expect("somebody accepts");
            assert_eq!(
                (proxy.was_reached(), application.was_reached()),
                (is_captured, !is_captured),
                "{flags}: {own} {port}"
            );
        }
    }
}

/// As a transparent proxy does it: in the client's name and with the mark.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn the_proxy_reaches_its_application_in_the_clients_name() {
    let lab = Lab::captured(cases::TPROXY);
    let proxy = Listener::transparent(&lab.pod, ports::INBOUND);
    let application = Listener::any(&lab.pod, 0);
    for (own, peer) in lab.own_addresses().into_iter().zip(lab.peer_addresses()) {
        let destination = SocketAddr::new(own, application.port());
        let answered = as_owner(&lab.pod, PROXY, || marked_connection(peer, destination));
        answered.expect("the application's answer comes back to the proxy");
        let (_, from) = application.accepted_as_is().expect("somebody came");
        assert_eq!(from.ip(), peer);
        assert!(!proxy.was_reached());
    }
}

fn marked_connection(source: IpAddr, destination: SocketAddr) -> std::io::Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
    setsockopt(&socket, sockopt::IpTransparent, &true)?;
    socket.set_mark(TPROXY_MARK)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&destination.into(), std::time::Duration::from_secs(2))?;
    Ok(socket.into())
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn what_the_pod_says_to_itself_passes_and_what_its_proxy_says_to_it_does_not() {
    let lab = Lab::captured(cases::TPROXY);
    let proxy = Listener::transparent(&lab.pod, ports::INBOUND);
    let application = Listener::any(&lab.pod, 0);
    let localhost = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ];
    for address in localhost.into_iter().chain(lab.own_addresses()) {
        let destination = SocketAddr::new(address, application.port());
        connect(&lab.pod, APPLICATION, destination).expect("the application accepts");
        assert!(
            application.was_reached() && !proxy.was_reached(),
            "{address}"
        );
    }
    let sources = [
        IpAddr::from(net::INBOUND_SOURCE_V4),
        net::INBOUND_SOURCE_V6.into(),
    ];
    for (own, source) in lab.own_addresses().into_iter().zip(sources) {
        let destination = SocketAddr::new(own, application.port());
        connect(&lab.pod, PROXY, destination).expect("the proxy accepts");
        assert!(proxy.was_reached() && !application.was_reached(), "{own}");
        connect_from(&lab.pod, PROXY, source, destination).expect("the application accepts");
        assert!(
            application.was_reached() && !proxy.was_reached(),
            "{source}"
        );
    }
}

/// The client waits for an answer that does not come, rather than reach the application.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn without_a_proxy_connections_are_dropped() {
    let lab = Lab::captured(cases::TPROXY);
    let application = Listener::any(&lab.pod, 0);
    for own in lab.own_addresses() {
        let destination = SocketAddr::new(own, application.port());
        let error = connect(&lab.peer, APPLICATION, destination).expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{own}");
    }
    // A socket that is not transparent is not the proxy's.
    let _other = Listener::any(&lab.pod, ports::INBOUND);
    for own in lab.own_addresses() {
        let destination = SocketAddr::new(own, application.port());
        assert!(
            connect(&lab.peer, APPLICATION, destination).is_err(),
            "{own}"
        );
    }
    assert!(!application.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn where_the_loopback_interface_has_no_ipv6_nothing_is_left_and_the_message_names_the_sysctl() {
    let lab = Lab::new();
    let switch = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";
    let written = lab.pod.enter(|| std::fs::write(switch, "1"));
    written.expect("the switch can be written");
    let before = generation(&lab.pod);
    let refused = run(&lab.pod, cases::TPROXY, &[]);
    refused.fails_with(1, "net.ipv6.conf.lo.disable_ipv6");
    assert_eq!((routing(&lab.pod), generation(&lab.pod)), ((0, 0), before));
}

/// The application does not listen, so a connection that the proxy does not get fails.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn while_the_mode_changes_no_connection_passes_the_proxy_by() {
    let lab = Lab::captured(cases::INJECTED);
    let proxy = Listener::transparent(&lab.pod, ports::INBOUND);
    let before = generation(&lab.pod);
    let done = AtomicBool::new(false);
    let n_connections = std::thread::scope(|scope| {
        let connections = scope.spawn(|| {
            let mut n_connections = 0;
            while !done.load(Ordering::Relaxed) {
                for own in lab.own_addresses() {
                    let destination = SocketAddr::new(own, 8080);
                    connect(&lab.peer, APPLICATION, destination)
                        .expect("the proxy accepts at every moment");
                    assert!(proxy.was_reached());
                    n_connections += 1;
                }
            }
            n_connections
        });
        for round in 0..20 {
            let flags = [cases::TPROXY, cases::INJECTED][round % 2];
            run(&lab.pod, flags, &[]).succeeds();
        }
        done.store(true, Ordering::Relaxed);
        connections.join().expect("no connection failed")
    });
    assert_eq!(generation(&lab.pod), before + 20);
    assert!(n_connections > 20, "{n_connections}");
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn there_is_one_routing_rule_and_one_route_for_each_family_however_often_it_runs() {
    let lab = Lab::new();
    assert_eq!(routing(&lab.pod), (0, 0));
    let before = generation(&lab.pod);
    run(&lab.pod, cases::TPROXY, &[]).succeeds_saying("rules installed");
    for _ in 0..3 {
        run(&lab.pod, cases::TPROXY, &[]).succeeds_saying("rules unchanged\n");
    }
    assert_eq!(
        (routing(&lab.pod), generation(&lab.pod)),
        ((2, 2), before + 1)
    );
    run(&lab.pod, "-m TPROXY -i * -b ''", &[]).succeeds();
    assert_eq!(routing(&lab.pod), (0, 0), "nothing inbound is captured");
    lab.set_ipv6(false);
    run(&lab.pod, cases::TPROXY, &[]).succeeds();
    assert_eq!(routing(&lab.pod), (1, 1), "IPv6 is off");
    run(&lab.pod, cases::INJECTED, &[]).succeeds();
    assert_eq!(routing(&lab.pod), (0, 0), "connections are redirected");
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn routes_that_somebody_removed_or_added_are_put_right_without_a_transaction() {
    let lab = Lab::captured(cases::TPROXY);
    let before = generation(&lab.pod);
    tool(&lab.pod, "ip -4 rule del fwmark 1337");
    tool(&lab.pod, "ip -6 route flush table 133");
    run(&lab.pod, cases::TPROXY, &[]).succeeds_saying("repaired");
    assert_eq!((routing(&lab.pod), generation(&lab.pod)), ((2, 2), before));
    run(&lab.pod, cases::TPROXY, &[]).succeeds_saying("rules unchanged\n");
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn cleanup_finds_routes_with_any_mark_and_table_and_leaves_those_of_others() {
    let lab = Lab::new();
    tool(&lab.pod, "ip rule add fwmark 7 lookup 500 priority 400");
    tool(&lab.pod, "ip route add local default dev lo table 500");
    tool(&lab.pod, "ip rule add fwmark 1337 lookup 133 priority 9");
    let others = || tool(&lab.pod, "ip rule list") + &tool(&lab.pod, "ip route list table all");
    let before = others();
    run(
        &lab.pod,
        &format!("{} -t 4660 -r 70000", cases::TPROXY),
        &[],
    )
    .succeeds();
    assert!(
        others().contains("fwmark 0x1234 lookup 70000"),
        "{}",
        others()
    );
    run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("rules removed");
    assert_eq!(others(), before);
    assert_eq!(loopback_addresses(&lab.pod), [Ipv6Addr::LOCALHOST]);
    let before = generation(&lab.pod);
    run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("no rules to remove");
    assert_eq!(generation(&lab.pod), before);
}

/// What Istio's program leaves behind: its tables, and a routing rule more with every run.
const ISTIO: &str = "
    add table inet istio-proxy-mangle
    add chain inet istio-proxy-mangle istio-inbound { type filter hook prerouting priority -150; }
    add rule inet istio-proxy-mangle istio-inbound tcp dport 80 drop
    add table inet istio-proxy-raw
    add table inet istio-proxy-nat
    add chain inet istio-proxy-nat istio-output
    add table inet of-somebody-else
";

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn what_istio_left_is_removed_if_asked_and_only_then() {
    let lab = Lab::new();
    let leave = || {
        tool_reading(&lab.pod, "nft -f -", ISTIO).expect("nft takes it");
        for _ in 0..3 {
            tool(&lab.pod, "ip rule add fwmark 1337 lookup 133");
        }
        tool(&lab.pod, "ip route add local 0.0.0.0/0 dev lo table 133");
    };
    let tables = || tool(&lab.pod, "nft list tables");
    leave();
    run(&lab.pod, "--cleanup-only", &[]).succeeds();
    assert_eq!(
        (routing(&lab.pod), tables().lines().count()),
        ((3, 1), 3),
        "{}",
        tables()
    );
    run(&lab.pod, "--cleanup-only --cleanup-istio", &[]).succeeds();
    assert_eq!(
        (routing(&lab.pod), tables().trim()),
        ((0, 0), "table inet of-somebody-else")
    );
    leave_again_and_take_over(&lab, leave);
    assert_eq!(
        (routing(&lab.pod), tables().lines().count()),
        ((2, 2), 2),
        "{}",
        tables()
    );
}

/// Taking over is one transaction, so that there is no gap.
fn leave_again_and_take_over(lab: &Lab, leave: impl Fn()) {
    leave();
    let flags = format!("{} --cleanup-istio", cases::TPROXY);
    let before = generation(&lab.pod);
    run(&lab.pod, &flags, &[]).succeeds_saying("in the place of others");
    run(&lab.pod, &flags, &[]).succeeds_saying("rules unchanged\n");
    assert_eq!(generation(&lab.pod), before + 1);
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn where_a_route_cannot_be_added_nothing_is_left_and_the_message_names_it() {
    let lab = Lab::new();
    // IPv6 has no route through an interface that is down; IPv4's is added and taken back.
    tool(&lab.pod, "ip link set lo down");
    let before = generation(&lab.pod);
    let refused = run_with(
        &lab.pod,
        Some(&[Capability::CAP_NET_ADMIN]),
        cases::TPROXY,
        &[],
    );
    refused.fails_with(
        1,
        "cannot add the route \"local default dev lo table 133\" for IPv6",
    );
    assert_eq!((routing(&lab.pod), generation(&lab.pod)), ((0, 0), before));
}
