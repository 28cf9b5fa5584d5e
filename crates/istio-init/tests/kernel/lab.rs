//! Two pods on a node, and what tests do in them.

use std::{
    io::{self, Write as _},
    net::{
        IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream,
    },
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use contract::paths;
use nix::{
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage,
        bind, connect as connect_socket, getsockopt, recv, sendto, setsockopt, socket, sockopt,
    },
    unistd::{Gid, Uid, setfsgid, setfsuid},
};
use testkit::{
    netns::{Capability, Node, Pod},
    process::eventually,
};

use crate::cases::{self, Case};

/// A pod with rules and another one without.
pub(crate) struct Lab {
    pub(crate) pod: Pod,
    pub(crate) peer: Pod,
    _node: Node,
}

/// A listener on both families that tells whether somebody came.
pub(crate) struct Listener {
    v4: TcpListener,
    v6: TcpListener,
}

/// What the program said.
pub(crate) struct Run {
    flags: String,
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// User and group of an ordinary application.
pub(crate) const APPLICATION: (u32, u32) = (1000, 1000);
/// Connections in the lab take microseconds; those that lead nowhere are given up after this.
const LIMIT: Duration = Duration::from_secs(1);

// === impl Lab ===

impl Lab {
    pub(crate) fn new() -> Self {
        let node = Node::new().expect("namespaces can be made");
        let (pod, peer) = (
            node.pod().expect("there is room"),
            node.pod().expect("there is room"),
        );
        let lab = Self {
            pod,
            peer,
            _node: node,
        };
        // Addresses of IPv6 are usable when nobody else turns out to have them.
        for (from, to) in [(&lab.pod, lab.peer.ip6()), (&lab.peer, lab.pod.ip6())] {
            let refused = || match connect(from, APPLICATION, SocketAddr::new(to.into(), 9)) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            };
            assert!(
                eventually(Duration::from_secs(10), refused),
                "IPv6 does not come up"
            );
        }
        lab
    }

    /// With the rules that these flags give.
    pub(crate) fn captured(flags: &str) -> Self {
        let lab = Self::new();
        run(&lab.pod, flags, &[]).succeeds();
        lab
    }

    pub(crate) fn own_addresses(&self) -> [IpAddr; 2] {
        [self.pod.ip4().into(), self.pod.ip6().into()]
    }

    pub(crate) fn peer_addresses(&self) -> [IpAddr; 2] {
        [self.peer.ip4().into(), self.peer.ip6().into()]
    }

    /// Takes all IPv6 addresses from the pod, or gives `lo` its own back.
    pub(crate) fn set_ipv6(&self, is_on: bool) {
        let value = if is_on { "0" } else { "1" };
        let written = self
            .pod
            .enter(|| std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", value));
        written.expect("the switch can be written");
        let has_loopback = || loopback_addresses(&self.pod).contains(&Ipv6Addr::LOCALHOST) == is_on;
        assert!(
            eventually(Duration::from_secs(5), has_loopback),
            "IPv6 does not go {value}"
        );
    }
}

// === impl Listener ===

impl Listener {
    /// On all addresses; port 0 is any free one.
    pub(crate) fn any(pod: &Pod, port: u16) -> Self {
        pod.enter(|| {
            let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
            let port = v4.local_addr()?.port();
            let v6 = listen_v6(port)?;
            v4.set_nonblocking(true)?;
            v6.set_nonblocking(true)?;
            io::Result::Ok(Self { v4, v6 })
        })
        .expect("the port is free")
    }

    /// As [`Listener::any`], taking connections whose addresses are not the pod's own, as TPROXY
    /// hands them over.
    pub(crate) fn transparent(pod: &Pod, port: u16) -> Self {
        let listener = Self::any(pod, port);
        // IPv4's option is what a socket of either family is asked for.
        setsockopt(&listener.v4, sockopt::IpTransparent, &true).expect("the test may do this");
        setsockopt(&listener.v6, sockopt::IpTransparent, &true).expect("the test may do this");
        listener
    }

