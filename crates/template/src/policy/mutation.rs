//! The change of the pod, as one JSON patch that an expression of CEL makes.
//!
//! Made from what an injection adds. JSON patches are used because an apply configuration may not set lists that belong to one owner, such as a
//! container's arguments.
//! Items go to the front of a list in reverse, so that each has its place whether or not the others are there.

use contract::{env, pod::PROXY_CONTAINER};

use super::{
    cel::{Expr, Operator},
    facts, probes,
    tree::{Field, Item, Node},
};
use crate::inject::OWN_CONTAINERS;

/// A place in the pod that the policy cannot change as an injection would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreachable {
    /// Such as `spec.hostAliases`.
    pub(super) field: String,
}

/// Operations, some of which depend on the pod.
#[derive(Default)]
struct Patch {
    parts: Vec<Expr>,
}

/// Lists of which items of the author's and the template's with the same key are one.
const MERGED_LISTS: [&str; 6] = [
    "ephemeralContainers",
    "hostAliases",
    "resourceClaims",
    "schedulingGates",
    "topologySpreadConstraints",
    "ownerReferences",
];

/// The expression of the whole patch; `probe_port` is where probes are sent, if they are.
pub(super) fn expression(added: &Node, probe_port: Option<u16>) -> Result<Expr, Unreachable> {
    let mut patch = Patch::default();
    if let Some(port) = probe_port {
        patch.parts.push(probes::patches(port));
    }
    for field in added.fields() {
        match field.key.as_str() {
            "metadata" => metadata(&mut patch, &field.value)?,
            "spec" => spec(&mut patch, &field.value, probe_port.is_some())?,
            "apiVersion" | "kind" => {}
            other => return Err(unreachable(other)),
        }
    }
    let whole = patch
        .parts
        .into_iter()
        .reduce(|whole, part| whole.binary(Operator::Plus, part));
    Ok(whole.unwrap_or(Expr::List(Vec::new())))
}

fn unreachable(field: impl Into<String>) -> Unreachable {
    Unreachable {
        field: field.into(),
    }
}

fn metadata(patch: &mut Patch, metadata: &Node) -> Result<(), Unreachable> {
    for map in metadata.fields() {
        let of = match map.key.as_str() {
            "labels" => "labels",
            "annotations" => "annotations",
            other => return Err(unreachable(format!("metadata.{other}"))),
        };
        let place = format!("/metadata/{of}");
        let parent = Expr::Name("object").field("metadata").field(of);
        patch.ensure(parent, &place, Expr::Map(Vec::new()));
        for field in map.value.fields() {
            let place = format!("{place}/{}", escaped(&field.key));
            patch.add_if(
                field.condition.clone(),
                &place,
                field.value.to_expr("Object"),
            );
        }
    }
    Ok(())
}

fn spec(patch: &mut Patch, spec: &Node, rewrites_probes: bool) -> Result<(), Unreachable> {
    for field in spec.fields() {
        let place = format!("/spec/{}", field.key);
        let path = format!("Object.spec.{}", field.key);
        match (field.key.as_str(), &field.value) {
            (list @ ("containers" | "initContainers"), Node::List(items)) => {
                let list = if list == "containers" {
                    "containers"
                } else {
                    "initContainers"
                };
                containers(patch, list, items, rewrites_probes);
            }
            ("volumes", Node::List(items)) => {
                patch.ensure_list("volumes", items);
                patch.prepend(&place, items.iter().map(|item| said(item, &path)));
            }
            ("imagePullSecrets", Node::List(items)) => {
                patch.ensure_list("imagePullSecrets", items);
                let is_new = |item: &Item| {
                    let name = item.value.get("name").map(|name| name.to_expr(&path));
                    let known = facts::spec_list("imagePullSecrets")
                        .call("map", [Expr::Name("s"), Expr::Name("s").field("name")]);
                    name.map(|name| name.within(known).not())
                };
                let new = items.iter().map(|item| {
                    let (condition, value) = said(item, &path);
                    let conditions = condition.into_iter().chain(is_new(item));
                    (conditions.reduce(Expr::and), value)
                });
                patch.prepend(&place, new);
            }
            _ => set(patch, "spec", field)?,
        }
    }
    Ok(())
}

