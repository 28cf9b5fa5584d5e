//! Two pods with sidecars, the threads that load them, and what is around them.
//!
//! Started by `soak` from the injected manifest, as the kubelet would; clients and servers are threads of this program that have entered the
//! pods' network namespaces, so the rules capture their connections as any application's.

use std::{
    ffi::OsStr,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Mutex,
    thread::{Scope, ScopedJoinHandle},
    time::Duration,
};

use anyhow::Context;
use contract::pod::PROXY_CONTAINER;
use serde_json::Value;
use testkit::{http, process::Process};

use super::{
    N_CLIENTS, N_ODD_CLIENTS, N_TCP_CLIENTS, Stop,
    client::{self, Servers},
    disturb, server,
    tally::Tally,
    tcp,
    watch::Watch,
};
use crate::{
    lab::{
        self, Captured, Lab,
        secrets::{Issuer, Secrets, Speech, write_mesh},
    },
    manifest::Manifest,
};

/// Two pods that call each other, the client's first.
pub(super) struct Pair {
    pub(super) name: &'static str,
    pub(super) sides: [Side; 2],
    /// Who makes their certificates, where they have any.
    pub(super) issuer: Option<Mutex<Issuer>>,
    pub(super) mesh: Mesh,
    address: Ipv4Addr,
}

/// A pod and its sidecar.
pub(super) struct Side {
    pub(super) captured: Captured,
    pub(super) sidecar: Process,
    pub(super) access_log: PathBuf,
    log: PathBuf,
}

/// The file that says what the mesh is, and what it said at first.
pub(super) struct Mesh {
    pub(super) file: PathBuf,
    pub(super) beginning: Value,
}

const STEADY: u16 = 8080;
const OPAQUE: u16 = 8081;
const FICKLE: u16 = 8082;
const LIMIT: Duration = Duration::from_secs(10);
/// Ports that the kernel may draw for connections of the client's pod, and whether it may take one that waits for its last packets: so few
/// that each is used again within seconds, as on a pod that has been at work for long.
const FEW_PORTS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_local_port_range", "32768 36863"),
    ("/proc/sys/net/ipv4/tcp_tw_reuse", "1"),
];

// === impl Pair ===

impl Pair {
    pub(super) fn start(
        lab: &Lab,
        manifest: &Manifest,
        name: &'static str,
        speech: Speech,
    ) -> anyhow::Result<Self> {
        let captured = [
            lab.capture(&format!("{name}-client"), manifest)?,
            lab.capture(&format!("{name}-server"), manifest)?,
        ];
        let [client, _] = &captured;
        client.pod.enter(|| {
            FEW_PORTS.iter().try_for_each(|(file, value)| {
                fs::write(file, value).with_context(|| format!("cannot write {file}"))
            })
        })?;
        let folder = lab.folder().join(name);
        fs::create_dir_all(&folder)?;
        let addresses = captured.each_ref().map(|captured| captured.pod.ip4());
        let ports = [(STEADY, "http"), (OPAQUE, "tcp"), (FICKLE, "http-fickle")];
        let file = write_mesh(&folder, addresses, &ports, speech)?;
        let issuer = (speech == Speech::Strict).then(|| Issuer::new(&folder));
        let secrets = match &issuer {
            Some(issuer) => issuer.issue()?.map(Some),
            None => [None, None],
        };
        let [client, server] = captured;
        let [of_client, of_server] = secrets;
        let start = |captured, secrets: Option<Secrets>| {
            Side::start(lab, manifest, captured, &file, secrets.as_ref())
        };
        Ok(Self {
            name,
            sides: [start(client, of_client)?, start(server, of_server)?],
            issuer: issuer.map(Mutex::new),
            mesh: Mesh {
                beginning: serde_json::from_slice(&fs::read(&file)?)?,
                file,
            },
            address: addresses[1],
        })
    }

