//! `cargo xtask demo`: the whole mesh on this machine, without a cluster.
//!
//! Injects a plain nginx pod, runs two such pods, follows a request through both sidecars, and stops a sidecar to show that
//! nothing passes by. Every line that it prints after a tick was checked; the first that fails ends the demo with its reason.

mod keep;
mod secured;
mod wire;

use std::{
    fmt::Display,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use contract::{paths, ports};
use nix::sys::signal::Signal;
use testkit::process::eventually;

use wire::{REQUEST_LINE, Wire};

use super::{
    lab::{self, Lab, MeshPod, PlainPod},
    manifest::Manifest,
    project,
    userns::{self, Rights},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave both pods running at the end, and say how to look around.
    #[arg(long)]
    keep: bool,
    /// End what --keep left running.
    #[arg(long, conflicts_with = "keep")]
    stop: bool,
    /// Folder with the programs, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// The cast: two pods of the mesh and one outside of it.
struct Cast {
    client: MeshPod,
    server: MeshPod,
    stranger: PlainPod,
}

const MANIFEST: &str = "e2e/manifests/nginx.yaml";
const LIMIT: Duration = Duration::from_secs(5);
/// Long enough that a request which could pass would have passed.
const REFUSAL: Duration = Duration::from_millis(700);
const FROM_SOURCE: &str = "reporter=\"source\"";
const AT_DESTINATION: &str = "reporter=\"destination\"";
const REQUESTS: &str = "istio_requests_total";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.stop {
        return keep::stop();
    }
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => project::build_programs(project::Form::Release)?,
    };
    match userns::rights() {
        Rights::Own => play(args, &programs),
        Rights::UserNamespace => {
            let programs = programs.to_string_lossy();
            let mut again = vec!["demo", "--programs", &programs];
            again.extend(args.keep.then_some("--keep"));
            userns::again(&again)
        }
        Rights::None => bail!(
            "the demo makes network namespaces, which needs root here; the programs are built, so run:\n\n    sudo {} demo --programs {}\n",
            std::env::current_exe()?.display(),
            programs.display()
        ),
    }
}