/// Sets a field that is not merged item by item.
fn set(patch: &mut Patch, parent: &str, field: &Field) -> Result<(), Unreachable> {
    let path = format!("{parent}.{}", field.key);
    let place = format!("/{}/{}", parent.replace('.', "/"), escaped(&field.key));
    let is_merged = MERGED_LISTS.contains(&field.key.as_str());
    match &field.value {
        Node::Scalar(Expr::Null) => Err(unreachable(path)),
        Node::List(_) if is_merged => Err(unreachable(path)),
        // Merging with what is there would take a condition for each level.
        Node::Map(_) if parent != "spec" => Err(unreachable(path)),
        Node::Map(fields) if field.condition.is_none() => {
            // Only fields whose map the API server always makes, and that the author may have filled.
            if field.key != "securityContext" {
                return Err(unreachable(path));
            }
            let map = Expr::Name("object").field("spec").field("securityContext");
            patch.ensure(map, &place, Expr::Map(Vec::new()));
            fields.iter().try_for_each(|field| set(patch, &path, field))
        }
        Node::Either(..) | Node::Map(_) => Err(unreachable(path)),
        Node::Scalar(_) | Node::List(_) => {
            let value = field.value.to_expr(&format!("Object.{path}"));
            patch.add_if(field.condition.clone(), &place, value);
            Ok(())
        }
    }
}

/// Puts the added containers before and behind the author's.
fn containers(patch: &mut Patch, list: &'static str, items: &[Item], rewrites_probes: bool) {
    let path = format!("Object.spec.{list}");
    let place = format!("/spec/{list}");
    let own = |item: &Item| item.value.name() == Some(OWN_CONTAINERS);
    let at = items.iter().position(own).unwrap_or(items.len());
    let (front, back) = items.split_at(at);
    let back = back.get(1..).unwrap_or_default();
    if front.is_empty() && back.is_empty() {
        return;
    }
    let said = |item: &Item| {
        let mut item = item.clone();
        if rewrites_probes && item.value.name() == Some(PROXY_CONTAINER) {
            instruct(&mut item.value);
        }
        said(&item, &path)
    };
    if list == "initContainers" {
        patch.ensure_list(list, items);
    }
    patch.prepend(&place, front.iter().map(said));
    let end = format!("{place}/-");
    for (condition, value) in back.iter().map(said) {
        patch.add_if(condition, &end, value);
    }
}

/// Adds the agent's instructions about probes to the sidecar's variables.
fn instruct(sidecar: &mut Node) {
    let Node::Map(fields) = sidecar else { return };
    let scalar = |key: &str, value: Expr| Field {
        key: key.to_owned(),
        condition: None,
        value: Node::Scalar(value),
    };
    let variable = Item {
        condition: Some(probes::is_needed()),
        value: Node::Map(vec![
            scalar("name", Expr::text(env::KUBE_APP_PROBERS)),
            scalar("value", probes::instructions()),
        ]),
    };
    match fields.iter_mut().find(|field| field.key == "env") {
        Some(Field {
            value: Node::List(variables),
            ..
        }) => variables.push(variable),
        _ => fields.push(Field {
            key: "env".to_owned(),
            condition: None,
            value: Node::List(vec![variable]),
        }),
    }
}

fn said(item: &Item, path: &str) -> (Option<Expr>, Expr) {
    (item.condition.clone(), item.value.to_expr(path))
}

/// A key as a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

// === impl Patch ===

impl Patch {
    /// Makes a map or list where there is none.
    fn ensure(&mut self, field: Expr, place: &str, empty: Expr) {
        self.add_if(Some(field.has().not()), place, empty);
    }

    /// Makes a list where there is none, unless nothing comes into it.
    fn ensure_list(&mut self, field: &'static str, items: &[Item]) {
        let list = Expr::Name("object").field("spec").field(field);
        let is_added = |item: &&Item| item.value.name() != Some(OWN_CONTAINERS);
        // Without an item that is always there, the list may stay away as well.
        let needed = items
            .iter()
            .filter(is_added)
            .try_fold(Expr::Bool(false), |known, item| {
                Some(known.or(item.condition.clone()?))
            });
        let missing = list.has().not();
        let condition = match needed {
            None => missing,
            Some(needed) => missing.and(needed),
        };
        self.add_if(
            Some(condition),
            &format!("/spec/{field}"),
            Expr::List(Vec::new()),
        );
    }

    /// Puts items before all others of a list, in their order.
    fn prepend(
        &mut self,
        place: &str,
        items: impl DoubleEndedIterator<Item = (Option<Expr>, Expr)>,
    ) {
        let front = format!("{place}/0");
        for (condition, value) in items.rev() {
            self.add_if(condition, &front, value);
        }
    }

    fn add_if(&mut self, condition: Option<Expr>, place: &str, value: Expr) {
        let field = |name: &str, value| (name.to_owned(), false, value);
        let operation = Expr::Object(
            "JSONPatch".to_owned(),
            vec![
                field("op", Expr::text("add")),
                field("path", Expr::text(place)),
                field("value", value),
            ],
        );
        match (condition, self.parts.last_mut()) {
            (None | Some(Expr::Bool(true)), Some(Expr::List(operations))) => {
                operations.push(operation)
            }
            (None | Some(Expr::Bool(true)), _) => self.parts.push(Expr::List(vec![operation])),
            (Some(condition), _) => self
                .parts
                .push(condition.choose(Expr::List(vec![operation]), Expr::List(Vec::new()))),
        }
    }
}
