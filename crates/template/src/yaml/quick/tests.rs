use proptest::prelude::*;

use super::*;
use crate::yaml::{load, to_string};

/// Every form that is known here, as templates render them.
const KNOWN: &str = r#"
metadata:
  labels:
    app: web  
    security.istio.io/tlsMode: "istio"
  annotations: {
    istio.io/rev: "default",
    "a/b": 'it''s', port: 1.5e3, resources: {"limits":{"cpu":"2","memory":1Gi}},

    empty: {}, list: [a, "b", [c, 012, yes]],
    }
spec:
    # indented otherwise
    containers:
    - name: istio-proxy
      image: registry.example:5000/mesh/proxy:1.0
      args:
        - proxy
        - --log_output_level=default:info
        - -x
        - "two words # and a hash: \t\u003c\"\\\/"
        - ''
      env:

      - name: PROXY_CONFIG
        value: |
          {"discoveryAddress":"istiod:15012"}
            indented

          last
      -   name: ISTIO_META_POD_PORTS
          value: |-
            [
            ]

      # a comment
      - name: POD_NAME
        valueFrom:
          fieldRef: {fieldPath: metadata.name, path: /healthz/ready}
      - |
       text
      securityContext:
        runAsUser: 1337
        allowPrivilegeEscalation: false
        nothing:
        null_too: ~
    volumes: []
    $setElementOrder/volumes:
    - a
"#;

/// Checks that the text is either not read here, or is what the full reader makes of it.
#[track_caller]
fn agrees(text: &str) -> bool {
    let Some(value) = read(text) else {
        return false;
    };
    let full = load::read(text).ok();
    assert_eq!(Some(value), full, "{text:?}");
    true
}

#[test]
fn what_templates_render_is_read() {
    assert!(agrees(KNOWN));
}

#[test]
fn what_is_unusual_or_wrong_is_left_to_the_full_reader() {
    for text in [
        "",
        "- a",
        "a: 1\na: 2",
        "a: {b: 1, b: 2}",
        "a: &x 1",
        "a: *x",
        "a: !!str 1",
        "<<: {a: 1}",
        "yes: 1",
        "1: a",
        "\"a\": 1",
        "? a",
        "a: b: c",
        "a: b #c",
        "a: b\n c",
        "a: \"b\n  c\"",
        "a: \"b\" c",
        "a: \"\\x41\"",
        "a: \"\\ud83d\\ude00\"",
        "a: >\n b",
        "a: |2\n   b",
        "a: |\n\n  b\n",
        "a: |\n  b",
        "a: |\n   b\n  c\n",
        "a: |\nb: c",
        "a: .inf",
        "a: [b: c]",
        "a: [b, , c]",
        "a: [b\n]",
        "a: {b: c d}",
        "a: {b}",
        "a: [",
        "a:\n  b",
        "a:\n   b: 1\n  c: 2",
        "a: - b",
        "a:\n  - b\n c: 1",
        "a: 1\n---\nb: 1",
        "---\na: 1",
        "a: 1\n...",
        "a: é",
        "a:\tb",
        "a: 1\r\n",
        "%YAML 1.1",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
    let deep = |levels: usize| {
        (0..levels).fold(String::new(), |text, level| {
            format!("{text}{}a:\n", " ".repeat(level))
        })
    };
    assert!(agrees(&deep(MAX_DEPTH)));
    assert!(!agrees(&deep(MAX_DEPTH + 1)));
    assert!(!agrees(&format!("a: {}", "[".repeat(100_000))));
}

/// Pieces that mean something to YAML, so that they fit together more often than single characters do.
const PIECES: &[&str] = &[
    "a: ",
    "b:",
    "c/d.e: ",
    "- ",
    "-",
    "- - ",
    "x",
    "y z",
    "1",
    "012",
    "yes",
    "~",
    "-x",
    "--",
    "/p/q",
    "\"q r\"",
    "'s''t'",
    "\"\\u0041\\n",
    "\"",
    "'",
    "|",
    "|-",
    "|+",
    ">",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ",",
    ":",
    ": ",
    "#",
    " #c",
    "# d",
    "&e ",
    "*e",
    "!f ",
    "? ",
    "<<: ",
    "---",
    "...",
    "%",
    "@",
    "\n",
    "\n",
    "\n",
    "\n ",
    "\n  ",
    "\n  ",
    "\n    ",
    "\n  - ",
    "\n- ",
    "\na: ",
    "\n  b: ",
    "\n  - c: ",
    "\n    d: ",
    " ",
    "  ",
    "{}",
    "[]",
    "{a: b}",
    "\"k\":",
    "\n\n",
];

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(PIECES);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn arbitrary_yaml_is_read_as_the_full_reader_reads_it_or_not_at_all(text in pieces()) {
        agrees(&text);
    }

    #[test]
    fn a_map_with_any_continuation_is_read_as_the_full_reader_reads_it_or_not_at_all(text in pieces(), indent in 0..4_usize) {
        agrees(&format!("a:\n{}{text}\n", " ".repeat(indent)));
        agrees(&format!("a:\n- {text}\n"));
        agrees(&format!("a: {text}\n"));
    }

    #[test]
    fn rendered_text_with_a_piece_put_in_is_read_as_the_full_reader_reads_it_or_not_at_all(piece in pieces(), at in any::<prop::sample::Index>()) {
        let (before, after) = KNOWN.split_at(at.index(KNOWN.len()));
        agrees(&format!("{before}{piece}{after}"));
    }

    #[test]
    fn written_values_are_read_as_the_full_reader_reads_them(values in prop::collection::btree_map("[a-z]{1,3}", "[ -~\n]{0,12}", 1..6)) {
        let value = serde_json::json!(values);
        let text = to_string(&serde_json::json!({"value": value, "list": [value, [], {}]}));
        agrees(&text);
    }
}
