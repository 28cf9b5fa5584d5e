//! What two pods of a lab know of each other where no control plane tells them.
//!
//! Made anew for each pair: the mesh of both as a file, and for those that speak mutual TLS a root and a P-256 certificate with a SPIFFE
//! identity for each pod. Then both are strict, so that nothing passes in plaintext.

use std::{fs, net::Ipv4Addr, path::Path, path::PathBuf};

use serde_json::{Value, json};
use testkit::pki::Root;

/// What one pod has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secrets {
    /// Folder with `cert-chain.pem`, `key.pem` and `root-cert.pem`.
    pub(crate) folder: PathBuf,
    /// Identity of the other pod.
    pub(crate) peer: String,
}

/// Service accounts of the pods, the client's first.
const ACCOUNTS: [&str; 2] = ["client", "server"];

/// Who makes the certificates of two pods, again and again.
pub(crate) struct Issuer {
    root: Root,
    folder: PathBuf,
}

// === impl Secrets ===

impl Secrets {
    /// Makes the certificates of a client's and a server's pod, in `folder`.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<[Self; 2]> {
        Issuer::new(folder).issue()
    }
}

// === impl Issuer ===

impl Issuer {
    /// A new root; what it issues is in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            root: Root::new("lab"),
            folder: folder.to_owned(),
        }
    }

    /// Makes new keys and certificates, in the place of earlier ones.
    pub(crate) fn issue(&self) -> anyhow::Result<[Secrets; 2]> {
        let make = |account, peer| {
            let own = self.folder.join(account);
            fs::create_dir_all(&own)?;
            self.root.workload(&identity(account)).write_to(&own)?;
            anyhow::Ok(Secrets {
                folder: own,
                peer: identity(peer),
            })
        };
        let [client, server] = ACCOUNTS;
        Ok([make(client, server)?, make(server, client)?])
    }
}

/// How the two pods of a mesh speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Plaintext,
    /// Mutual TLS, and nothing else.
    Strict,
}

/// Writes the mesh of a client's and a server's pod at these addresses, whose services have ports with these numbers and names, and
/// says where it is.
pub(crate) fn write_mesh(
    folder: &Path,
    addresses: [Ipv4Addr; 2],
    ports: &[(u16, &str)],
    speech: Speech,
) -> anyhow::Result<PathBuf> {
    let file = folder.join("mesh.json");
    fs::write(&file, mesh_of(addresses, ports, speech).to_string())?;
    Ok(file)
}

fn identity(account: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{account}")
}

fn mesh_of(addresses: [Ipv4Addr; 2], ports: &[(u16, &str)], speech: Speech) -> Value {
    let (mode, tunnel) = match speech {
        Speech::Plaintext => ("DISABLE", "NONE"),
        Speech::Strict => ("STRICT", "LEGACY_ISTIO_MTLS"),
    };
    let ports: Vec<_> = ports
        .iter()
        .map(|(number, name)| json!({ "servicePort": number, "name": name }))
        .collect();
    let services =
        ACCOUNTS.map(|account| json!({ "name": account, "namespace": "default", "ports": ports }));
    let workloads = ACCOUNTS.iter().zip(addresses).map(|(account, address)| {
        let service = format!("default/{account}.default.svc.cluster.local");
        json!({
            "name": account,
            "namespace": "default",
            "addresses": [address],
            "serviceAccount": account,
            "tunnelProtocol": tunnel,
            "services": { service: {} },
        })
    });
    json!({
        "peerAuthentication": { "mode": mode },
        "services": services,
        "workloads": workloads.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_has_its_certificate_and_expects_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let [client, server] = Secrets::make(folder.path()).unwrap();
        assert_eq!(client.peer, identity("server"));
        assert_eq!(server.peer, identity("client"));
        let read = |secrets: &Secrets, name| fs::read(secrets.folder.join(name)).unwrap();
        assert_eq!(
            read(&client, "root-cert.pem"),
            read(&server, "root-cert.pem")
        );
        assert_ne!(
            read(&client, "cert-chain.pem"),
            read(&server, "cert-chain.pem")
        );
    }
}