    /// Starts the servers.
    pub(super) fn serve<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        tally: &'s Tally,
        stop: &'s Stop,
    ) -> anyhow::Result<()> {
        let [_, server] = &self.sides;
        let requests = move |stream| server::requests(stream, tally, stop);
        let opaque = move |stream| server::opaque(stream, stop);
        server.captured.pod.enter(|| {
            server::serve(scope, STEADY, stop, requests)?;
            server::serve(scope, FICKLE, stop, requests)?;
            server::serve(scope, OPAQUE, stop, opaque)
        })?;
        Ok(())
    }

    /// Starts everything that calls, and whatever else happens to a pod.
    pub(super) fn load<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        tally: &'s Tally,
        stop: &'s Stop,
    ) -> Vec<ScopedJoinHandle<'s, ()>> {
        let servers = Servers {
            steady: (self.address, STEADY).into(),
            fickle: (self.address, FICKLE).into(),
            opaque: (self.address, OPAQUE).into(),
        };
        let [client, server] = &self.sides;
        let mut threads = client.captured.pod.enter(|| {
            let asking = (0..N_CLIENTS)
                .map(|seed| scope.spawn(move || client::ask(servers, tally, stop, seed)));
            let carrying = (0..N_TCP_CLIENTS)
                .map(|seed| scope.spawn(move || tcp::carry(servers.opaque, tally, stop, seed)));
            let odd = (0..N_ODD_CLIENTS)
                .map(|seed| scope.spawn(move || client::misbehave(servers, tally, stop, seed)));
            asking.chain(carrying).chain(odd).collect::<Vec<_>>()
        });
        for side in [client, server] {
            let disturb = || scope.spawn(move || disturb::run(self, side, tally, stop));
            threads.push(side.captured.pod.enter(disturb));
        }
        threads
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = Watch> {
        let sides = self.sides.iter();
        sides.map(|side| Watch::new(side.captured.name.clone(), side.sidecar.id()))
    }

    /// What sidecars say of themselves that they must never say.
    pub(super) fn defects(&self) -> Vec<String> {
        let sides = self.sides.iter();
        sides.filter_map(Side::defect).collect()
    }
}

// === impl Side ===

impl Side {
    fn start(
        lab: &Lab,
        manifest: &Manifest,
        captured: Captured,
        mesh: &Path,
        secrets: Option<&Secrets>,
    ) -> anyhow::Result<Self> {
        let container = captured.container(manifest, PROXY_CONTAINER)?;
        let mut command = lab.agent_command(&lab.folder().join("agent"), &container)?;
        let folder = mesh.parent().context("a mesh has a folder")?;
        std::os::unix::fs::chown(folder, Some(container.uid), Some(container.gid))?;
        let access_log = folder.join(format!("{}.access.log", captured.name));
        command.args(["--local-mesh".as_ref(), mesh.as_os_str()]);
        command.args(["--access-log-file".as_ref(), access_log.as_os_str()]);
        if let Some(secrets) = secrets {
            command.args([OsStr::new("--certs-dir"), secrets.folder.as_os_str()]);
        }
        let log = folder.join(format!("{}.sidecar.log", captured.name));
        let (sidecar, _) = captured.start_sidecar(&mut command, &log, lab::is_ready)?;
        Ok(Self {
            captured,
            sidecar,
            access_log,
            log,
        })
    }

    fn defect(&self) -> Option<String> {
        let name = &self.captured.name;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
            return Some(format!("{name}: {line}"));
        }
        let metrics = self.captured.pod.enter(|| {
            let address = (Ipv4Addr::LOCALHOST, contract::ports::STATUS).into();
            http::get(address, contract::paths::STATS_PROMETHEUS, LIMIT)
        });
        let Ok(metrics) = metrics else {
            return Some(format!("{name} is gone:\n{log}"));
        };
        let mut panics = metrics.body.lines();
        let panics = panics.find(|line| line.starts_with("minimesh_connection_panics"));
        let panics = panics.filter(|line| !line.ends_with(" 0"));
        panics.map(|line| format!("{name}: {line}"))
    }
}