fn play(args: &Args, programs: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    println!("minimesh demo: two pods on this machine, no cluster");
    let lab = Lab::new(programs)?;
    let manifest = inject(&lab)?;
    let mut cast = start_pods(&lab, &manifest)?;
    let story = tell(&lab, &manifest, &mut cast);
    if let Err(error) = story {
        for pod in [&cast.client, &cast.server] {
            eprintln!("\n--- log of {} ---\n{}", pod.sidecar.name(), pod.log());
        }
        return Err(error);
    }
    drop(cast);
    if args.keep {
        let cast = start_pods(&lab, &manifest)?;
        return keep::keep(lab, cast);
    }
    drop(lab);
    heading("clean up");
    tick("processes ended, namespaces and files gone");
    println!("\nok, {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}

fn tell(lab: &Lab, manifest: &Manifest, cast: &mut Cast) -> anyhow::Result<()> {
    rules(cast)?;
    request(cast)?;
    probes(lab, manifest, cast)?;
    stranger(cast)?;
    secured::show(lab, manifest, cast)?;
    fail_closed(cast)
}

fn inject(lab: &Lab) -> anyhow::Result<Manifest> {
    heading("inject");
    let mut command = lab.inject_command(&project::root().join(MANIFEST));
    println!("    minimesh kube-inject -f {MANIFEST}");
    let output = command.output().context("cannot run minimesh")?;
    ensure!(
        output.status.success(),
        "minimesh kube-inject failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let manifest = Manifest::parse(&String::from_utf8(output.stdout)?)?;
    let init = manifest.init_containers();
    ensure!(
        init.first() == Some(&contract::pod::INIT_CONTAINER),
        "istio-init is not the first init container but {init:?}"
    );
    tick(format!("init containers: {}", init.join(", ")));
    tick(format!("containers: {}", manifest.containers().join(", ")));
    tick(format!("volumes: {}", manifest.volumes().join(", ")));
    let (port, path) = manifest.readiness("nginx")?;
    ensure!(
        port == ports::STATUS,
        "the readiness probe of nginx still points at port {port}"
    );
    tick(format!(
        "readiness probe of nginx now asks the sidecar: :{port}{path}"
    ));
    Ok(manifest)
}

fn start_pods(lab: &Lab, manifest: &Manifest) -> anyhow::Result<Cast> {
    heading("start");
    let cast = Cast {
        client: lab.start("client", manifest)?,
        server: lab.start("server", manifest)?,
        stranger: lab.start_plain("stranger")?,
    };
    for mesh_pod in [&cast.client, &cast.server] {
        let pod = &mesh_pod.plain.pod;
        tick(format!(
            "pod {} at {} and {}: istio-init done in {:.1} ms, sidecar ready after {:.0} ms with {:.1} MB",
            mesh_pod.plain.name,
            pod.ip4(),
            pod.ip6(),
            mesh_pod.init_took.as_secs_f64() * 1e3,
            mesh_pod.ready_took.as_secs_f64() * 1e3,
            f64::from(u32::try_from(lab::resident_kib(&mesh_pod.sidecar)?)?) / 1024.0,
        ));
    }
    tick(format!(
        "pod stranger at {}, without a sidecar",
        cast.stranger.pod.ip4()
    ));
    Ok(cast)
}

fn rules(cast: &mut Cast) -> anyhow::Result<()> {
    heading("rules");
    for line in String::from_utf8_lossy(&cast.client.init.stderr).lines() {
        println!("    {line}");
    }
    let again = cast.client.init_again()?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(
        again.status.success(),
        "the second run of istio-init failed: {said}"
    );
    tick(format!(
        "a second run of istio-init: {}",
        said.lines().last().unwrap_or("done")
    ));
    Ok(())
}

fn request(cast: &Cast) -> anyhow::Result<()> {
    heading("request");
    let (client, server) = (&cast.client, &cast.server);
    let wire = Wire::tap(&client.plain.pod)?;
    for ip in addresses(&server.plain) {
        let page = client
            .plain
            .get(ip, LIMIT)
            .with_context(|| format!("the client got no page from {ip}"))?;
        ensure!(
            page.contains("pod server"),
            "the client got another page: {page:?}"
        );
        tick(format!(
            "client, as user {}, asks {ip}: {}",
            lab::APP_ID,
            page.trim()
        ));
    }
    ensure!(
        wire.seen()?.has(REQUEST_LINE),
        "the request was not seen on the wire between the pods"
    );
    tick(
        "on the wire between the pods the request is readable: without certificates sidecars pass on what they get",
    );
    let n_asked = 2.0;
    counted(
        client,
        FROM_SOURCE,
        n_asked,
        "left through the client's sidecar",
    )?;
    counted(
        server,
        AT_DESTINATION,
        n_asked,
        "came in through the server's sidecar",
    )?;
    for (mesh_pod, direction) in [(client, "PassthroughCluster"), (server, "inbound|")] {
        let line = access_log_line(mesh_pod, direction)?;
        println!("    {} log: {line}", mesh_pod.plain.name);
    }
    tick("both sidecars logged it");
    Ok(())
}

fn probes(lab: &Lab, manifest: &Manifest, cast: &Cast) -> anyhow::Result<()> {
    heading("probes, as the kubelet asks");
    let pod = &cast.server.plain.pod;
    let (port, path) = manifest.readiness("nginx")?;
    for (port, path) in [
        (port, path.as_str()),
        (ports::READINESS, paths::HEALTHZ_READY),
    ] {
        let status = lab::ask_as_kubelet(lab.node(), pod, port, path)?.status;
        ensure!(status == 200, "{}:{port}{path} answers {status}", pod.ip4());
        tick(format!("{}:{port}{path} answers 200", pod.ip4()));
    }
    Ok(())
}

fn stranger(cast: &Cast) -> anyhow::Result<()> {
    heading("a pod outside the mesh");
    let before = cast.server.count(REQUESTS, AT_DESTINATION)?;
    let page = cast
        .stranger
        .get(cast.server.plain.pod.ip4().into(), LIMIT)?;
    ensure!(
        page.contains("pod server"),
        "the stranger got another page: {page:?}"
    );
    counted(
        &cast.server,
        AT_DESTINATION,
        before + 1.0,
        "its request was captured on the way in",
    )?;
    let before = cast.client.count(REQUESTS, FROM_SOURCE)?;
    let page = cast
        .client
        .plain
        .get(cast.stranger.pod.ip4().into(), LIMIT)?;
    ensure!(
        page.contains("pod stranger"),
        "the client got another page: {page:?}"
    );
    counted(
        &cast.client,
        FROM_SOURCE,
        before + 1.0,
        "a request to it was captured on the way out",
    )
}

fn fail_closed(cast: &mut Cast) -> anyhow::Result<()> {
    heading("nothing passes by");
    let to = cast.server.plain.pod.ip4().into();
    cast.server.sidecar.signal(Signal::SIGSTOP)?;
    refused(
        cast,
        &cast.stranger,
        to,
        "server's sidecar frozen: the stranger gets no answer",
    )?;
    refused(
        cast,
        &cast.client.plain,
        to,
        "server's sidecar frozen: the client gets no answer",
    )?;
    cast.server.sidecar.signal(Signal::SIGCONT)?;
    let again = eventually(LIMIT, || cast.client.plain.get(to, REFUSAL).is_ok());
    ensure!(
        again,
        "after the server's sidecar went on, the client still gets no answer"
    );
    tick("server's sidecar goes on: answers again");
    cast.client.sidecar.signal(Signal::SIGKILL)?;
    cast.client.sidecar.wait(LIMIT)?;
    let elsewhere = cast.stranger.pod.ip4().into();
    refused(
        cast,
        &cast.client.plain,
        to,
        "client's sidecar killed: its requests to the server fail",
    )?;
    refused(
        cast,
        &cast.client.plain,
        elsewhere,
        "client's sidecar killed: its requests elsewhere fail",
    )?;
    refused(
        cast,
        &cast.stranger,
        cast.client.plain.pod.ip4().into(),
        "client's sidecar killed: requests to it fail",
    )
}

/// Checks that `from` gets nothing from `to`, and that no web server saw the attempt.
fn refused(cast: &Cast, from: &PlainPod, to: IpAddr, what: &str) -> anyhow::Result<()> {
    let served =
        || [&cast.client.plain, &cast.server.plain, &cast.stranger].map(PlainPod::n_served);
    let before = served();
    if let Ok(page) = from.get(to, REFUSAL) {
        // A sidecar may answer for itself, that it cannot reach the other side; a page must not come.
        bail!("{what}: but it got {page:?}");
    }
    ensure!(
        served() == before,
        "{what}: but a request reached a web server"
    );
    tick(what);
    Ok(())
}

/// Checks that the counter reaches exactly `expected`; the sidecar counts after the last byte, so it may be a moment late.
fn counted(mesh_pod: &MeshPod, label: &str, expected: f64, what: &str) -> anyhow::Result<()> {
    let mut seen = 0.0;
    eventually(LIMIT, || {
        seen = mesh_pod.count(REQUESTS, label).unwrap_or_default();
        seen >= expected
    });
    ensure!(
        (seen - expected).abs() < f64::EPSILON,
        "{what}: {REQUESTS}{{{label}}} of pod {} is {seen} instead of {expected}",
        mesh_pod.plain.name
    );
    tick(format!(
        "{what}: {REQUESTS}{{{label}}} of pod {} is {seen}",
        mesh_pod.plain.name
    ));
    Ok(())
}

fn access_log_line(mesh_pod: &MeshPod, marker: &str) -> anyhow::Result<String> {
    let mut line = None;
    eventually(LIMIT, || {
        line = mesh_pod
            .log()
            .lines()
            .find(|line| line.contains("GET / HTTP/1.1") && line.contains(marker))
            .map(str::to_owned);
        line.is_some()
    });
    line.with_context(|| {
        format!(
            "pod {} has no access log line with {marker}",
            mesh_pod.plain.name
        )
    })
}

fn addresses(plain: &PlainPod) -> [IpAddr; 2] {
    [plain.pod.ip4().into(), plain.pod.ip6().into()]
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn tick(text: impl Display) {
    println!("  ✓ {text}");
}
