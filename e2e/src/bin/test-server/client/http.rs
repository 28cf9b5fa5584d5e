//! HTTP clients: so many requests, or requests for so long.
//!
//! [`get`] is one client that counts, [`load`] several that watch the clock; both send through [`Client`], which keeps its
//! connection or opens one for each request. An answer counts when its whole body has arrived.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, stdin},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{duration, report::Report, target::Target};

/// Flags of `test-server get`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// What to ask for: `http://HOST:PORT/PATH`, without port and path 80 and `/`.
    url: String,
    /// How many requests to send.
    #[arg(
        long,
        env = "TEST_REQUESTS",
        default_value_t = 1,
        value_name = "NUMBER"
    )]
    requests: usize,
    /// Send all of them on one connection, and fail if it does not last.
    #[arg(long)]
    one_connection: bool,
    /// How long a request may take.
    #[arg(long, env = "TEST_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
}

/// Flags of `test-server load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// What to ask for: `http://HOST:PORT/PATH`, without port and path 80 and `/`.
    url: String,
    /// Open a connection for each request.
    #[arg(long)]
    connection_per_request: bool,
    /// How many clients there are.
    #[arg(long, env = "TEST_CLIENTS", default_value_t = 4, value_name = "NUMBER")]
    clients: usize,
    /// How long a client rests between requests.
    #[arg(long, env = "TEST_PAUSE", default_value = "10ms", value_parser = duration, value_name = "TIME")]
    pause: Duration,
    /// When to end.
    #[arg(long, env = "TEST_DURATION", default_value = "10s", value_parser = duration, value_name = "TIME")]
    duration: Duration,
    /// End also when standard input does.
    #[arg(long)]
    until_eof: bool,
    /// How long a request may take.
    #[arg(long, env = "TEST_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
}

/// One client and its connection, if it keeps one.
struct Client {
    target: Target,
    timeout: Duration,
    report: Report,
    connection: Option<Connection>,
}

/// A connection; dropping it ends the task that moves its bytes.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    _driver: JoinSet<()>,
}

/// Sends the requests one after the other.
///
/// # Errors
/// The URL makes no sense.
pub(crate) async fn get(args: &GetArgs) -> anyhow::Result<Report> {
    let mut client = Client::new(&args.url, args.timeout)?;
    for _ in 0..args.requests {
        if !args.one_connection {
            client.connection = None;
        }
        client.request().await;
    }
    if args.one_connection && client.report.n_connections() > 1 {
        let reason = format!("{} connections, not 1", client.report.n_connections());
        client.report.fail(reason);
    }
    Ok(client.report)
}

/// Sends requests until the time is over; the one at hand is finished.
///
/// # Errors
/// The URL makes no sense.
pub(crate) async fn load(args: &LoadArgs) -> anyhow::Result<Report> {
    let end = Instant::now() + args.duration;
    let mut clients = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..args.clients {
        let mut client = Client::new(&args.url, args.timeout)?;
        let (one_each, pause) = (args.connection_per_request, args.pause);
        let stopped = stopped.clone();
        clients.spawn(async move {
            while Instant::now() < end && !*stopped.borrow() {
                if one_each {
                    client.connection = None;
                }
                client.request().await;
                sleep(pause).await;
            }
            client.report
        });
    }
    let mut total = Report::default();
    let mut input = Box::pin(end_of_input(args.until_eof));
    loop {
        tokio::select! {
            () = &mut input, if !*stop.borrow() => { stop.send_replace(true); }
            finished = clients.join_next() => match finished {
                Some(report) => total.add(report.context("a client has a defect")?),
                None => return Ok(total),
            },
        }
    }
}

/// Ends when nothing more can be read from standard input; never, if nobody asked.
async fn end_of_input(asked: bool) {
    if !asked {
        return pending().await;
    }
    let mut bytes = [0; 64];
    while matches!(stdin().read(&mut bytes).await, Ok(1..)) {}
}

// === impl Client ===

impl Client {
    fn new(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            target: Target::parse_url(url)?,
            timeout,
            report: Report::default(),
            connection: None,
        })
    }

    async fn request(&mut self) {
        let start = Instant::now();
        let limit = self.timeout;
        let result = match timeout(limit, self.exchange()).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer in {limit:?}")),
        };
        match result {
            Ok((status, bytes)) => self.report.answered(status, bytes, start.elapsed()),
            Err(error) => {
                self.connection = None;
                self.report.fail(format!("{error:#}"));
            }
        }
    }

    /// Status and length of the answer.
    async fn exchange(&mut self) -> anyhow::Result<(u16, u64)> {
        if self
            .connection
            .as_ref()
            .is_none_or(|kept| kept.sender.is_closed())
        {
            self.connection = Some(Connection::open(&self.target, self.timeout).await?);
            self.report.connected();
        }
        let Some(connection) = &mut self.connection else {
            bail!("there is no connection");
        };
        let request = Request::get(&self.target.path)
            .header(header::HOST, &self.target.authority)
            .header(header::USER_AGENT, "test-server")
            .body(Empty::new())?;
        connection.sender.ready().await.context("send")?;
        let response = connection.sender.send_request(request).await;
        let response = response.context("request")?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.context("body")?.into_data().unwrap_or_default();
            bytes += data.len() as u64;
        }
        Ok((status, bytes))
    }
}

// === impl Connection ===

impl Connection {
    async fn open(target: &Target, limit: Duration) -> anyhow::Result<Self> {
        let stream = target.connect(limit).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // Its error comes back from the request as well.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            _driver: driver,
        })
    }
}