    /// Where the next connection was meant to go as its own address says, which TPROXY leaves as it
    /// was.
    pub(crate) fn accepted_as_is(&self) -> Option<(SocketAddr, SocketAddr)> {
        let accepted = self.v4.accept().or_else(|_| self.v6.accept());
        let (stream, peer) = accepted.ok()?;
        Some((stream.local_addr().expect("it is connected"), peer))
    }

    pub(crate) fn port(&self) -> u16 {
        self.v4.local_addr().expect("the listener is bound").port()
    }

    /// Where the next connection was meant to go, or nothing if there is none.
    pub(crate) fn accepted(&self) -> Option<SocketAddr> {
        if let Ok((stream, _)) = self.v4.accept() {
            let address = getsockopt(&stream, sockopt::OriginalDst)
                .expect("the kernel keeps the destination");
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            return Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into());
        }
        let (stream, _) = self.v6.accept().ok()?;
        let address = getsockopt(&stream, sockopt::Ip6tOriginalDst)
            .expect("the kernel keeps the destination");
        let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
        Some(SocketAddrV6::new(ip, u16::from_be(address.sin6_port), 0, 0).into())
    }

    /// The next connection, or nothing if there is none.
    pub(crate) fn next(&self) -> Option<TcpStream> {
        let accepted = self.v4.accept().or_else(|_| self.v6.accept());
        Some(accepted.ok()?.0)
    }

    /// Whether somebody came since it was asked last.
    pub(crate) fn was_reached(&self) -> bool {
        let mut reached = false;
        while self.v4.accept().is_ok() || self.v6.accept().is_ok() {
            reached = true;
        }
        reached
    }
}

// === impl Run ===

impl Run {
    fn new(flags: &str, output: io::Result<Output>) -> Self {
        let output = output.expect("the program starts");
        Self {
            flags: flags.chars().take(200).collect(),
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns what it wrote to standard output.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.status, Some(0), "{}: {}", self.flags, self.stderr);
        self.stdout
    }

    #[track_caller]
    pub(crate) fn succeeds_saying(self, text: &str) {
        assert!(
            self.stderr.contains(text),
            "{}: {}",
            self.flags,
            self.stderr
        );
        self.succeeds();
    }

    #[track_caller]
    pub(crate) fn fails_with(self, status: i32, text: &str) {
        assert_eq!(self.status, Some(status), "{}: {}", self.flags, self.stderr);
        assert!(
            self.stderr.contains(text),
            "{}: {}",
            self.flags,
            self.stderr
        );
    }
}

/// Runs the program in the pod with NET_ADMIN alone.
pub(crate) fn run(pod: &Pod, flags: &str, env: &[(&str, &str)]) -> Run {
    run_with(pod, Some(&[Capability::CAP_NET_ADMIN]), flags, env)
}

/// Runs the program in the pod for a case, with more flags behind its own, where the resolver is
/// configured as the case says.
pub(crate) fn run_case(pod: &Pod, case: &Case, more: &str) -> Run {
    let flags = format!("{} {more}", case.flags);
    let servers = case.dns_servers.iter();
    let file: String = servers
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    run_beside(pod, &file, &flags, case.env)
}

/// As [`run`], with this as the content of the resolver's configuration.
pub(crate) fn run_beside(pod: &Pod, resolver: &str, flags: &str, env: &[(&str, &str)]) -> Run {
    let file = (Path::new(paths::RESOLV_CONF), resolver);
    let capabilities = [Capability::CAP_NET_ADMIN];
    let output = pod.output_beside(file, &capabilities, &mut program(flags, env));
    Run::new(flags, output)
}

/// Runs the program in the pod with these capabilities.
pub(crate) fn run_with(
    pod: &Pod,
    capabilities: Option<&[Capability]>,
    flags: &str,
    env: &[(&str, &str)],
) -> Run {
    let mut command = program(flags, env);
    let output = match capabilities {
        Some(capabilities) => pod.output_with(capabilities, &mut command),
        None => pod.output(&mut command),
    };
    Run::new(flags, output)
}

