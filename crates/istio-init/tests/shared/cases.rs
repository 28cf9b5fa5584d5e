//! Named cases: command lines that stand for all that can be asked for.
//!
//! Each is rendered to golden files by `golden.rs` and applied to a real kernel by `kernel.rs`;
//! none names a user or a group, which would depend on the machine.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use istio_init::{
    accounts::Accounts,
    args::{self, Invocation},
    capture::{Capture, Dns},
    plan::Families,
};

/// A command line and the families of the namespace that it runs in.
pub(crate) struct Case {
    /// Also the name of its golden files.
    pub(crate) name: &'static str,
    /// Flags, separated by blanks; `''` is an empty value.
    pub(crate) flags: &'static str,
    /// Variables, `NAME=value`.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// The families.
    pub(crate) families: Families,
    /// The DNS servers of the container.
    pub(crate) dns_servers: &'static [&'static str],
}

/// What an injected pod passes.
pub(crate) const INJECTED: &str = "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x '' -b * -d 15090,15021,15020 --log_output_level=default:info";

/// What an injected pod passes whose annotation asks for TPROXY.
pub(crate) const TPROXY: &str = "istio-iptables -p 15001 -z 15006 -u 1337 -m TPROXY -i * -x '' -b * -d 15090,15021,15020 --log_output_level=default:info";

const fn case(name: &'static str, flags: &'static str) -> Case {
    Case {
        name,
        flags,
        env: &[],
        families: Families::V4AndV6,
        dns_servers: &[],
    }
}

const fn dns(
    name: &'static str,
    dns_servers: &'static [&'static str],
    flags: &'static str,
) -> Case {
    Case {
        dns_servers,
        ..case(name, flags)
    }
}

