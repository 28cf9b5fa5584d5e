//! Network namespaces as pods on a node.
//!
//! Called by kernel tests and by the demo; calls the kernel through netlink only, no `ip` program is needed.
//! Namespaces have no names: they live as long as a value here or a process inside, so nothing can be left behind.

mod link;

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    process::{self, Child, Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, bail};
pub use caps::Capability;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use link::{Address, Netlink};

/// A node: a namespace with a bridge that pods hang on.
#[derive(Debug)]
pub struct Node {
    namespace: Arc<Namespace>,
    n_pods: AtomicU8,
}

/// A pod: a namespace with `lo` and `eth0`.
#[derive(Debug)]
pub struct Pod {
    namespace: Namespace,
    /// The veth ends inside the node, so the node must outlive it for packets to flow.
    _node: Arc<Namespace>,
    id: u8,
}

/// An open network namespace.
#[derive(Debug)]
struct Namespace {
    file: File,
}

const BRIDGE: &str = "cni0";
const GATEWAY_ID: u8 = 1;
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;

// === impl Node ===

impl Node {
    /// Makes a node without pods.
    ///
    /// # Errors
    /// Where the process may not make network namespaces (it needs CAP_SYS_ADMIN and CAP_NET_ADMIN), and what the kernel said.
    pub fn new() -> anyhow::Result<Self> {
        let namespace = Namespace::new()
            .context("cannot make a network namespace; root or a user namespace is needed")?;
        namespace.enter(|| -> anyhow::Result<()> {
            let netlink = Netlink::open()?;
            netlink.up("lo")?;
            netlink.add_bridge(BRIDGE)?;
            netlink.add_address(BRIDGE, Address::V4(pod_v4(GATEWAY_ID), PREFIX_V4))?;
            netlink.add_address(BRIDGE, Address::V6(pod_v6(GATEWAY_ID), PREFIX_V6))?;
            netlink.up(BRIDGE)
        })?;
        Ok(Self {
            namespace: Arc::new(namespace),
            n_pods: AtomicU8::new(0),
        })
    }

    /// Adds a pod, at most 200 a node.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn pod(&self) -> anyhow::Result<Pod> {
        let id = self.next_id()?;
        let namespace = Namespace::new().context("cannot make a pod's network namespace")?;
        let host_end = format!("veth{id}");
        self.namespace.enter(|| -> anyhow::Result<()> {
            let netlink = Netlink::open()?;
            netlink.add_veth(&host_end, "eth0", namespace.file.as_raw_fd())?;
            netlink.attach(&host_end, BRIDGE)?;
            netlink.up(&host_end)
        })?;
        namespace.enter(|| -> anyhow::Result<()> {
            let netlink = Netlink::open()?;
            netlink.up("lo")?;
            // Else the link-local address, and its route with it, comes a second after the pod, in the middle of a test.
            fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0")
                .context("cannot turn off the detection of duplicate addresses")?;
            netlink.add_address("eth0", Address::V4(pod_v4(id), PREFIX_V4))?;
            netlink.add_address("eth0", Address::V6(pod_v6(id), PREFIX_V6))?;
            netlink.up("eth0")?;
            // Container runtimes do the same, so that a server in a pod needs no capability for port 80.
            fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
                .context("cannot open low ports to the pod's users")?;
            netlink.add_default_route(pod_v4(GATEWAY_ID).into())?;
            netlink.add_default_route(pod_v6(GATEWAY_ID).into())
        })?;
        Ok(Pod {
            namespace,
            _node: Arc::clone(&self.namespace),
            id,
        })
    }

    /// Adds a pod whose namespace is as the kernel made it: `lo` is down, and there is no `eth0` yet.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn bare_pod(&self) -> anyhow::Result<Pod> {
        let id = self.next_id()?;
        Ok(Pod {
            namespace: Namespace::new().context("cannot make a pod's network namespace")?,
            _node: Arc::clone(&self.namespace),
            id,
        })
    }

    /// Runs `f` on a thread of its own on the node, where the kubelet would be.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(f)
    }

    fn next_id(&self) -> anyhow::Result<u8> {
        let id = GATEWAY_ID + 1 + self.n_pods.fetch_add(1, Ordering::Relaxed);
        if id > 200 {
            bail!("a node holds at most 200 pods");
        }
        Ok(id)
    }
}

