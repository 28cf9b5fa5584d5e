//! The kernel lab itself: pods reach each other and nothing else, programs run inside with the capabilities asked for.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use testkit::netns::{Capability, Node};

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn pods_of_a_node_reach_each_other_over_both_families() {
    let node = Node::new().unwrap();
    let (a, b) = (node.pod().unwrap(), node.pod().unwrap());
    for ip in [IpAddr::V4(b.ip4()), IpAddr::V6(b.ip6())] {
        let listener = b.enter(|| TcpListener::bind((ip, 8080)).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(b"here").unwrap());
            let mut heard = String::new();
            a.enter(|| TcpStream::connect((ip, 8080)).unwrap())
                .read_to_string(&mut heard)
                .unwrap();
            assert_eq!(heard, "here");
        });
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn pods_of_different_nodes_do_not_reach_each_other() {
    let (one, other) = (Node::new().unwrap(), Node::new().unwrap());
    let (a, b) = (one.pod().unwrap(), other.pod().unwrap());
    assert_eq!(
        a.ip4(),
        b.ip4(),
        "nodes are apart, so that tests can use the same addresses"
    );
    let _listener = b.enter(|| TcpListener::bind((b.ip4(), 8080)).unwrap());
    let address = (IpAddr::V4(b.ip4()), 8080).into();
    a.enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_program_has_no_capability_but_those_asked_for() {
    let node = Node::new().unwrap();
    let pod = node.pod().unwrap();
    let output = pod
        .output_with(
            &[Capability::CAP_NET_ADMIN],
            Command::new("grep").args(["CapEff", "/proc/self/status"]),
        )
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "CapEff:\t0000000000001000"
    );
}