/// Every case.
pub(crate) static CASES: &[Case] = &[
    case("injected", INJECTED),
    Case {
        families: Families::V4,
        ..case("injected-without-ipv6", INJECTED)
    },
    case("nothing", ""),
    case("inbound-ports-listed", "-i * -b 80,443,6000-8000"),
    case("inbound-port-alone", "-b 8080 -d 9090"),
    case(
        "inbound-port-included-and-excluded",
        "-b 80,8000-9000 -d 8080,15020",
    ),
    case("outbound-only", "-i * -b ''"),
    case(
        "networks-in-both-families",
        "-i 10.0.0.0/8,192.168.0.0/16,fd00::/8,2001:db8::1/128 -x 10.1.0.0/16,10.2.3.4/32,fd00:1::/32 -b *",
    ),
    case(
        "networks-that-overlap-and-touch",
        "-i 10.0.0.0/9,10.128.0.0/9,10.3.0.0/16,0.0.0.0/1,128.0.0.0/1 -x 255.255.255.0/24,255.255.254.0/24",
    ),
    case(
        "one-network-of-each-family",
        "-i 10.1.2.3/8,fd00::1/64 -b *",
    ),
    case("every-network", "-i 0.0.0.0/0,::/0 -b *"),
    Case {
        families: Families::V4,
        ..case(
            "networks-of-a-family-that-is-absent",
            "-i 10.0.0.0/8,fd00::/8,fe80::/10 -x ::1/128 -b *",
        )
    },
    case(
        "outbound-ports",
        "-i 10.0.0.0/8 -q 3306,5432-5440 -o 9999,22,1-10 -b *",
    ),
    case("outbound-port-alone", "-i * -q 65535 -o 1 -b *"),
    case("several-owners", "-i * -b * -u 1337,2000 -g 1337,3000,0"),
    case(
        "localhost-is-captured",
        "-i 127.1.2.3/32,10.0.0.0/8 -b * -u 1337,2000 -g 1338",
    ),
    Case {
        env: &[("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1/8")],
        ..case("loopback-network", "-i * -b *")
    },
    case("interfaces-excluded", "-i * -b * -c eth1,net0,veth+"),
    case(
        "virtual-machines",
        "-i 10.0.0.0/8,fd00::/8 -b * -k tap0,tap1 -c tap0",
    ),
    case("virtual-machines-to-everywhere", "-i * -b * -k vmnic+"),
    Case {
        env: &[
            ("ISTIO_OUTBOUND_OWNER_GROUPS", "202,101"),
            ("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "101"),
        ],
        ..case("owner-groups", "-i * -b *")
    },
    Case {
        env: &[("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "888,21")],
        ..case("owner-groups-excluded", "-i * -b *")
    },
    case("invalid-packets-dropped", "-i * -b * --drop-invalid"),
    Case {
        families: Families::V4,
        ..case(
            "invalid-packets-dropped-without-ipv6",
            "-i * -b * --drop-invalid -c eth1 -k tap0",
        )
    },
    case(
        "other-ports-for-the-proxy",
        "-p 25001 -z 25006 -e 25008 -i * -b *",
    ),
    dns(
        "dns",
        &["10.96.0.10", "fd00:10:96::a"],
        "-i * -b * -d 15090,15021,15020 --redirect-dns",
    ),
    dns(
        "dns-servers-of-one-family",
        &["127.0.0.53", "192.0.2.1", "192.0.2.2"],
        "-i 10.0.0.0/8 -b * -o 5353 --redirect-dns -u 1337,2000 -g 1337,3000",
    ),
    Case {
        families: Families::V4,
        ..dns(
            "dns-servers-of-both-families-without-ipv6",
            &["10.96.0.10", "fd00:10:96::a"],
            "-i * -b * --redirect-dns",
        )
    },
    dns("dns-without-servers", &[], "-i * -b * --redirect-dns"),
    case(
        "dns-to-any-server",
        "-i * -b * --redirect-dns --capture-all-dns -u 1337,2000 -g 1338,3000",
    ),
    Case {
        families: Families::V4,
        env: &[
            ("ISTIO_META_DNS_CAPTURE", "true"),
            ("CAPTURE_ALL_DNS", "true"),
        ],
        ..case("dns-to-any-server-without-ipv6", "-i '' -b ''")
    },
    Case {
        env: &[("ISTIO_OUTBOUND_OWNER_GROUPS", "202,101")],
        ..case(
            "dns-and-localhost-are-captured",
            "-i 127.1.2.3/32,10.0.0.0/8 -b * --redirect-dns --capture-all-dns -u 1337,2000 -g 1338 -e 53",
        )
    },
    case("tproxy", TPROXY),
    Case {
        families: Families::V4,
        ..case("tproxy-without-ipv6", TPROXY)
    },
    case(
        "tproxy-ports-listed",
        "-m TPROXY -i * -b 80,443,6000-8000 -d 7000,15020",
    ),
    case("tproxy-outbound-only", "-m TPROXY -i * -b ''"),
    Case {
        env: &[("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1/8")],
        ..dns(
            "tproxy-and-everything-else",
            &["127.0.0.53"],
            "-m TPROXY -t 4660 -r 1000 -i * -b * -d 15020 -c eth1,eth2,veth+ -k tap0,tap1 --drop-invalid --redirect-dns -u 1337,2000 -g 1338,3000",
        )
    },
];

/// A system without any user or group.
struct NoAccounts;

impl Accounts for NoAccounts {
    fn user(&self, _: &str) -> Option<u32> {
        None
    }

    fn group(&self, _: &str) -> Option<u32> {
        None
    }
}

impl Case {
    /// What is to be captured.
    #[allow(dead_code, reason = "not every test that has the cases needs it")]
    pub(crate) fn capture(&self) -> Capture {
        let mut capture = capture(self.flags, self.env);
        if let Dns::Servers(servers) = &mut capture.dns {
            let addresses = self.dns_servers.iter();
            *servers = addresses
                .map(|address| address.parse().expect("servers are addresses"))
                .collect();
        }
        capture
    }

    /// Where the expectation for the case of this name is.
    #[allow(dead_code, reason = "not every test that has the cases needs it")]
    pub(crate) fn path(name: &str, extension: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(format!("{name}.{extension}"))
    }
}

/// What these flags and variables say is to be captured.
pub(crate) fn capture(flags: &str, env: &[(&str, &str)]) -> Capture {
    let variable = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let words = words(flags).into_iter().map(OsString::from).collect();
    match args::parse(words, &variable, &NoAccounts).1 {
        Ok(Invocation::Run(config)) => config.capture,
        other => panic!("{flags}: {other:?}"),
    }
}

/// Splits a command line at blanks.
pub(crate) fn words(flags: &str) -> Vec<String> {
    flags
        .split_whitespace()
        .map(|word| word.replace("''", ""))
        .collect()
}