// === impl Pod ===

impl Pod {
    /// The pod's IPv4 address.
    pub fn ip4(&self) -> Ipv4Addr {
        pod_v4(self.id)
    }

    /// The pod's IPv6 address.
    pub fn ip6(&self) -> Ipv6Addr {
        pod_v6(self.id)
    }

    /// Runs `f` on a thread of its own inside the pod; a panic in `f` goes on in the caller.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(f)
    }

    /// The pod's network namespace as a path, for a program that is to enter it; valid as long as this process and the pod.
    pub fn namespace_path(&self) -> PathBuf {
        let descriptor = self.namespace.file.as_raw_fd();
        PathBuf::from(format!("/proc/{}/fd/{descriptor}", process::id()))
    }

    /// Starts a program inside the pod. User and group are the command's (`CommandExt::uid`), root by default.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.enter(|| command.spawn())
    }

    /// Runs a program inside the pod to its end and returns its output.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn output(&self, command: &mut Command) -> io::Result<Output> {
        self.enter(|| command.output())
    }

    /// As [`Pod::output`], the program having no capability but `capabilities`, as a container with `drop: [ALL]` and `add`.
    ///
    /// # Errors
    /// Why capabilities could not be dropped or the program not be started.
    pub fn output_with(
        &self,
        capabilities: &[Capability],
        command: &mut Command,
    ) -> io::Result<Output> {
        self.enter(|| {
            keep_only(capabilities)?;
            command.output()
        })
    }

    /// As [`Pod::output_with`], the program finding `content` in the file at `path`, which is there already.
    ///
    /// # Errors
    /// Why the file could not be covered, capabilities not be dropped or the program not be started.
    pub fn output_beside(
        &self,
        (path, content): (&Path, &str),
        capabilities: &[Capability],
        command: &mut Command,
    ) -> io::Result<Output> {
        static N_FILES: AtomicU32 = AtomicU32::new(0);
        let number = N_FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("minimesh-test-{}-{number}", process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, content)?;
        let output = self.enter(|| {
            // Mounts are the thread's own from here on, and the thread ends with the closure.
            unshare(CloneFlags::CLONE_NEWNS)?;
            let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            mount(none, "/", none, private, none)?;
            mount(Some(&file), path, none, MsFlags::MS_BIND, none)?;
            keep_only(capabilities)?;
            command.output()
        });
        fs::remove_file(&file)?;
        output
    }
}

// === impl Namespace ===

impl Namespace {
    /// Makes an empty namespace, on a thread of its own so that the caller stays where it is.
    fn new() -> io::Result<Self> {
        let made = thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    File::open("/proc/thread-self/ns/net")
                })
                .join()
        });
        let file = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Self { file })
    }

    fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let outcome = thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                        .expect("a namespace that this process made can be entered");
                    f()
                })
                .join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn pod_v4(id: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, id)
}

fn pod_v6(id: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, u16::from(id))
}

/// Shrinks the calling thread's bounding set: what a program started from here can hold at most.
fn keep_only(capabilities: &[Capability]) -> io::Result<()> {
    let bounding = caps::read(None, caps::CapSet::Bounding).map_err(io::Error::other)?;
    for capability in bounding {
        if !capabilities.contains(&capability) {
            caps::drop(None, caps::CapSet::Bounding, capability).map_err(io::Error::other)?;
        }
    }
    caps::clear(None, caps::CapSet::Inheritable).map_err(io::Error::other)
}
