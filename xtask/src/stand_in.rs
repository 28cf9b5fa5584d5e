//! Stand-ins for the programs of a pod that a machine may lack: a web server, and a client that asks for a page.
//!
//! Started by the lab inside pods as an ordinary user, as separate processes, because the rules go by a socket's owner.
//! They print what the lab waits for: nothing more is promised.

use std::{
    fs::OpenOptions,
    io::Write,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, bail};

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Port to listen on, all addresses.
    #[arg(long)]
    port: u16,
    /// The answer to every request.
    #[arg(long)]
    page: String,
    /// File that gets a line per request.
    #[arg(long)]
    log: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct GetArgs {
    /// Address of the server.
    #[arg(long)]
    ip: IpAddr,
    /// Port of the server.
    #[arg(long)]
    port: u16,
    /// Path to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Milliseconds after which to give up.
    #[arg(long, default_value_t = 5000)]
    limit_ms: u64,
}

/// Serves until it is killed.
pub(crate) fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&args.log)
        .with_context(|| format!("cannot open {}", args.log.display()))?;
    let log = Mutex::new(log);
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, args.port))
        .with_context(|| format!("cannot listen on port {}", args.port))?;
    testkit::http::serve(&listener, &args.page, |request| {
        if let Ok(mut log) = log.lock() {
            // A request that cannot be logged shows as a missing line, which the lab notices.
            let _ = writeln!(log, "{request}");
        }
    })
    .context("the listener failed")
}

/// Asks once; prints the body, fails unless the status is 200.
pub(crate) fn get(args: &GetArgs) -> anyhow::Result<()> {
    let address = SocketAddr::new(args.ip, args.port);
    let response = testkit::http::get(address, &args.path, Duration::from_millis(args.limit_ms))
        .with_context(|| format!("no answer from {address}"))?;
    print!("{}", response.body);
    if response.status != 200 {
        bail!("{address} answered {}", response.status);
    }
    Ok(())
}
