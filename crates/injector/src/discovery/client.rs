//! Who is at the other end of a stream, and whether it is who it says.
//!
//! A stream begins with a node: which proxy of which pod this is. What a token proves must not contradict it, so that nobody is served as somebody else's
//! pod. The node counts for what the token says nothing about.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use wire::core::Node;

use super::object::{Key, Labels};
use crate::grpc::Caller;

/// The client of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its pod.
    pub pod: Key,
    /// What it says its labels are, until the cluster says so.
    pub told_labels: Labels,
}

/// Why a client is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The first request says nothing of the client.
    #[error(
        "the first request of the stream has no node, send one with id TYPE~IP~POD.NAMESPACE~DOMAIN"
    )]
    NoNode,
    /// The node has another form.
    #[error("node id {id:?} is not of the form TYPE~IP~POD.NAMESPACE~DOMAIN")]
    Malformed {
        /// The id, at most 200 characters of it.
        id: String,
    },
    /// The node is another pod's.
    #[error("the node says that it is pod {claimed}, but its token is of {proven}")]
    Other {
        /// What it says.
        claimed: Key,
        /// What the token says.
        proven: String,
    },
}

/// How much of an id is shown.
const MAX_SHOWN: usize = 200;
/// More labels than these no pod has.
const MAX_LABELS: usize = 256;

// === impl Client ===

impl Client {
    /// The client of a first request with `node`, whom `caller` has been proven to be.
    ///
    /// # Errors
    /// When there is no node, or one of somebody else.
    pub fn identify(node: Option<&Node>, caller: &Caller) -> Result<Self, Denied> {
        let node = node.ok_or(Denied::NoNode)?;
        let pod = pod(&node.id).ok_or_else(|| Denied::Malformed {
            id: node.id.chars().take(MAX_SHOWN).collect(),
        })?;
        let is_other = caller.pod.as_ref().is_some_and(|own| own.name != pod.name);
        if is_other || caller.namespace != pod.namespace {
            return Err(Denied::Other {
                claimed: pod,
                proven: caller.to_string(),
            });
        }
        Ok(Self {
            pod,
            told_labels: labels(node),
        })
    }
}

/// `sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local`: names of pods may hold dots, those of namespaces may not.
fn pod(id: &str) -> Option<Key> {
    let mut parts = id.split('~');
    let (_, _, pod, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (name, namespace) = pod.rsplit_once('.')?;
    let is_whole = parts.next().is_none() && !name.is_empty() && !namespace.is_empty();
    (is_whole && pod.len() <= MAX_SHOWN * 2).then(|| Key::new(namespace, name))
}

/// The labels in the node's metadata, as Istio's agents send them.
fn labels(node: &Node) -> Labels {
    let metadata = node.metadata.as_ref();
    let labels = metadata.and_then(|metadata| metadata.fields.get("LABELS")?.kind.as_ref());
    let Some(Kind::StructValue(labels)) = labels else {
        return Labels::default();
    };
    let texts = labels.fields.iter().filter_map(|(key, value)| {
        let Some(Kind::StringValue(value)) = &value.kind else {
            return None;
        };
        Some((key.as_str().into(), value.as_str().into()))
    });
    let sorted: BTreeMap<_, _> = texts.take(MAX_LABELS).collect();
    sorted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Node {
        Node {
            id: id.to_owned(),
            ..Node::default()
        }
    }

    fn caller(namespace: &str, pod: Option<&str>) -> Caller {
        Caller {
            namespace: namespace.into(),
            service_account: "default".into(),
            pod: pod.map(|name| crate::grpc::Pod {
                name: name.into(),
                uid: "1".into(),
            }),
        }
    }

    #[test]
    fn a_client_is_who_its_token_says() {
        let web = node("sidecar~10.0.0.1~web-0.x.shop~shop.svc.cluster.local");
        let table = [
            (caller("shop", Some("web-0.x")), true),
            (caller("shop", None), true),
            (caller("shop", Some("web-1")), false),
            (caller("bank", Some("web-0.x")), false),
            (caller("bank", None), false),
        ];
        for (caller, is_served) in table {
            let client = Client::identify(Some(&web), &caller);
            assert_eq!(client.is_ok(), is_served, "{caller}: {client:?}");
            if let Ok(client) = client {
                assert_eq!(client.pod, Key::new("shop", "web-0.x"));
            }
        }
    }

    #[test]
    fn ids_of_another_form_are_refused() {
        for id in [
            "",
            "web-0",
            "sidecar~1~web~d",
            "sidecar~1~.shop~d",
            "sidecar~1~web.~d",
            "a~b~c.d~e~f",
        ] {
            let client = Client::identify(Some(&node(id)), &caller("shop", None));
            assert!(matches!(client, Err(Denied::Malformed { .. })), "{id}");
        }
        let client = Client::identify(None, &caller("shop", None));
        assert_eq!(client, Err(Denied::NoNode));
    }
}
