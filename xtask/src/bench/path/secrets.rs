//! Certificates of the two pods, for contenders that speak mTLS.
//!
//! Made anew for each contender by openssl, as files with the names that sidecars look for: a root, and for each pod a P-256 leaf with
//! its SPIFFE identity. Every leaf is good for both sides of a connection, as those of a mesh's authority are.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::project;

/// What one pod has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secrets {
    /// Folder with `cert-chain.pem`, `key.pem` and `root-cert.pem`.
    pub(super) folder: PathBuf,
    /// Identity of the other pod.
    pub(super) peer: String,
}

/// Service accounts of the pods, the client's first.
pub(super) const ACCOUNTS: [&str; 2] = ["client", "server"];

const TRUST_DOMAIN: &str = "cluster.local";

// === impl Secrets ===

impl Secrets {
    /// Makes the certificates of a client's and a server's pod below `folder`.
    pub(super) fn make(folder: &Path, name: &str) -> anyhow::Result<[Self; 2]> {
        let folder = folder.join(format!("{name}-secrets"));
        fs::create_dir_all(&folder)?;
        let root = folder.join("root");
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-nodes", "-days", "2"])
                .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
                .args([
                    "-subj",
                    "/O=bench",
                    "-addext",
                    "keyUsage=critical,keyCertSign",
                ])
                .arg("-keyout")
                .arg(root.with_extension("key"))
                .arg("-out")
                .arg(root.with_extension("pem")),
        )?;
        let [client, server] = ACCOUNTS;
        Ok([
            leaf(&folder, &root, client, server)?,
            leaf(&folder, &root, server, client)?,
        ])
    }
}

/// The identity of a service account.
pub(super) fn identity(account: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/default/sa/{account}")
}

fn leaf(folder: &Path, root: &Path, account: &str, peer: &str) -> anyhow::Result<Secrets> {
    let own = folder.join(account);
    fs::create_dir_all(&own)?;
    let certificate = own.join("cert-chain.pem");
    let key = own.join("key.pem");
    openssl(
        Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "1", "-subj", "/"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "keyUsage=critical,digitalSignature"])
            .args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"])
            .arg("-addext")
            .arg(format!("subjectAltName=critical,URI:{}", identity(account)))
            .arg("-CA")
            .arg(root.with_extension("pem"))
            .arg("-CAkey")
            .arg(root.with_extension("key"))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    fs::copy(root.with_extension("pem"), own.join("root-cert.pem"))?;
    // The sidecar runs as another user, and this folder is gone in a minute.
    fs::set_permissions(&key, Permissions::from_mode(0o644))?;
    Ok(Secrets {
        folder: own,
        peer: identity(peer),
    })
}

fn openssl(command: &mut Command) -> anyhow::Result<()> {
    project::find_program("openssl")
        .context("openssl is not installed: apt-get install openssl")?;
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "openssl makes no certificate: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
