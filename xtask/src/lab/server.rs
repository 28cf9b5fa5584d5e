//! The web server of a pod, and what is asked of it.
//!
//! nginx where it is installed, as a single process, else the stand-in; started by the lab once the pod's traffic is captured.
//! Everything that a server writes is in a folder of its own inside the lab's.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use testkit::{
    netns::Pod,
    process::{Process, eventually},
};

use super::{APP_ID, APP_PORT, LIMIT, Lab, OPAQUE_PORT, read};
use crate::project;

/// A pod with a web server and without a sidecar.
pub(crate) struct PlainPod {
    pub(crate) name: String,
    pub(crate) pod: Pod,
    server: Process,
    server_log: PathBuf,
    program: PathBuf,
}

/// Whether the server writes a line for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessLog {
    On,
    Off,
}

// === impl Lab ===

impl Lab {
    /// Starts the web server of `pod`.
    pub(crate) fn start_server(
        &self,
        name: &str,
        pod: Pod,
        log: AccessLog,
    ) -> anyhow::Result<PlainPod> {
        let folder = self.folder().join(name);
        fs::create_dir_all(&folder)?;
        std::os::unix::fs::chown(&folder, Some(APP_ID), Some(APP_ID))?;
        let server_log = folder.join("access.log");
        let page = format!("hello from pod {name}\n");
        let mut command = match project::find_program("nginx") {
            Some(nginx) => nginx_command(&nginx, &folder, &page, log)?,
            None => self.stand_in_command(&server_log, &page),
        };
        command.uid(APP_ID).gid(APP_ID).stdin(Stdio::null());
        let child = pod
            .spawn(&mut command)
            .context("cannot start the web server")?;
        let server = Process::new(format!("web server of pod {name}"), child);
        let plain = PlainPod {
            name: name.to_owned(),
            program: self.xtask(),
            pod,
            server,
            server_log,
        };
        let own_address = SocketAddr::from((Ipv4Addr::LOCALHOST, APP_PORT));
        let up = eventually(LIMIT, || {
            plain
                .pod
                .enter(|| std::net::TcpStream::connect(own_address).is_ok())
        });
        if !up {
            bail!("the web server of pod {name} does not listen after {LIMIT:?}");
        }
        Ok(plain)
    }

    /// This program, where every user may run it.
    pub(crate) fn xtask(&self) -> PathBuf {
        self.folder().join("xtask")
    }

    fn stand_in_command(&self, log: &Path, page: &str) -> Command {
        let mut command = Command::new(self.xtask());
        command
            .args([
                "serve",
                "--port",
                &APP_PORT.to_string(),
                "--page",
                page,
                "--log",
            ])
            .arg(log);
        command
    }
}

// === impl PlainPod ===

impl PlainPod {
    /// Asks for `/` of `to` as the pod's application, in a process of its own.
    pub(crate) fn get(&self, to: IpAddr, limit: Duration) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "get",
                "--ip",
                &to.to_string(),
                "--port",
                &APP_PORT.to_string(),
            ])
            .args(["--limit-ms", &limit.as_millis().to_string()])
            .uid(APP_ID)
            .gid(APP_ID);
        let output = self.pod.output(&mut command)?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How many requests have reached the web server.
    pub(crate) fn n_served(&self) -> usize {
        read(&self.server_log).lines().count()
    }

    /// Lets the web server go on after this value is gone.
    pub(crate) fn detach(self) -> u32 {
        self.server.detach()
    }
}

/// nginx as a single process, so that ending it leaves no worker behind; everything it writes is in `folder`.
fn nginx_command(
    nginx: &Path,
    folder: &Path,
    page: &str,
    log: AccessLog,
) -> anyhow::Result<Command> {
    let shown = folder.display();
    let log = match log {
        AccessLog::On => format!("{shown}/access.log"),
        AccessLog::Off => "off".to_owned(),
    };
    let config = format!(
        "master_process off;\n\
         daemon off;\n\
         pid {shown}/nginx.pid;\n\
         error_log {shown}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log {log};\n\
           client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;\n\
           uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;\n\
           keepalive_requests 1000000000;\n\
           server {{ listen {APP_PORT}; listen [::]:{APP_PORT}; listen {OPAQUE_PORT}; root {shown}; default_type text/plain; }}\n\
         }}\n"
    );
    fs::write(folder.join("nginx.conf"), config)?;
    fs::write(folder.join("index.html"), page)?;
    let mut command = Command::new(nginx);
    command
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-e")
        .arg(folder.join("error.log"));
    Ok(command)
}
