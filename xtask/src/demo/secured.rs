//! Two more pods, which speak mutual TLS and nothing else.
//!
//! Their sidecars get certificates and the mesh from files. The request that was readable on the wire before is not any more, both sides
//! know who the other one is, and a pod without a certificate gets nothing.

use std::{ffi::OsStr, fs};

use anyhow::{Context, ensure};
use testkit::process::eventually;

use super::{
    AT_DESTINATION, Cast, FROM_SOURCE, LIMIT, REFUSAL, REQUESTS, heading, tick,
    wire::{ENCRYPTED, REQUEST_LINE, Wire},
};
use crate::{
    lab::{
        self, Lab, MeshPod,
        secrets::{Secrets, Speech, write_mesh},
    },
    manifest::Manifest,
};

pub(super) fn show(lab: &Lab, manifest: &Manifest, cast: &Cast) -> anyhow::Result<()> {
    heading("mutual TLS, with certificates from files");
    let [client, server] = start(lab, manifest)?;
    let to = server.plain.pod.ip4().into();
    let wire = Wire::tap(&client.plain.pod)?;
    let page = client
        .plain
        .get(to, LIMIT)
        .with_context(|| format!("the client got no page by mutual TLS:\n{}", client.log()))?;
    ensure!(
        page.contains("pod secured-server"),
        "the client got another page: {page:?}"
    );
    tick(format!("client asks {to}: {}", page.trim()));
    let seen = wire.seen()?;
    ensure!(seen.has(ENCRYPTED), "nothing encrypted was on the wire");
    ensure!(
        !seen.has(REQUEST_LINE),
        "the request was readable on the wire"
    );
    tick("on the wire between the pods there is TLS, and the request cannot be read");
    for (pod, labels) in [
        (
            &server,
            [AT_DESTINATION, "connection_security_policy=\"mutual_tls\""],
        ),
        (&client, [FROM_SOURCE, "/sa/server\""]),
    ] {
        // A sidecar counts after the last byte, so it may be a moment late.
        let is_counted = eventually(LIMIT, || {
            let samples = pod.metrics().unwrap_or_default();
            samples.lines().any(|line| {
                line.starts_with(REQUESTS) && labels.iter().all(|label| line.contains(label))
            })
        });
        ensure!(
            is_counted,
            "pod {} has not counted a request with {labels:?}",
            pod.plain.name
        );
        tick(format!(
            "pod {} knows who the other one is: {}",
            pod.plain.name, labels[1]
        ));
    }
    let before = server.plain.n_served();
    for (name, from) in [
        ("the stranger, who has no sidecar,", &cast.stranger),
        (
            "the first client, whose sidecar has no certificate,",
            &cast.client.plain,
        ),
    ] {
        let page = from.get(to, REFUSAL);
        ensure!(
            page.is_err() && server.plain.n_served() == before,
            "{name} got {page:?} from a pod that is STRICT"
        );
        tick(format!("{name} gets nothing from it"));
    }
    Ok(())
}

/// Both pods, the client's first.
fn start(lab: &Lab, manifest: &Manifest) -> anyhow::Result<[MeshPod; 2]> {
    let folder = lab.folder().join("secured");
    fs::create_dir_all(&folder)?;
    let captured = [
        lab.capture("secured-client", manifest)?,
        lab.capture("secured-server", manifest)?,
    ];
    let addresses = captured.each_ref().map(|captured| captured.pod.ip4());
    let mesh = write_mesh(
        &folder,
        addresses,
        &[(lab::APP_PORT, "http")],
        Speech::Strict,
    )?;
    let secrets = Secrets::make(&folder)?;
    let [client, server] = captured;
    let [of_client, of_server] = secrets.each_ref().map(|secrets| {
        [
            OsStr::new("--local-mesh"),
            mesh.as_os_str(),
            OsStr::new("--certs-dir"),
            secrets.folder.as_os_str(),
        ]
    });
    Ok([
        lab.start_captured(client, manifest, &of_client)?,
        lab.start_captured(server, manifest, &of_server)?,
    ])
}