fn program(flags: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_istio-init"));
    command
        .args(cases::words(flags))
        .env_clear()
        .envs(env.iter().copied());
    command
}

/// Runs a command of the machine in the pod, its words separated by blanks, and returns what it
/// wrote.
#[track_caller]
pub(crate) fn tool(pod: &Pod, command: &str) -> String {
    let output = tool_reading(pod, command, "");
    output.expect("the tool succeeds")
}

/// As [`tool`], with this on its standard input; the error is what it complained of.
pub(crate) fn tool_reading(pod: &Pod, command: &str, input: &str) -> Result<String, String> {
    let words = cases::words(command);
    let (program, arguments) = words.split_first().expect("there is a program");
    let mut child = Command::new(program);
    child
        .args(arguments)
        // Ordinary users do not have the folders of administration in theirs.
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = pod.enter(|| {
        let mut child = child.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    });
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{command}: {}", text(&output.stderr))),
    }
}

/// Runs `f` in the pod; sockets that it makes belong to this user and group.
pub(crate) fn as_owner<T: Send>(
    pod: &Pod,
    (user, group): (u32, u32),
    f: impl FnOnce() -> T + Send,
) -> T {
    pod.enter(|| {
        // They are the thread's own, and the thread ends with the closure.
        setfsgid(Gid::from_raw(group));
        setfsuid(Uid::from_raw(user));
        f()
    })
}

/// Connects once and hangs up.
pub(crate) fn connect(pod: &Pod, owner: (u32, u32), destination: SocketAddr) -> io::Result<()> {
    as_owner(pod, owner, || {
        TcpStream::connect_timeout(&destination, LIMIT).map(drop)
    })
}

/// As [`connect`], from this source address. It blocks, so the destination must answer.
pub(crate) fn connect_from(
    pod: &Pod,
    owner: (u32, u32),
    source: IpAddr,
    destination: SocketAddr,
) -> io::Result<()> {
    let family = if source.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    as_owner(pod, owner, || {
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(
            socket.as_raw_fd(),
            &SockaddrStorage::from(SocketAddr::new(source, 0)),
        )?;
        Ok(connect_socket(
            socket.as_raw_fd(),
            &SockaddrStorage::from(destination),
        )?)
    })
}

/// How many nf_tables transactions the pod has seen, counted from 1. Written by hand so that the
/// program is not judged by itself.
pub(crate) fn generation(pod: &Pod) -> u32 {
    /// `nlmsghdr` with NFT_MSG_GETGEN and NLM_F_REQUEST, then an empty `nfgenmsg`.
    const HEADER: usize = 20;
    let answer = pod.enter(|| {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        let mut request = [0u8; HEADER];
        request[0..4].copy_from_slice(&20u32.to_ne_bytes());
        request[4..6].copy_from_slice(&0x0a10u16.to_ne_bytes());
        request[6..8].copy_from_slice(&1u16.to_ne_bytes());
        sendto(
            socket.as_raw_fd(),
            &request,
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )?;
        let mut answer = [0u8; 256];
        recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        nix::Result::Ok(answer)
    });
    let answer = answer.expect("the kernel answers");
    // The first attribute is the generation: length, kind, number.
    let number = answer[HEADER + 4..HEADER + 8]
        .try_into()
        .expect("four bytes");
    u32::from_be_bytes(number)
}

/// IPv6 addresses of the pod's loopback interface.
pub(crate) fn loopback_addresses(pod: &Pod) -> Vec<Ipv6Addr> {
    let table = pod
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6"))
        .expect("the kernel has IPv6");
    let lines = table.lines().filter(|line| line.ends_with(" lo"));
    lines
        .map(|line| {
            let digits = line
                .split_whitespace()
                .next()
                .expect("the address comes first");
            Ipv6Addr::from(u128::from_str_radix(digits, 16).expect("the address is hexadecimal"))
        })
        .collect()
}

/// Beside a listener of IPv4 on the same port.
fn listen_v6(port: u16) -> io::Result<TcpListener> {
    use nix::sys::socket::{Backlog, listen};
    let socket = socket(
        AddressFamily::Inet6,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket.into())
}
