//! Rewriting the author's probes and lifecycle handlers, in CEL.
//!
//! Used where the configuration rewrites probes; does what `probes` does in Rust.
//! One variable lists all handlers, another those that are rewritten; from it come the changes of the pod and the agent's instructions.

use contract::paths;

use super::{
    cel::{Expr, Operator},
    facts,
};

/// The variables, in the order in which they need each other.
pub(super) const HANDLERS: &str = "handlers";
pub(super) const REWRITTEN: &str = "rewritten";

/// A handler in comprehensions.
const HANDLER: &str = "h";

/// Fields of containers with probes: the last part of their URL path.
const PROBES: [(&str, &str); 3] = [
    ("livenessProbe", "livez"),
    ("readinessProbe", "readyz"),
    ("startupProbe", "startupz"),
];
const LIFECYCLE: [(&str, &str); 2] = [("postStart", "poststartz"), ("preStop", "prestopz")];

/// Characters that Kubernetes lets into probes, and no URL or header has.
const CONTROL_CHARACTERS: &str = r"[\x00-\x1f]";

/// The variables that the other expressions use.
pub(super) fn variables(status_port: u16) -> [(&'static str, Expr); 2] {
    [(HANDLERS, handlers()), (REWRITTEN, rewritten(status_port))]
}

/// All probes and lifecycle handlers of the pod.
fn handlers() -> Expr {
    let mut lists = Vec::new();
    for list in ["containers", "initContainers"] {
        for (field, path) in PROBES {
            lists.push(of_container(list, &[field], paths::APP_HEALTH, path));
        }
        for (field, path) in LIFECYCLE {
            lists.push(of_container(
                list,
                &["lifecycle", field],
                paths::APP_LIFECYCLE,
                path,
            ));
        }
    }
    sum(lists)
}

fn sum(lists: Vec<Expr>) -> Expr {
    let whole = lists
        .into_iter()
        .reduce(|whole, list| whole.binary(Operator::Plus, list));
    whole.unwrap_or(Expr::List(Vec::new()))
}

/// For each container in the list that has the handler: where it is, what it is, and the container's ports.
fn of_container(list: &'static str, fields: &[&'static str], prefix: &str, path: &str) -> Expr {
    let container = || Expr::Name(facts::CONTAINER);
    let mut place = Expr::text(format!("/spec/{list}/")).plus(Expr::Name("i").apply("string"));
    let mut optional = container();
    let mut handler = container();
    for field in fields {
        place = place.plus(Expr::text(format!("/{field}")));
        optional = optional.field_if(field);
        handler = handler.field(*field);
    }
    let url = Expr::text(format!("{prefix}/"))
        .plus(container().field("name"))
        .plus(Expr::text(format!("/{path}")));
    let ports = container().field_or("ports", Expr::List(Vec::new()));
    let entry = |key: &str, value: Expr| (Expr::text(key), value.apply("dyn"));
    let described = Expr::Map(vec![
        entry("place", place),
        entry("url", url),
        entry("handler", handler),
        entry("ports", ports),
    ]);
    facts::spec_list(list).call(
        "transformList",
        [
            Expr::Name("i"),
            container(),
            optional.call("hasValue", []),
            described,
        ],
    )
}

