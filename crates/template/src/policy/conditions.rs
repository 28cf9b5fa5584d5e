//! Which pods the policy injects: the decision of the webhook, and what the policy has to leave to others.
//!
//! Made from the configuration's rules and from what the template turned out to need. Each exclusion has a message for the author of a pod, because
//! the validating policy that goes with the mutating one refuses what neither has injected.

use std::collections::BTreeSet;

use contract::{
    annotations, labels,
    pod::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER},
};

use super::{
    cel::Expr,
    explore::Found,
    facts, probes,
    tree::{Item, Node},
};
use crate::{
    decide::{MIRROR, PROTECTED_NAMESPACES, Policy},
    options::{NativeSidecars, Options},
    selector::{Requirement, Selector},
};

/// The exclusion by annotations.
pub(super) const ANNOTATIONS: &str = "annotations";

/// A named condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) name: &'static str,
    pub(super) holds: Expr,
}

/// Pods that the policy does not inject although they are to have a sidecar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exclusion {
    /// A stable name.
    pub(super) code: &'static str,
    /// What such a pod has, after "the pod".
    pub(super) what: String,
    pub(super) why: &'static str,
    /// True for such pods.
    pub(super) holds: Expr,
    /// What a pod has of it, as a text.
    pub(super) named: Option<Expr>,
}

/// Annotations that change the injection in ways that are not the template's.
const ENGINE_ANNOTATIONS: [&str; 6] = [
    annotations::TEMPLATES,
    annotations::OVERRIDES,
    annotations::PROXY_CONFIG,
    annotations::NATIVE_SIDECAR,
    annotations::REWRITE_PROBES,
    "sidecar.istio.io/proxyImageType",
];

/// Annotations that Prometheus reads, in each spelling that it takes for the same.
const SCRAPING: &str = "^prometheus[^a-zA-Z0-9]((io[^a-zA-Z0-9](port|path|scrape))|(istio[^a-zA-Z0-9]io[^a-zA-Z0-9](scrape[^a-zA-Z0-9]targets|secure[^a-zA-Z0-9]port|merge[^a-zA-Z0-9]metrics)))$";

/// Annotations that the policy never takes, each with the reason.
pub(super) fn untaken_annotations() -> impl Iterator<Item = (&'static str, &'static str)> {
    let checked = crate::validate::keys().map(|key| (key, "its value has to be checked"));
    let ours = ENGINE_ANNOTATIONS.map(|key| (key, "it changes more than the template does"));
    checked.chain(ours)
}

/// The webhook's decision, in its order, as conditions that must all hold.
pub(super) fn decision(rules: &crate::decide::Rules) -> Vec<Condition> {
    let spec = || Expr::Name("object").field("spec");
    let texts = |texts: &[&str]| Expr::List(texts.iter().map(|text| Expr::text(*text)).collect());
    let windows = |value: Expr| value.differs(Expr::text("windows"));
    let os = spec().field_if("os").field_or("name", Expr::text(""));
    let node = facts::entry(
        spec().field_or("nodeSelector", Expr::Map(Vec::new())),
        "kubernetes.io/os",
        Expr::text(""),
    );
    let any = |selectors: &[Selector]| {
        selectors
            .iter()
            .map(matches)
            .fold(Expr::Bool(false), Expr::or)
    };
    let by_rules = any(&rules.never)
        .not()
        .and(any(&rules.always).or(Expr::Bool(rules.policy == Policy::Enabled)));
    let is = |value: &str| facts::wish().equals(Expr::text(value));
    let wanted = is("true").or(is("false").not().and(by_rules));
    [
        (
            "no-host-network",
            spec().field_or("hostNetwork", Expr::Bool(false)).not(),
        ),
        ("not-windows", windows(os).and(windows(node))),
        (
            "namespace-not-protected",
            facts::namespace()
                .within(texts(&PROTECTED_NAMESPACES))
                .not(),
        ),
        (
            "no-mirror-pod",
            facts::has_key(MIRROR, facts::annotations()).not(),
        ),
        ("wanted", wanted),
    ]
    .into_iter()
    .map(|(name, holds)| Condition { name, holds })
    .collect()
}

/// A label selector; one without requirements matches nothing.
fn matches(selector: &Selector) -> Expr {
    let is_there = |key: &str| facts::has_key(key, facts::labels());
    let is_one = |key: &str, values: &[String]| {
        let values = Expr::List(values.iter().map(Expr::text).collect());
        let value = facts::labels().at(Expr::text(key));
        is_there(key).and(value.within(values))
    };
    let requirements = selector.requirements();
    if requirements.is_empty() {
        return Expr::Bool(false);
    }
    requirements
        .iter()
        .map(|requirement| match requirement {
            Requirement::In(key, values) => is_one(key, values),
            Requirement::NotIn(key, values) => is_one(key, values).not(),
            Requirement::Exists(key) => is_there(key),
            Requirement::DoesNotExist(key) => is_there(key).not(),
        })
        .fold(Expr::Bool(true), Expr::and)
}

/// Whether the pod has been injected, by whomever.
pub(super) fn is_injected() -> Expr {
    let sidecar = [PROXY_CONTAINER.to_owned()];
    let has = |list| facts::has_named(list, &sidecar);
    has_status().and(has("containers").or(has("initContainers")))
}

