//! Runs the built program, to its end or beside the test.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use testkit::process::{Process, eventually};

/// Far more than anything takes that is meant to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A proxy on ports that the kernel chooses.
pub(crate) const EPHEMERAL: [&str; 8] = [
    "proxy",
    "sidecar",
    "--outbound-port=0",
    "--inbound-port=0",
    "--readiness-port=0",
    "--prometheus-port=0",
    "--status-port=0",
    "--admin-port=0",
];

/// A proxy that runs until this value is dropped.
pub(crate) struct Agent {
    pub(crate) process: Process,
    pub(crate) readiness: SocketAddr,
    pub(crate) prometheus: SocketAddr,
    pub(crate) status: SocketAddr,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// What came of a program that has ended.
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Agent ===

impl Agent {
    /// Starts a proxy with `args` in addition, without environment, and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agent"))
            .args(EPHEMERAL)
            .args(args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let process = Process::new("agent", child);
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let text = || log.lock().unwrap().clone();
        assert!(
            eventually(LIMIT, || text().contains(" ready ")),
            "{}",
            text()
        );
        let line = text();
        let port = |name: &str| {
            let line = line
                .lines()
                .find(|line| line.contains(" listening "))
                .unwrap();
            let field = line
                .split(' ')
                .find_map(|word| word.strip_prefix(name))
                .unwrap();
            let port = field.rsplit(':').next().unwrap().parse().unwrap();
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        Self {
            process,
            readiness: port("readiness="),
            prometheus: port("prometheus="),
            status: port("status="),
            admin: port("admin="),
            log,
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

/// Runs the agent to its end, with nothing but `settings` in its environment.
pub(crate) fn run(args: &[&str], settings: &[(&str, &str)]) -> Output {
    run_program(Path::new(env!("CARGO_BIN_EXE_agent")), args, settings)
}

/// As [`run`] for a program at another place.
pub(crate) fn run_program(program: &Path, args: &[&str], settings: &[(&str, &str)]) -> Output {
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends `POST path` without a body and returns the status.
pub(crate) fn post(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, answer))
}
