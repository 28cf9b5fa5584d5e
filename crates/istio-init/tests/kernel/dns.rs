//! Capture of DNS in a real kernel: questions by UDP and TCP, and the answers to them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use contract::{ids::PROXY_UID, ports};
use testkit::netns::Pod;

use crate::lab::{APPLICATION, Lab, Listener, as_owner, connect, run, run_beside, tool};

const PROXY: (u32, u32) = (PROXY_UID, PROXY_UID);

/// A server that says its name when asked.
struct Server {
    socket: UdpSocket,
    name: &'static str,
}

impl Server {
    fn on(pod: &Pod, address: SocketAddr, name: &'static str) -> Self {
        let socket = pod
            .enter(|| UdpSocket::bind(address))
            .expect("the port is free");
        Self::named(socket, name)
    }

    fn named(socket: UdpSocket, name: &'static str) -> Self {
        let limit = Some(Duration::from_millis(300));
        socket
            .set_read_timeout(limit)
            .expect("the limit is not zero");
        Self { socket, name }
    }

    /// Answers what was asked; nothing if there is no question.
    fn answer(&self) -> Option<SocketAddr> {
        let mut buffer = [0; 64];
        let (_, from) = self.socket.recv_from(&mut buffer).ok()?;
        let sent = self.socket.send_to(self.name.as_bytes(), from);
        sent.expect("the answer leaves");
        Some(from)
    }
}

/// A client that has asked, from this port or any.
fn ask(pod: &Pod, owner: (u32, u32), from: u16, server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    as_owner(pod, owner, || {
        let socket = UdpSocket::bind(SocketAddr::new(any, from))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        // A connected socket takes answers from the one it asked and nobody else.
        socket.connect(server)?;
        socket.send(b"who is there?")?;
        Ok(socket)
    })
}

fn heard(socket: &UdpSocket) -> String {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).expect("there is an answer");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn dns_proxies(lab: &Lab) -> [Server; 2] {
    let any: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    any.map(|address| {
        let address = SocketAddr::new(address, ports::DNS);
        let socket = as_owner(&lab.pod, PROXY, || UdpSocket::bind(address));
        Server::named(socket.expect("the port is free"), "the proxy")
    })
}

/// A lab whose pod asks the peer, in either family.
fn captured(flags: &str) -> Lab {
    let lab = Lab::new();
    let [v4, v6] = lab.peer_addresses();
    let resolver = format!("search svc.cluster.local\nnameserver {v4}\nnameserver {v6}\n");
    run_beside(&lab.pod, &resolver, flags, &[]).succeeds();
    lab
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn questions_to_listed_servers_reach_the_proxy_and_its_answers_come_from_them() {
    let lab = captured("-i * -b * --redirect-dns");
    let proxies = dns_proxies(&lab);
    let tcp = Listener::any(&lab.pod, ports::DNS);
    for (server, proxy) in lab.peer_addresses().into_iter().zip(&proxies) {
        let server = SocketAddr::new(server, ports::DOMAIN);
        let client = ask(&lab.pod, APPLICATION, 0, server).expect("the question leaves");
        assert!(proxy.answer().is_some(), "{server}");
        assert_eq!(heard(&client), "the proxy");
        connect(&lab.pod, APPLICATION, server).expect("the proxy accepts");
        assert_eq!(tcp.accepted(), Some(server));
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn only_questions_to_listed_servers_are_captured_unless_all_are() {
    for (flags, is_captured) in [
        ("--redirect-dns", false),
        ("--redirect-dns --capture-all-dns", true),
    ] {
        let lab = Lab::new();
        let flags = format!("-i * -b * {flags}");
        run_beside(
            &lab.pod,
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
            &flags,
            &[],
        )
        .succeeds();
        let proxies = dns_proxies(&lab);
        for (address, proxy) in lab.peer_addresses().into_iter().zip(&proxies) {
            let address = SocketAddr::new(address, ports::DOMAIN);
            let server = Server::on(&lab.peer, address, "the server");
            let client = ask(&lab.pod, APPLICATION, 0, address).expect("the question leaves");
            let answered = (proxy.answer().is_some(), server.answer().is_some());
            assert_eq!(answered, (is_captured, !is_captured), "{address}");
            heard(&client);
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn the_proxy_asks_its_servers_even_from_the_port_of_an_application() {
    let lab = captured("-i * -b * --redirect-dns --capture-all-dns");
    let proxies = dns_proxies(&lab);
    for (address, proxy) in lab.peer_addresses().into_iter().zip(&proxies) {
        let address = SocketAddr::new(address, ports::DOMAIN);
        let server = Server::on(&lab.peer, address, "the server");
        let client = ask(&lab.pod, APPLICATION, 0, address).expect("the question leaves");
        assert!(proxy.answer().is_some());
        let port = client.local_addr().expect("it is bound").port();
        assert_eq!(heard(&client), "the proxy");
        drop(client);
        // Connection tracking still knows the application's question from this very port.
        let client = ask(&lab.pod, PROXY, port, address).expect("the question leaves");
        assert!(server.answer().is_some(), "{address}");
        assert_eq!(heard(&client), "the server");
        assert!(proxy.answer().is_none());
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn questions_to_a_server_in_the_pod_are_captured_too() {
    let lab = Lab::new();
    run_beside(
        &lab.pod,
        "nameserver 127.0.0.53\n",
        "-i * -b * --redirect-dns",
        &[],
    )
    .succeeds();
    let proxies = dns_proxies(&lab);
    let server = SocketAddr::from(([127, 0, 0, 53], ports::DOMAIN));
    let client = ask(&lab.pod, APPLICATION, 0, server).expect("the question leaves");
    assert!(proxies[0].answer().is_some());
    assert_eq!(heard(&client), "the proxy");
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn other_datagrams_and_excluded_ports_pass() {
    for (flags, port) in [
        ("--redirect-dns --capture-all-dns", 5353),
        ("--redirect-dns --capture-all-dns -o 53", ports::DOMAIN),
    ] {
        let lab = captured(&format!("-i * -b * {flags}"));
        for address in lab.peer_addresses() {
            let address = SocketAddr::new(address, port);
            let server = Server::on(&lab.peer, address, "the server");
            let client = ask(&lab.pod, APPLICATION, 0, address).expect("the datagram leaves");
            assert!(server.answer().is_some(), "{address}");
            assert_eq!(heard(&client), "the server");
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn without_a_server_there_is_a_warning_and_no_rule_for_dns() {
    let lab = Lab::new();
    let flags = "-i * -b * --redirect-dns";
    run_beside(&lab.pod, "search example.com\n", flags, &[])
        .succeeds_saying("warn --redirect-dns captures nothing");
    assert!(!tool(&lab.pod, "nft list ruleset").contains("15053"));
    run(&lab.pod, "-i * -b *", &[]).succeeds_saying("rules unchanged\n");
}
