//! A server and who calls it: one from another namespace of the mesh, one from outside.

use std::{rc::Rc, time::Duration};

use e2e::{Injection, Manifest, Namespace, Pod, Progress, Scene, wait_for};

/// What a policy may take to reach a sidecar.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The pods and their namespaces.
pub(crate) struct Shop {
    /// Namespace of the server, in the mesh.
    pub(crate) namespace: Rc<Namespace>,
    /// Namespace of the caller without a sidecar.
    pub(crate) outside: Rc<Namespace>,
    /// nginx and the echo server.
    pub(crate) server: Pod,
    /// A caller from another namespace of the mesh.
    pub(crate) client: Pod,
    /// A caller without a sidecar.
    pub(crate) stranger: Pod,
}

// === impl Shop ===

impl Shop {
    /// Opens with everybody ready, and both callers served.
    pub(crate) fn open(scene: &Scene) -> anyhow::Result<Self> {
        let namespace = scene.namespace(Injection::Enabled)?;
        let other = scene.namespace(Injection::Enabled)?;
        let outside = scene.namespace(Injection::Unlabelled)?;
        let client = Manifest::read("client.yaml")?;
        namespace.apply(&Manifest::read("server.yaml")?)?;
        other.apply(&client)?;
        outside.apply(&client)?;
        let shop = Self {
            server: namespace.pod("server"),
            client: other.pod("client"),
            stranger: outside.pod("client"),
            namespace,
            outside,
        };
        for pod in [&shop.server, &shop.client, &shop.stranger] {
            pod.wait_ready()?;
        }
        for caller in [&shop.client, &shop.stranger] {
            caller.wait_to_reach(&shop.url("/"))?;
        }
        Ok(shop)
    }

    /// A page of nginx, by the name of its Service.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://server.{}{path}", self.namespace.name())
    }

    /// A page of the echo server.
    pub(crate) fn echo_url(&self, path: &str) -> String {
        format!("http://server.{}:8080{path}", self.namespace.name())
    }

    /// The name of the Service.
    pub(crate) fn hostname(&self) -> String {
        format!("server.{}.svc.cluster.local", self.namespace.name())
    }
}

/// Whether `caller` gets a good answer.
pub(crate) fn is_served(caller: &Pod, url: &str) -> anyhow::Result<bool> {
    let program = ["curl", "-sSf", "--max-time", "5", "-o", "/dev/null", url];
    Ok(caller.try_exec("shell", &program)?.success)
}

/// Waits until `caller` is served, or is not any more.
pub(crate) fn wait_served(caller: &Pod, url: &str, expected: bool) -> anyhow::Result<()> {
    let what = match expected {
        true => format!("{caller} to be let in to {url}"),
        false => format!("{caller} to be refused by {url}"),
    };
    wait_for(&what, LIMIT, || {
        let served = is_served(caller, url)?;
        Ok(Progress::when(served == expected, || {
            format!("served: {served}")
        }))
    })
}

/// The identity of the account `default` of a namespace.
pub(crate) fn principal(pod: &Pod) -> String {
    format!("spiffe://cluster.local/ns/{}/sa/default", pod.namespace())
}
