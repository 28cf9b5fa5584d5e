//! The server, as a process of its own, and the bench's hold on it.
//!
//! It says where it listens on its output; each line of its input changes a pod, and the end of its input ends it.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt as _, future::BoxFuture};
use injector::{
    discovery::{
        catalog::Catalog,
        metrics,
        model::Cluster,
        server::{Limits, Server},
    },
    grpc::{self, Addresses, Authenticator, Caller, Refusal, Review, Services},
    webhook::tls::{self, Certificate},
};
use prometheus_client::registry::Registry;
use runtime::{lifecycle::Lifecycle, readiness::Readiness};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use tokio::sync::watch;

use crate::{
    Memory, SERVE,
    cluster::{N_PODS, N_SERVICES, populate, touch},
};

/// What the server is called by.
pub(crate) const NAME: &str = "istiod.istio-system.svc";

/// A server under way.
pub(crate) struct Background {
    child: Child,
    stdin: ChildStdin,
    pub(crate) address: SocketAddr,
    pub(crate) root: CertificateDer<'static>,
}

/// Whoever comes with a token `POD.PADDING.NAMESPACE` is that pod.
struct Trusting;

// === impl Background ===

impl Background {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(SERVE)
            // As the image has it.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("its output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let (address, root) = line.trim().split_once(' ').context("its address")?;
        Ok(Self {
            stdin: child.stdin.take().context("its input")?,
            child,
            address: address.parse()?,
            root: CertificateDer::from(STANDARD.decode(root)?),
        })
    }

    pub(crate) fn change(&mut self) -> std::io::Result<()> {
        self.stdin.write_all(b"\n")
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(&self.child.id().to_string())
    }

    /// CPU time so far, by the scheduler's own count of each thread.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds = text.split(' ').next().context("a number")?.parse()?;
            total += Duration::from_nanos(nanoseconds);
        }
        Ok(total)
    }

    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Self {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        child.wait()?;
        Ok(())
    }
}

// === impl Trusting ===

impl Review for Trusting {
    fn review(&self, token: &str) -> BoxFuture<'static, Result<Caller, Refusal>> {
        let mut parts = token.split('.');
        let caller = parts
            .next()
            .zip(parts.nth(1))
            .map(|(pod, namespace)| Caller {
                namespace: namespace.into(),
                service_account: "default".into(),
                pod: Some(grpc::Pod {
                    name: pod.into(),
                    uid: "1".into(),
                }),
            });
        std::future::ready(caller.ok_or(Refusal::Malformed)).boxed()
    }
}

/// Serves until its input ends.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let (root, certificate) = certificate()?;
    let mut registry = Registry::default();
    let catalog = filled()?;
    let metrics = metrics::Metrics::register(&mut registry);
    let server = Server::new(catalog.clone(), metrics, Limits::default());
    let authenticator =
        Authenticator::new(Arc::new(Trusting), grpc::Metrics::register(&mut registry));
    let readiness = Readiness::new();
    let (_sender, certificate) = watch::channel(Some(Arc::new(certificate)));
    let server = grpc::Server::build(
        Addresses {
            tls: (Ipv4Addr::LOCALHOST, 0).into(),
            plaintext: None,
        },
        Services::default().everywhere(server),
        &authenticator,
        Certificate::Authority(certificate),
        (readiness.register("bench"), Duration::ZERO),
    )
    .await?;
    let address = server.addresses().next().context("it listens")?;
    println!("{address} {}", STANDARD.encode(&root));
    let life = Lifecycle::new(readiness, Duration::ZERO);
    let input = life.clone();
    std::thread::spawn(move || {
        for (round, _) in std::io::stdin().lines().enumerate() {
            catalog.edit(|model| touch(model, round % 2 == 1));
            catalog.settle();
        }
        input.stop("the bench is over");
    });
    Ok(server.run(life).await?)
}

fn certificate() -> anyhow::Result<(CertificateDer<'static>, CertifiedKey)> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let root = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let key = key.map_err(anyhow::Error::msg)?;
    let certified = CertifiedKey::from_der(vec![root.clone()], key, &tls::provider())?;
    Ok((root, certified))
}

/// The catalogue of all objects. What it says goes to the error output, because the other one is for the bench.
fn filled() -> anyhow::Result<Catalog> {
    let catalog = Catalog::new(Cluster::default());
    let (began, empty) = (Instant::now(), Memory::of("self")?);
    catalog.edit(populate);
    let objects = Memory::of("self")?;
    catalog.settle();
    catalog.complete();
    let resources = Memory::of("self")?;
    eprintln!(
        "{N_PODS} pods, {N_SERVICES} Services: {empty} before, {objects} with the objects, {resources} with what is made of them, within {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3,
    );
    Ok(catalog)
}