pub(super) fn has_status() -> Expr {
    facts::has_key(annotations::STATUS, facts::annotations())
}

/// What the policy does not inject.
pub(super) fn exclusions(options: &Options, found: &Found) -> Vec<Exclusion> {
    let added = &found.added;
    let mut exclusions = vec![of_annotations(found), of_containers(added)];
    exclusions.extend(of_volumes(added));
    exclusions.extend(of_pull_secrets(added));
    exclusions.push(Exclusion {
        code: "network-label",
        what: format!("has the label {}", labels::NETWORK),
        why: "it changes the sidecar's variables",
        holds: facts::has_key(labels::NETWORK, facts::labels()),
        named: None,
    });
    if found.scrapes {
        let key = Expr::Name("k");
        let odd = key.clone().call("matches", [Expr::text(SCRAPING)]);
        exclusions.push(Exclusion {
            code: "scraping",
            what: "has annotations for Prometheus".to_owned(),
            why: "the mesh merges metrics, and what they say would have to move into the sidecar",
            holds: facts::annotations().call("exists", [key, odd]),
            named: None,
        });
    }
    exclusions.push(Exclusion {
        code: "control-characters",
        what: "has control characters in a probe or a port".to_owned(),
        why: "CEL does not write them as JSON",
        holds: probes::has_control_characters(),
        named: None,
    });
    exclusions.extend(of_node(options));
    exclusions
}

fn of_annotations(found: &Found) -> Exclusion {
    let keys = || Expr::List(found.absent.keys().map(Expr::text).collect());
    let key = || Expr::Name("k");
    let is_there = || key().within(facts::annotations());
    let present = keys().call("filter", [key(), is_there()]);
    Exclusion {
        code: ANNOTATIONS,
        what: "has an annotation that changes the injection".to_owned(),
        why: "its value has to be checked, or decides about more than texts",
        holds: keys().call("exists", [key(), is_there()]),
        named: Some(Expr::text("annotation ").plus(present.call("join", [Expr::text(", ")]))),
    }
}

fn of_containers(added: &Node) -> Exclusion {
    let lists = ["containers", "initContainers"];
    let spec = added.get("spec");
    let given = lists
        .iter()
        .filter_map(|list| spec?.get(list))
        .flat_map(Node::items)
        .filter_map(|item| item.value.name())
        .filter(|name| *name != crate::inject::OWN_CONTAINERS);
    let names: BTreeSet<&str> = given
        .chain([PROXY_CONTAINER, INIT_CONTAINER, VALIDATION_CONTAINER])
        .collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let has = |list| facts::has_named(list, &names);
    Exclusion {
        code: "containers",
        what: format!("has a container of its own named {}", names.join(", ")),
        why: "merging it with the injected one is not possible in CEL",
        holds: has("containers").or(has("initContainers")),
        named: None,
    }
}

fn names_in<'n>(added: &'n Node, list: &str) -> Vec<&'n Item> {
    let list = added.get("spec").and_then(|spec| spec.get(list));
    list.map(Node::items).unwrap_or_default().iter().collect()
}

fn of_volumes(added: &Node) -> Option<Exclusion> {
    let names: Vec<String> = names_in(added, "volumes")
        .iter()
        .filter_map(|item| item.value.name())
        .map(str::to_owned)
        .collect();
    (!names.is_empty()).then(|| Exclusion {
        code: "volumes",
        what: format!("has a volume of its own named {}", names.join(", ")),
        why: "merging it with the injected one is not possible in CEL",
        holds: facts::has_named("volumes", &names),
        named: None,
    })
}

/// With several secrets, those of the pod and of the template may alternate.
fn of_pull_secrets(added: &Node) -> Option<Exclusion> {
    let names: Vec<Expr> = names_in(added, "imagePullSecrets")
        .iter()
        .filter_map(|item| item.value.name())
        .map(Expr::text)
        .collect();
    if names.len() < 2 {
        return None;
    }
    let known = facts::spec_list("imagePullSecrets").call(
        "exists",
        [
            Expr::Name("s"),
            Expr::Name("s").field("name").within(Expr::List(names)),
        ],
    );
    Some(Exclusion {
        code: "pull-secrets",
        what: "names a pull secret of the mesh itself".to_owned(),
        why: "its place among several would have to be found",
        holds: known,
        named: None,
    })
}

/// Where nodes differ, the form of the sidecar depends on the node.
fn of_node(options: &Options) -> Option<Exclusion> {
    let nodes = options.nodes.as_deref().unwrap_or_default();
    let forms: BTreeSet<bool> = nodes
        .iter()
        .map(|node| options.native_sidecar_on(&node.name))
        .collect();
    let is_mixed = options.native_sidecars == NativeSidecars::Auto && forms.len() > 1;
    is_mixed.then(|| Exclusion {
        code: "node",
        what: "is bound to a node".to_owned(),
        why: "the nodes have different versions, and the sidecar's form depends on them",
        holds: Expr::Name("object").field("spec").field("nodeName").has(),
        named: None,
    })
}
