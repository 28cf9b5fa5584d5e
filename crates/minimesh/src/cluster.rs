//! Questions to the cluster, one after the other.
//!
//! Called by `configuration`, `namespaces` and `why`, where no file answers. The program is synchronous; a runtime lives here for as long as there are
//! questions, on this thread and no other. Errors say which cluster was asked for what.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context, anyhow, bail};
use cluster::{Options, RequestError, Target};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, NotUsed, Object},
    client::Body,
};
use serde::Deserialize;
use serde_json::Value;
use template::Node;
use tokio::runtime::{Builder, Runtime};

use crate::args::ClusterArgs;

/// A cluster that answers.
pub(crate) struct Cluster {
    runtime: Runtime,
    client: Client,
    target: Target,
    /// Of the control plane.
    namespace: String,
}

/// A ConfigMap of the control plane.
pub(crate) struct ConfigMap {
    /// What errors call it.
    name: String,
    data: BTreeMap<String, String>,
}

/// A kind of objects, as the API's paths have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindOfObject {
    /// As `apps`; empty for the core's.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    /// As `Deployment`.
    pub(crate) kind: &'static str,
    /// As `deployments`.
    pub(crate) plural: &'static str,
}

/// What is read of a node; the rest, such as its list of images, is passed over.
#[derive(Clone, Debug, Default, Deserialize)]
struct NodeStatus {
    #[serde(default, rename = "nodeInfo")]
    info: NodeInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeInfo {
    #[serde(default, rename = "kubeletVersion")]
    version: String,
}

type ListedNode = Object<NotUsed, NodeStatus>;

/// Somebody is waiting.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// As `kubectl` asks for them.
const NODES_PER_PAGE: u32 = 500;
const OBJECTS_PER_PAGE: u32 = 500;
/// The metrics of a sidecar with as many peers as it tells apart.
const MAX_PAGE: usize = 64 << 20;
/// How much of a refusal is shown.
const MAX_SHOWN: usize = 200;
/// The list that a page belongs to is gone.
const GONE: u16 = 410;

// === impl Cluster ===

impl Cluster {
    /// Finds the cluster and gets ready to ask it.
    ///
    /// # Errors
    /// There is none, or the kubeconfig is wrong.
    pub(crate) fn connect(args: &ClusterArgs) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start asking")?;
        let options = Options {
            kubeconfig: args.kubeconfig.clone(),
            context: args.context.clone(),
            response_timeout: RESPONSE_TIMEOUT,
        };
        let target = runtime.block_on(Target::find(&options))?;
        let client = runtime.block_on(async { target.client() })?;
        Ok(Self {
            runtime,
            client,
            target,
            namespace: args.istio_namespace.clone(),
        })
    }

    /// The namespace of what names none, as the kubeconfig has it.
    pub(crate) fn default_namespace(&self) -> &str {
        self.target.namespace()
    }