/// The handlers that are rewritten, with their kind and the number of their port.
fn rewritten(status_port: u16) -> Expr {
    let handler = || Expr::Name(HANDLER);
    let of = |field| handler().field(field);
    let kind = |name| of("handler").field(name).has();
    let kinds = kind("httpGet").choose(
        Expr::text("httpGet"),
        kind("tcpSocket").choose(
            Expr::text("tcpSocket"),
            // A lifecycle handler cannot be one.
            kind("grpc").choose(Expr::text("grpc"), Expr::text("")),
        ),
    );
    let entry = |key: &str, value: Expr| (Expr::text(key), value.apply("dyn"));
    let copy = |key: &'static str| entry(key, of(key));
    let with_kind = Expr::Map(vec![
        copy("place"),
        copy("url"),
        copy("handler"),
        copy("ports"),
        entry("kind", kinds),
    ]);
    let port = || of("handler").at(of("kind")).field("port");
    let is_number = || port().apply("type").equals(Expr::Name("int"));
    let named = |then: &'static str| {
        let is_it = Expr::Name(facts::PORT)
            .field_or("name", Expr::text(""))
            .equals(port());
        of("ports").call(then, [Expr::Name(facts::PORT), is_it])
    };
    let is_digits = port()
        .apply("string")
        .call("matches", [Expr::text("^[0-9]{1,5}$")]);
    let is_known = is_number().or(named("exists")).or(is_digits);
    let asks_agent = of("kind")
        .differs(Expr::text("grpc"))
        .and(port().equals(Expr::Int(status_port.into()).apply("dyn")));
    let is_rewritten = of("kind")
        .differs(Expr::text(""))
        .and(is_known)
        .and(asks_agent.not());
    let number = is_number().choose(
        port(),
        named("exists").choose(
            named("filter").at(Expr::Int(0)).field("containerPort"),
            port().apply("int").apply("dyn"),
        ),
    );
    let with_number = Expr::Map(vec![
        copy("place"),
        copy("url"),
        copy("handler"),
        copy("kind"),
        entry("port", number),
    ]);
    Expr::Name("variables")
        .field(HANDLERS)
        .call("map", [handler(), with_kind])
        .call("filter", [handler(), is_rewritten])
        .call("map", [handler(), with_number])
}

/// Whether anything is rewritten.
pub(super) fn is_needed() -> Expr {
    let rewritten = Expr::Name("variables").field(REWRITTEN);
    rewritten
        .apply("size")
        .binary(Operator::Greater, Expr::Int(0))
}

/// Changes of the pod, before anything else moves its containers.
pub(super) fn patches(status_port: u16) -> Expr {
    let of = |field| Expr::Name(HANDLER).field(field);
    let (key, value) = (Expr::Name("k"), Expr::Name("v"));
    let single = |key: Expr, value: Expr| Expr::Map(vec![(key, value.apply("dyn"))]);
    let port = Expr::Int(status_port.into());
    let is_key = |name: &str| Expr::Name("f").equals(Expr::text(name));
    let is_https = is_key("scheme").and(Expr::Name("x").equals(Expr::text("HTTPS")));
    let of_http = is_key("path").choose(
        of("url"),
        is_key("port").choose(
            port.clone().apply("dyn"),
            is_https.choose(Expr::text("HTTP").apply("dyn"), Expr::Name("x")),
        ),
    );
    let http = value.clone().call(
        "transformMap",
        [Expr::Name("f"), Expr::Name("x"), of_http.apply("dyn")],
    );
    let other = Expr::Map(vec![
        (Expr::text("path"), of("url").apply("dyn")),
        (Expr::text("port"), port.apply("dyn")),
    ]);
    let get = of("kind")
        .equals(Expr::text("httpGet"))
        .choose(http.apply("dyn"), other.apply("dyn"));
    let changed = of("handler").call(
        "transformMapEntry",
        [
            key.clone(),
            value.clone(),
            key.clone()
                .equals(of("kind"))
                .choose(single(Expr::text("httpGet"), get), single(key, value)),
        ],
    );
    let patch = Expr::Object(
        "JSONPatch".to_owned(),
        vec![
            ("op".to_owned(), false, Expr::text("replace")),
            ("path".to_owned(), false, of("place")),
            ("value".to_owned(), false, changed),
        ],
    );
    Expr::Name("variables")
        .field(REWRITTEN)
        .call("map", [Expr::Name(HANDLER), patch])
}

