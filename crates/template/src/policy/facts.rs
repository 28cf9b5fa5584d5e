//! What CEL can ask of a pod that is being created, as templates know it.
//!
//! Used by the partial execution of templates and by everything that `policy` makes. `object` is the pod as the API server has defaulted it.
//! The owner's expressions say what `owner` says in Rust; a test on a real API server compares the two.

use contract::labels;
use serde_json::Value;

use super::cel::{Expr, Operator};

/// Variables of the policy, in the order in which they need each other.
pub(super) const CONTROLLER: &str = "controller";
pub(super) const OWNER: &str = "owner";

/// The variable that stands for a container in comprehensions.
pub(crate) const CONTAINER: &str = "c";
/// The variable that stands for a port of a container.
pub(crate) const PORT: &str = "p";
/// The variable that stands for a text.
pub(crate) const PIECE: &str = "s";

fn object(field: &'static str) -> Expr {
    Expr::Name("object").field(field)
}

fn empty_map() -> Expr {
    Expr::Map(Vec::new())
}

fn empty_list() -> Expr {
    Expr::List(Vec::new())
}

/// A field of the pod's metadata, empty where it is not there.
pub(crate) fn metadata(field: &'static str) -> Expr {
    object("metadata").field_or(field, Expr::text(""))
}

/// A field of the pod's `spec` that is a text, empty where it is not there.
pub(crate) fn spec_text(field: &'static str) -> Expr {
    object("spec").field_or(field, Expr::text(""))
}

/// The seconds that the pod may take to end.
pub(crate) fn grace_period() -> Expr {
    object("spec").field("terminationGracePeriodSeconds")
}

/// A list in the pod's `spec`, empty where it is not there.
pub(crate) fn spec_list(field: &'static str) -> Expr {
    object("spec").field_or(field, empty_list())
}

/// The pod's own labels.
pub(crate) fn labels() -> Expr {
    object("metadata").field_or("labels", empty_map())
}

/// The pod's own annotations.
pub(crate) fn annotations() -> Expr {
    object("metadata").field_or("annotations", empty_map())
}

pub(crate) fn has_key(key: &str, map: Expr) -> Expr {
    Expr::text(key).within(map)
}

/// A label or annotation, or the default where it is not there.
pub(crate) fn entry(map: Expr, key: &str, default: Expr) -> Expr {
    map.at_or(Expr::text(key), default)
}

/// The keys of the annotations that an expression depends on.
pub(crate) fn annotation_keys(expr: &Expr) -> Vec<String> {
    let annotations = annotations();
    let mut keys = Vec::new();
    expr.visit(&mut |part| match part {
        Expr::At(map, key, _) if **map == annotations => {
            if let Expr::Text(key) = &**key {
                keys.push(key.clone());
            }
        }
        Expr::Binary(Operator::In, key, map) if **map == annotations => {
            if let Expr::Text(key) = &**key {
                keys.push(key.clone());
            }
        }
        _ => {}
    });
    keys
}

/// The namespace that the pod is created in.
pub(crate) fn namespace() -> Expr {
    Expr::Name("request").field("namespace")
}

/// The containers, which every valid pod has.
pub(crate) fn containers() -> Expr {
    object("spec").field("containers")
}

/// A part of the workload behind the pod: `apiVersion`, `kind` or `name`.
pub(crate) fn owner(field: &'static str) -> Expr {
    Expr::Name("variables").field(OWNER).field(field)
}