    /// Reads a ConfigMap of the control plane.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub(crate) fn config_map(&self, name: &str) -> anyhow::Result<ConfigMap> {
        let what = format!("ConfigMap {}/{name}", self.namespace);
        let maps: Api<v1::ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = self.ask(&what, maps.get(name))?.ok_or_else(|| {
            anyhow!("there is no {what} in {self}: is minimesh installed there, in this namespace (--istioNamespace) and with this revision (--revision)?")
        })?;
        Ok(ConfigMap {
            name: what,
            data: found.data.unwrap_or_default(),
        })
    }

    /// Reads a namespace; `None` if it does not exist yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn namespace(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let all: Api<v1::Namespace> = Api::all(self.client.clone());
        let found = self.ask(&format!("namespace {name}"), all.get(name))?;
        let mut object = found.map(serde_json::to_value).transpose()?;
        if let Some(Value::Object(fields)) = &mut object {
            fields.insert("kind".to_owned(), "Namespace".into());
        }
        Ok(object)
    }

    /// Reads names and versions of all nodes.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let found = self.ask("the nodes", nodes(&self.client))?;
        found.ok_or_else(|| anyhow!("{self} knows no nodes, is it a Kubernetes API server?"))
    }

    /// Reads an object of a kind that holds pods; `None` if there is none of that name.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn object(
        &self,
        kind: &KindOfObject,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let what = format!("{} {namespace}/{name}", kind.kind);
        let found = self.ask(&what, api.get(name))?;
        let mut object = found.map(serde_json::to_value).transpose()?;
        if let Some(Value::Object(fields)) = &mut object {
            fields.insert("apiVersion".to_owned(), resource.api_version.into());
            fields.insert("kind".to_owned(), kind.kind.into());
        }
        Ok(object)
    }

    /// Reads all objects of a kind in a namespace, or in all, and gives them to `take` page by page.
    ///
    /// A list that expires on the way is read again from its beginning, so an object may come twice.
    ///
    /// # Errors
    /// They cannot be read, or `take` fails.
    pub(crate) fn each_page(
        &self,
        kind: &KindOfObject,
        namespace: Option<&str>,
        mut take: impl FnMut(Vec<Value>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let what = format!("the {}", kind.plural);
        let mut params = ListParams::default().limit(OBJECTS_PER_PAGE);
        loop {
            let page = match self.runtime.block_on(api.list(&params)) {
                Ok(page) => page,
                Err(kube::Error::Api(status))
                    if status.code == GONE && params.continue_token.is_some() =>
                {
                    params = ListParams::default();
                    continue;
                }
                Err(error) => {
                    return Err(RequestError::from(error))
                        .with_context(|| format!("cannot read {what} from {self}"));
                }
            };
            let mut objects = Vec::with_capacity(page.items.len());
            for item in page.items {
                let mut object = serde_json::to_value(item)?;
                if let Some(fields) = object.as_object_mut() {
                    fields.insert("apiVersion".to_owned(), resource.api_version.clone().into());
                    fields.insert("kind".to_owned(), kind.kind.into());
                }
                objects.push(object);
            }
            take(objects)?;
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }

    /// What `GET path` says on a port of a pod, reached through the API server.
    ///
    /// # Errors
    /// The API server does not let us, the pod does not answer, or it answers with something else than a page of text.
    pub(crate) fn ask_pod(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
    ) -> anyhow::Result<String> {
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}");
        let request = http::Request::get(uri).body(Body::empty())?;
        let answer = self.runtime.block_on(async {
            let answer = self.client.send(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_PAGE);
            let body = body.collect().await.map_err(kube::Error::Service)?;
            Ok::<_, kube::Error>((status, body.to_bytes()))
        });
        let (status, body) = answer.map_err(RequestError::from)?;
        let page = String::from_utf8_lossy(&body);
        if !status.is_success() {
            let said: String = page.chars().take(MAX_SHOWN).collect();
            bail!("port {port} answers {status}: {}", said.trim());
        }
        Ok(page.into_owned())
    }

    /// Reads all webhook configurations that may change objects, the mesh's and others'.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn webhook_configurations(&self) -> anyhow::Result<Vec<Value>> {
        let all: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let what = "the MutatingWebhookConfigurations";
        let found = self.ask(what, all.list(&ListParams::default()))?;
        let found = found.into_iter().flatten();
        Ok(found.map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    /// `None` is what the server does not have.
    fn ask<T>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, kube::Error>>,
    ) -> anyhow::Result<Option<T>> {
        match self.runtime.block_on(question).map_err(RequestError::from) {
            Ok(answer) => Ok(Some(answer)),
            Err(RequestError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {what} from {self}")),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.target.server();
        write!(
            f,
            "{} ({})",
            server.trim_end_matches('/'),
            self.target.origin()
        )
    }
}

// === impl ConfigMap ===

impl ConfigMap {
    /// The text at `key`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn key(&self, key: &str) -> anyhow::Result<&str> {
        let text = self.data.get(key).map(String::as_str);
        text.ok_or_else(|| {
            let known: Vec<_> = self.data.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "is empty".to_owned(),
                known => format!("has {}", known.join(", ")),
            };
            anyhow!("{self} has no key {key:?}, it {known}; is it the mesh's?")
        })
    }
}

impl fmt::Display for ConfigMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Lists the nodes page by page; a list that expires on the way is read again, whole.
async fn nodes(client: &Client) -> Result<Vec<Node>, kube::Error> {
    let resource = ApiResource::erase::<v1::Node>(&());
    let api: Api<ListedNode> = Api::all_with(client.clone(), &resource);
    let mut params = ListParams::default().limit(NODES_PER_PAGE);
    let mut nodes = Vec::new();
    loop {
        let page = match api.list(&params).await {
            Ok(page) => page,
            Err(kube::Error::Api(status))
                if status.code == GONE && params.continue_token.is_some() =>
            {
                nodes.clear();
                params = ListParams::default();
                continue;
            }
            Err(error) => return Err(error),
        };
        nodes.extend(page.items.into_iter().map(node));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(nodes),
        }
    }
}

/// A node that does not say its version yet has none that counts as new.
fn node(listed: ListedNode) -> Node {
    Node {
        name: listed.meta().name.clone().unwrap_or_default(),
        version: listed
            .status
            .map(|status| status.info.version)
            .unwrap_or_default(),
    }
}