/// What the agent is told, as JSON.
pub(super) fn instructions() -> Expr {
    let of = |field| Expr::Name(HANDLER).field(field);
    let action = || of("handler").at(of("kind"));
    let port = || facts::json_member("port", of("port").apply("string"));
    let text = |name| facts::json_member_of(&action(), name, facts::json_text);
    let is_kind = |kind: &str| of("kind").equals(Expr::text(kind));
    let header = Expr::Name("x");
    let header = facts::json_object(vec![
        facts::json_member("name", facts::json_text(header.clone().field("name"))),
        facts::json_member(
            "value",
            facts::json_text(header.field_or("value", Expr::text(""))),
        ),
    ]);
    let headers = |headers: Expr| {
        let all = headers.call("map", [Expr::Name("x"), header]);
        let all = all.call("join", [Expr::text(",")]);
        Expr::text("[").plus(all).plus(Expr::text("]"))
    };
    let http = facts::json_object(vec![
        text("host"),
        facts::json_member_of(&action(), "httpHeaders", headers),
        text("path"),
        port(),
        text("scheme"),
    ]);
    let service = action().field("service").has().choose(
        facts::json_member("service", facts::json_text(action().field("service"))),
        Expr::text("\"service\":null"),
    );
    let grpc = facts::json_object(vec![port(), service]);
    let tcp = facts::json_object(vec![text("host"), port()]);
    let what = is_kind("httpGet").choose(
        facts::json_member("httpGet", http),
        is_kind("grpc").choose(
            facts::json_member("grpc", grpc),
            facts::json_member("tcpSocket", tcp),
        ),
    );
    let timeout = facts::json_member_of(&of("handler"), "timeoutSeconds", |value| {
        value.apply("string")
    });
    let instruction = facts::json_text(of("url"))
        .plus(Expr::text(":"))
        .plus(facts::json_object(vec![what, timeout]));
    let all = Expr::Name("variables")
        .field(REWRITTEN)
        .call("map", [Expr::Name(HANDLER), instruction]);
    Expr::text("{")
        .plus(all.call("join", [Expr::text(",")]))
        .plus(Expr::text("}"))
}

/// Whether the pod has something that ends up in JSON with characters for which CEL has no JSON.
pub(super) fn has_control_characters() -> Expr {
    let odd = |text: Expr| text.call("matches", [Expr::text(CONTROL_CHARACTERS)]);
    // The containers' types differ where the API server checks types, and their handlers' as well.
    let container = || Expr::Name(facts::CONTAINER).apply("dyn");
    let optional = |fields: &[&'static str]| {
        fields
            .iter()
            .fold(container(), |inner, field| inner.field_if(field))
    };
    let get = || Expr::Name(HANDLER).field_or("httpGet", Expr::Map(Vec::new()));
    let in_get = |field: &'static str| odd(get().field_or(field, Expr::text("")));
    let in_header = odd(Expr::Name("x").field_or("value", Expr::text("")));
    let in_headers = get()
        .field_or("httpHeaders", Expr::List(Vec::new()))
        .call("exists", [Expr::Name("x"), in_header]);
    let in_handler = in_get("path").or(in_get("host")).or(in_headers);
    let handlers = Expr::List(vec![
        optional(&["livenessProbe"]),
        optional(&["readinessProbe"]),
        optional(&["startupProbe"]),
        optional(&["lifecycle", "postStart"]),
        optional(&["lifecycle", "preStop"]),
    ]);
    // A handler that is not there is as one without anything in it.
    let in_handlers = handlers
        .call(
            "map",
            [
                Expr::Name("o"),
                Expr::Name("o").call("orValue", [Expr::Map(Vec::new())]),
            ],
        )
        .call("exists", [Expr::Name(HANDLER), in_handler]);
    let in_ports = container().field_or("ports", Expr::List(Vec::new())).call(
        "exists",
        [
            Expr::Name(facts::PORT),
            odd(Expr::Name(facts::PORT).field_or("hostIP", Expr::text(""))),
        ],
    );
    let is_odd = in_handlers.or(in_ports);
    let has = |list| {
        facts::spec_list(list).call("exists", [Expr::Name(facts::CONTAINER), is_odd.clone()])
    };
    has("containers").or(has("initContainers"))
}
