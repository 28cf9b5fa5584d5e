//! `--backend iptables` by either kind of programs, and the change from one back end to another.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use contract::ports;
use istio_init::plan::Families;
use testkit::netns::{Capability, Pod};

use crate::{
    cases::{CASES, INJECTED},
    lab::{APPLICATION, Lab, Listener, Run, connect, generation, loopback_addresses, run_with},
};

const VARIANTS: [&str; 2] = ["nft", "legacy"];

/// Runs the program in the pod with what the older programs need.
fn run(pod: &Pod, flags: &str, env: &[(&str, &str)]) -> Run {
    let capabilities = [
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_RAW,
        // The lock of the legacy programs is a file.
        Capability::CAP_DAC_OVERRIDE,
    ];
    run_with(pod, Some(&capabilities), flags, env)
}

fn by(variant: &str) -> String {
    format!("--backend iptables --force-iptables-binary {variant}")
}

/// The rules that both families have by this kind of programs, comments of theirs left out.
fn saved(pod: &Pod, variant: &str) -> String {
    let each = ["iptables", "ip6tables"].map(|stem| {
        let mut command = Command::new(format!("{stem}-{variant}-save"));
        let output = pod
            .output(&mut command)
            .expect("iptables is installed: run cargo xtask setup");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let lines = each.iter().flat_map(|text| text.lines());
    let rules = lines.filter(|line| line.starts_with("-A ") || line.starts_with(":ISTIO_"));
    rules.map(|line| format!("{line}\n")).collect()
}

fn restore(pod: &Pod, program: &str, script: &str) {
    let file = tempfile::NamedTempFile::new().expect("there is room");
    std::fs::write(file.path(), script).expect("there is room");
    let mut command = Command::new(program);
    let output = pod
        .output(command.arg("--noflush").arg(file.path()))
        .expect("iptables is installed: run cargo xtask setup");
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
fn captures(lab: &Lab, proxy: &Listener) {
    for peer in lab.peer_addresses() {
        let destination = SocketAddr::new(peer, 8080);
        connect(&lab.pod, APPLICATION, destination).expect("the proxy accepts");
        assert_eq!(proxy.accepted(), Some(destination));
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn each_case_comes_into_force_by_iptables_and_is_known_again() {
    for variant in VARIANTS {
        let lab = Lab::new();
        let mut has_ipv6 = true;
        for case in CASES {
            if has_ipv6 != (case.families == Families::V4AndV6) {
                has_ipv6 = !has_ipv6;
                lab.set_ipv6(has_ipv6);
            }
            let flags = format!("{} {}", case.flags, by(variant));
            run(&lab.pod, &flags, case.env).succeeds_saying("rules installed by iptables");
            let rules = saved(&lab.pod, variant);
            assert!(rules.contains("ISTIO_REDIRECT"), "{}: {rules}", case.name);
            run(&lab.pod, &flags, case.env).succeeds_saying("rules unchanged");
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_connection_reaches_the_proxy_by_iptables_too_and_validation_says_so() {
    for variant in VARIANTS {
        let lab = Lab::new();
        let flags = format!("{INJECTED} {} --run-validation", by(variant));
        run(&lab.pod, &flags, &[]).succeeds_saying("rules validated");
        captures(&lab, &Listener::any(&lab.pod, ports::OUTBOUND));
        let proxy = Listener::any(&lab.pod, ports::INBOUND);
        for own in lab.own_addresses() {
            let destination = SocketAddr::new(own, 8080);
            connect(&lab.peer, APPLICATION, destination).expect("the proxy accepts");
            assert_eq!(proxy.accepted(), Some(destination));
        }
    }
}

/// In the same run the new rules come and the old ones go.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn one_back_end_takes_the_place_of_another() {
    let lab = Lab::new();
    let native = "--backend nftables".to_owned();
    let [nft, legacy] = VARIANTS.map(by);
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    for backend in [&nft, &legacy, &native, &nft, &native, &legacy, &nft] {
        run(&lab.pod, &format!("{INJECTED} {backend}"), &[]).succeeds();
        let holders = [
            !saved(&lab.pod, "nft").is_empty(),
            !saved(&lab.pod, "legacy").is_empty(),
            is_native(&lab),
        ];
        let wanted = [backend == &nft, backend == &legacy, backend == &native];
        assert_eq!(holders, wanted, "{backend}");
        captures(&lab, &proxy);
    }
    run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("rules removed");
    assert_eq!(saved(&lab.pod, "nft") + &saved(&lab.pod, "legacy"), "");
    assert!(!loopback_addresses(&lab.pod).contains(&contract::net::INBOUND_SOURCE_V6));
}

/// Whether nf_tables has the one table of ours.
fn is_native(lab: &Lab) -> bool {
    let mut command = Command::new("nft");
    let output = lab
        .pod
        .output(command.args(["list", "table", "inet", "istio-proxy-nat"]))
        .expect("nftables is installed: run cargo xtask setup");
    output.status.success()
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn while_flags_and_back_ends_change_no_connection_goes_uncaptured() {
    let lab = Lab::captured(INJECTED);
    let proxy = Listener::any(&lab.pod, ports::OUTBOUND);
    let destination = SocketAddr::new(IpAddr::from(lab.peer.ip4()), 8080);
    let done = AtomicBool::new(false);
    let n_connections = thread::scope(|scope| {
        let connections = scope.spawn(|| {
            let mut n_connections = 0;
            while !done.load(Ordering::Relaxed) {
                connect(&lab.pod, APPLICATION, destination)
                    .expect("the proxy accepts at every moment");
                assert_eq!(proxy.accepted(), Some(destination));
                n_connections += 1;
            }
            n_connections
        });
        let [nft, legacy] = VARIANTS.map(by);
        for (round, backend) in [&nft, &nft, &legacy, &legacy, &String::new(), &nft]
            .into_iter()
            .enumerate()
        {
            let flags = format!("{INJECTED} -o {} {backend}", 20000 + round);
            run(&lab.pod, &flags, &[]).succeeds();
        }
        done.store(true, Ordering::Relaxed);
        connections.join().expect("no connection failed")
    });
    assert!(n_connections > 20, "{n_connections}");
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn rules_of_others_stay() {
    let others = "*nat\n:OTHERS - [0:0]\n-A OUTPUT -p udp -j OTHERS\n-A OTHERS -j RETURN\nCOMMIT\n*filter\n-A INPUT -p udp -m udp --dport 1 -j DROP\nCOMMIT\n";
    for variant in VARIANTS {
        let lab = Lab::new();
        restore(&lab.pod, &format!("iptables-{variant}-restore"), others);
        let before = saved(&lab.pod, variant);
        run(&lab.pod, &format!("{INJECTED} --backend iptables"), &[])
            .succeeds_saying(&format!("by iptables ({variant})"));
        run(&lab.pod, INJECTED, &[]).succeeds();
        assert_eq!(saved(&lab.pod, variant), before);
        run(&lab.pod, &format!("{INJECTED} {}", by(variant)), &[]).succeeds();
        run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("rules removed");
        assert_eq!(saved(&lab.pod, variant), before);
        let transactions = generation(&lab.pod);
        run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("no rules to remove");
        assert_eq!(generation(&lab.pod), transactions);
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn rules_that_were_changed_by_hand_are_repaired() {
    for variant in VARIANTS {
        let lab = Lab::new();
        let flags = format!("{INJECTED} {}", by(variant));
        run(&lab.pod, &flags, &[]).succeeds();
        let before = saved(&lab.pod, variant);
        for drift in [
            "*nat\n-I ISTIO_OUTPUT 1 -j RETURN\nCOMMIT\n",
            "*nat\n-D ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\nCOMMIT\n",
            "*nat\n-F OUTPUT\nCOMMIT\n",
            "*nat\n:ISTIO_MORE - [0:0]\nCOMMIT\n",
        ] {
            restore(&lab.pod, &format!("iptables-{variant}-restore"), drift);
            run(&lab.pod, &flags, &[]).succeeds_saying("rules installed");
            assert_eq!(saved(&lab.pod, variant), before, "{drift}");
        }
    }
}

/// What is explained is what the namespace has, whatever flags it was made by.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn what_is_in_force_can_be_explained() {
    let lab = Lab::new();
    let explain = |packet: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_istio-init"));
        command.args(["explain", "--live", "--packet", packet]);
        let output = lab.pod.output(&mut command).expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout) + &text(&output.stderr),
        )
    };
    let (status, said) = explain("tcp out 10.0.0.1:80");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("no native rules"), "{said}");
    for case in CASES
        .iter()
        .filter(|case| case.families == Families::V4AndV6)
    {
        run(&lab.pod, case.flags, case.env).succeeds();
        let (status, said) = explain("tcp out 10.0.0.1:80");
        assert_eq!(status, Some(0), "{}: {said}", case.name);
    }
    run(&lab.pod, "-p 7777 -i 10.0.0.0/8 -b ''", &[]).succeeds();
    let (_, said) = explain("tcp out 10.0.0.1:80");
    assert!(
        said.contains("ip daddr 10.0.0.0/8 jump ISTIO_REDIRECT")
            && said.contains("redirected to port 7777"),
        "{said}"
    );
    let mut nft = Command::new("nft");
    nft.args([
        "add",
        "rule",
        "inet",
        "istio-proxy-nat",
        "output",
        "icmp",
        "type",
        "echo-request",
        "accept",
    ]);
    assert!(
        lab.pod
            .output(&mut nft)
            .expect("nftables is installed")
            .status
            .success()
    );
    let (status, said) = explain("tcp out 10.0.0.1:80");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("rule 2 of the chain output"), "{said}");
}

/// Istio's program leaves the same chains, without our comment.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn what_istio_left_in_iptables_goes_only_if_that_is_asked_for() {
    let tproxy = "-m TPROXY -i * -b * --redirect-dns --capture-all-dns";
    for (variant, flags) in [
        ("nft", tproxy),
        ("legacy", tproxy),
        ("nft", INJECTED),
        ("legacy", INJECTED),
    ] {
        let lab = Lab::new();
        let plan = run(
            &lab.pod,
            &format!("{flags} --dry-run --output iptables"),
            &[],
        )
        .succeeds();
        let (v4, v6) = plan
            .split_once("# IPv6")
            .expect("the pod has both families");
        restore(&lab.pod, &format!("iptables-{variant}-restore"), v4);
        restore(
            &lab.pod,
            &format!("ip6tables-{variant}-restore"),
            &format!("#{v6}"),
        );
        restore(
            &lab.pod,
            &format!("iptables-{variant}-restore"),
            "*nat\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT\n",
        );
        let before = saved(&lab.pod, variant);
        run(&lab.pod, "--cleanup-only", &[]).succeeds_saying("no rules to remove");
        assert_eq!(saved(&lab.pod, variant), before);
        run(&lab.pod, &format!("{flags} --cleanup-istio"), &[]).succeeds_saying("rules installed");
        assert_eq!(
            saved(&lab.pod, variant),
            "-A OUTPUT -p udp -j ACCEPT\n",
            "{flags}"
        );
    }
}