/// The expressions of the variables that [`owner`] needs, by name.
pub(super) fn owner_variables() -> [(&'static str, Expr); 2] {
    let references = object("metadata").field_or("ownerReferences", empty_list());
    let candidates = references.call(
        "filter",
        [
            Expr::Name("o"),
            Expr::Name("o").field_or("controller", Expr::Bool(false)),
        ],
    );
    // Without a generated name a pod stands for itself, whoever owns it.
    let controller = metadata("generateName")
        .equals(Expr::text(""))
        .choose(empty_list(), candidates);
    [(CONTROLLER, controller), (OWNER, behind())]
}

/// The workload behind the controller, by Kubernetes' naming rules.
fn behind() -> Expr {
    let controllers = || Expr::Name("variables").field(CONTROLLER);
    let controller = |field| controllers().at(Expr::Int(0)).field(field);
    let is = |kind: &str| controller("kind").equals(Expr::text(kind));
    let label = |key: &str| entry(labels(), key, Expr::text(""));
    let workload = |version: Expr, kind: Expr, name: Expr| {
        // Values of one map are of one type.
        Expr::Map(vec![
            (Expr::text("apiVersion"), version.apply("dyn")),
            (Expr::text("kind"), kind.apply("dyn")),
            (Expr::text("name"), name.apply("dyn")),
        ])
    };
    let name = || controller("name");
    let version = || controller("apiVersion");
    let hashed = |key: &str| {
        let suffix = || Expr::text("-").plus(label(key));
        let holds = label(key)
            .differs(Expr::text(""))
            .and(name().call("endsWith", [suffix()]))
            .and(
                name()
                    .apply("size")
                    .binary(Operator::Greater, suffix().apply("size")),
            );
        let end = name()
            .apply("size")
            .binary(Operator::Minus, suffix().apply("size"));
        (
            is("ReplicaSet").and(holds),
            name().call("substring", [Expr::Int(0), end]),
        )
    };
    let (is_deployment, deployment) = hashed("pod-template-hash");
    let (is_rollout, rollout) = hashed("rollouts-pod-template-hash");
    let config = label("deploymentconfig");
    let is_cron_job = is("Job").and(name().call("matches", [Expr::text("^.+-[0-9]{8,10}$")]));
    let cron_job = name().call(
        "substring",
        [Expr::Int(0), name().call("lastIndexOf", [Expr::text("-")])],
    );
    let text = |text: &str| Expr::text(text);
    let itself = workload(text("v1"), text("Pod"), metadata("name"));
    let none = controllers().apply("size").equals(Expr::Int(0));
    none.choose(
        itself,
        is_deployment.choose(
            workload(version(), text("Deployment"), deployment),
            is_rollout.choose(
                workload(text("v1alpha1"), text("Rollout"), rollout),
                is("ReplicationController")
                    .and(config.clone().differs(text("")))
                    .choose(
                        workload(version(), text("DeploymentConfig"), config),
                        is_cron_job.choose(
                            workload(text("batch/v1"), text("CronJob"), cron_job),
                            workload(version(), controller("kind"), name()),
                        ),
                    ),
            ),
        ),
    )
}

/// Whether some container in a list of the pod has one of these names.
pub(super) fn has_named(list: &'static str, names: &[String]) -> Expr {
    let names = Expr::List(names.iter().map(Expr::text).collect());
    spec_list(list).call(
        "exists",
        [
            Expr::Name(CONTAINER),
            Expr::Name(CONTAINER).field("name").within(names),
        ],
    )
}

/// A text as JSON. Other control characters than the usual ones have to be ruled out elsewhere.
pub(crate) fn json_text(text: Expr) -> Expr {
    text.apply("strings.quote")
}

/// `{…}` of members that are a text each, of which empty ones are left out.
pub(crate) fn json_object(members: Vec<Expr>) -> Expr {
    let is_there = Expr::Name(PIECE).differs(Expr::text(""));
    let members = Expr::List(members)
        .call("filter", [Expr::Name(PIECE), is_there])
        .call("join", [Expr::text(",")]);
    Expr::text("{").plus(members).plus(Expr::text("}"))
}

/// `"name":value`.
pub(crate) fn json_member(name: &str, value: Expr) -> Expr {
    Expr::text(format!("{}:", Value::from(name))).plus(value)
}

/// `"name":value`, or an empty text where there is no such field.
pub(crate) fn json_member_of(
    of: &Expr,
    name: &'static str,
    value: impl FnOnce(Expr) -> Expr,
) -> Expr {
    let field = of.clone().field(name);
    field
        .clone()
        .has()
        .choose(json_member(name, value(field)), Expr::text(""))
}

/// A container's port as Go writes it in JSON.
pub(crate) fn port_json(port: &Expr) -> Expr {
    let number = |value: Expr| value.apply("string");
    json_object(vec![
        json_member_of(port, "name", json_text),
        json_member_of(port, "hostPort", number),
        json_member("containerPort", number(port.clone().field("containerPort"))),
        json_member_of(port, "protocol", json_text),
        json_member_of(port, "hostIP", json_text),
    ])
}

/// What the pod itself says about injection: the label, else the annotation, else an empty text.
pub(super) fn wish() -> Expr {
    let annotation = entry(annotations(), labels::INJECT, Expr::text(""));
    entry(labels(), labels::INJECT, annotation)
}
