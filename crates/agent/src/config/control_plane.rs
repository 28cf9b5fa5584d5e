//! How the control plane is found.
//!
//! Called by [`Config::resolve`](super::Config::resolve). PROXY_CONFIG leaves out what is Istio's default, so an address of a certificate
//! authority alone says that there is a control plane, too; without any address there is none, as outside a cluster.

use std::path::PathBuf;

use contract::{env, paths};
use rustls::pki_types::DnsName;

use super::{
    problem::Origin,
    reader::{Given, Reader, Setting},
};
use crate::{
    args::{ControlPlaneArgs, ProxyArgs},
    control_plane::{Endpoint, Token},
    workload::Workload,
};

/// Where the control plane is, and by what it knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Who tells what the mesh is; nobody where `--local-mesh` does.
    pub discovery: Option<Endpoint>,
    /// Who certifies us, if nothing goes before it.
    pub authority: Option<Endpoint>,
    /// By what both know us.
    pub token: Token,
    /// The mesh's roots.
    pub roots: PathBuf,
    /// Where the last state is kept for the next start of the container.
    pub state_dir: PathBuf,
}

/// Istio's `discoveryAddress` (`pkg/config/mesh`).
const DISCOVERY_ADDRESS: &str = "istiod.istio-system.svc:15012";
/// What Istio's agent takes for the roots of the operating system.
const SYSTEM: &str = "SYSTEM";

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn control_plane(
        &mut self,
        args: &'a ProxyArgs,
        workload: &Workload,
    ) -> ControlPlane {
        let given = &args.control_plane;
        let roots = self.path(
            ("root-cert-file", "AGENT_ROOT_CERT"),
            given.root_cert_file.as_ref(),
            paths::ROOT_CERT,
        );
        let token = self.path(
            ("token-file", "AGENT_TOKEN_FILE"),
            given.token_file.as_ref(),
            paths::TOKEN,
        );
        let state_dir = self.path(
            ("state-dir", "AGENT_STATE_DIR"),
            given.state_dir.as_ref(),
            paths::PROXY_DIR,
        );
        let authority = self.given(Setting::new(
            "ca-address",
            env::CA_ADDR,
            given.ca_address.as_ref(),
        ));
        let discovery = self.discovery_address(given, authority.is_some());
        let name = self.name(given);
        let ca_roots = self.roots(("ca-root-file", "CA_ROOT_CA"), given.ca_root_file.as_ref());
        let ca_roots = ca_roots.unwrap_or_else(|| roots.clone());
        let discovery_roots = self.roots(
            ("discovery-root-file", "XDS_ROOT_CA"),
            given.discovery_root_file.as_ref(),
        );
        let discovery_roots = discovery_roots.unwrap_or_else(|| roots.clone());
        let discovery = self.endpoint(discovery, name.as_deref());
        let authority = match authority {
            Some(_) => self.endpoint(authority, name.as_deref()),
            None => discovery.clone(),
        };
        let authority = authority.map(|endpoint| endpoint.rooted_in(ca_roots));
        let has_local_mesh = self.local_mesh(&args.mesh).is_some();
        let discovery = discovery
            .filter(|_| !has_local_mesh)
            .map(|endpoint| endpoint.rooted_in(discovery_roots));
        ControlPlane {
            discovery,
            authority,
            token: Token::new(token, &workload.cluster),
            roots,
            state_dir,
        }
    }

    fn discovery_address(&self, args: &'a ControlPlaneArgs, has_authority: bool) -> Given<'a> {
        let setting = Setting::new(
            "discovery-address",
            "AGENT_DISCOVERY_ADDRESS",
            args.discovery_address.as_ref(),
        );
        let field = self.proxy_config.discovery_address.as_deref();
        let field = field.filter(|text| !text.is_empty());
        let default = has_authority.then_some(DISCOVERY_ADDRESS);
        let origin = Origin::ProxyConfig("discoveryAddress");
        self.given(setting)
            .or(field.or(default).map(|text| (origin, text)))
    }

    fn endpoint(&mut self, address: Given<'_>, name: Option<&str>) -> Option<Endpoint> {
        let expected = "a name or an IP address with a port, such as istiod.istio-system.svc:15012";
        self.parse(address, expected, |text| {
            let endpoint = Endpoint::parse(text).ok()?;
            match name {
                Some(name) => endpoint.named(name).ok(),
                None => Some(endpoint),
            }
        })
    }

    fn name(&mut self, args: &'a ControlPlaneArgs) -> Option<String> {
        let name = self.given(Setting::new(
            "control-plane-name",
            "ISTIOD_SAN",
            args.control_plane_name.as_ref(),
        ));
        self.parse(name, "a DNS name", |text| {
            DnsName::try_from(text).ok().map(|_| text.to_owned())
        })
    }

    fn roots(
        &mut self,
        (flag, env): (&'static str, &'static str),
        value: Option<&'a String>,
    ) -> Option<PathBuf> {
        let given = self.given(Setting::new(flag, env, value));
        let expected = "a file; there are no roots of an operating system in the sidecar's image";
        self.parse(given, expected, |text| {
            (text != SYSTEM).then(|| PathBuf::from(text))
        })
    }

    pub(super) fn path(
        &self,
        (flag, env): (&'static str, &'static str),
        value: Option<&'a String>,
        default: &str,
    ) -> PathBuf {
        let given = self.given(Setting::new(flag, env, value));
        PathBuf::from(given.map_or(default, |(_, path)| path))
    }
}
