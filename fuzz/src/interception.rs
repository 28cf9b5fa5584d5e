//! What is done with arbitrary bytes by `istio-init`, and what must hold then.
//!
//! Run under libFuzzer by `cargo xtask fuzz`, and on the corpora by an ordinary test of `istio-init`, which includes this file. A body panics where a promise is broken.

use std::{ffi::OsString, net::Ipv4Addr};

use istio_init::{
    accounts::Accounts,
    answer,
    args::{self, Invocation},
    iptables, nft,
    plan::{Backend, Families, Protocol},
    rules,
    walk::{Direction, Owner, Packet, State, walk},
};

/// An image with one user, who is also a group.
struct Image;

impl Accounts for Image {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "istio-proxy").then_some(1337)
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.user(name)
    }
}

/// The bytes are a command line, a word in each line, those with `$NAME=` in front being variables: it is refused by name, or means the same to both back ends.
pub fn flags(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (variables, words): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('$'));
    let variable = |name: &str| {
        let mut values = variables.iter().filter_map(|line| {
            let (known, value) = line.strip_prefix('$')?.split_once('=')?;
            (known == name).then(|| OsString::from(value))
        });
        values.next()
    };
    let words = words.into_iter().map(OsString::from).collect();
    let config = match args::parse(words, &variable, &Image).1 {
        Ok(Invocation::Run(config)) => config,
        Ok(Invocation::Help | Invocation::Version) => return,
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(
                !error.to_string().contains('\n'),
                "each problem is one line"
            );
            return;
        }
    };
    for families in [Families::V4, Families::V4AndV6] {
        let plan = |backend| rules::plan(&config.capture, families, backend);
        let (nftables, iptables) = (plan(Backend::Nftables), plan(Backend::Iptables));
        assert!(!nft::render(&nftables, false).is_empty());
        assert!(!iptables::render(&iptables).is_empty());
        for direction in [Direction::Incoming, Direction::Outgoing] {
            let packet = packet(direction);
            let verdicts = (
                walk(&nftables, Backend::Nftables, &packet).verdict,
                walk(&iptables, Backend::Iptables, &packet).verdict,
            );
            assert_eq!(verdicts.0, verdicts.1, "{packet:?}");
        }
    }
}

/// The bytes are an answer of the kernel.
pub fn netlink(bytes: &[u8]) {
    let _ = answer::read(bytes);
}

fn packet(direction: Direction) -> Packet {
    Packet {
        direction,
        interface: "eth0".to_owned(),
        source: Ipv4Addr::new(10, 0, 0, 1).into(),
        destination: Ipv4Addr::new(10, 0, 0, 2).into(),
        protocol: Some(Protocol::Tcp),
        source_port: 40000,
        destination_port: 80,
        owner: (direction == Direction::Outgoing).then_some(Owner {
            user: 1000,
            group: 1000,
        }),
        state: State::New,
        mark: 0,
        connection_mark: 0,
        proxy_listens: true,
    }
}
