use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn reads(text: &str, expected: &Value) {
    assert_eq!(parse("test", text).as_ref(), Ok(expected), "{text:?}");
}

#[track_caller]
fn fails(text: &str, line: usize, column: usize, problem: &Problem) {
    let error = parse("test", text).expect_err(text);
    assert_eq!(
        (error.line, error.column, &error.problem),
        (line, column, problem),
        "{text:?}"
    );
}

#[test]
fn plain_scalars_are_what_go_yaml_makes_of_them() {
    let table: &[(&str, Value)] = &[
        ("0400", json!(256)),
        ("0o14", json!(12)),
        ("0b11", json!(3)),
        ("-0b11", json!(-3)),
        ("0x1F", json!(31)),
        ("-0x1f", json!(-31)),
        ("+12", json!(12)),
        ("1_000", json!(1000)),
        ("0_7", json!(7)),
        ("08", json!(8)),
        ("0", json!(0)),
        ("-0", json!(0)),
        ("9223372036854775807", json!(i64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX)),
        ("1e3", json!(1000)),
        ("1.0", json!(1)),
        ("1.", json!(1)),
        (".5", json!(0.5)),
        ("-.5", json!(-0.5)),
        ("1.25e2", json!(125)),
        ("685_230.15", json!(685230.15)),
        ("1e999", json!("1e999")),
        ("0x", json!("0x")),
        ("1.2.3", json!("1.2.3")),
        ("190:20:30", json!("190:20:30")),
        ("2001-12-14", json!("2001-12-14")),
        (
            "2001-12-14t21:59:43.10-05:00",
            json!("2001-12-14t21:59:43.10-05:00"),
        ),
        ("yes", json!(true)),
        ("Y", json!(true)),
        ("oN", json!("oN")),
        ("On", json!(true)),
        ("n", json!(false)),
        ("OFF", json!(false)),
        ("TRUE", json!(true)),
        ("tRUE", json!("tRUE")),
        ("~", json!(null)),
        ("NULL", json!(null)),
        ("nUll", json!("nUll")),
        ("250m", json!("250m")),
        ("15020-15030", json!("15020-15030")),
    ];
    for (text, expected) in table {
        reads(&format!("a: {text}"), &json!({"a": expected}));
    }
}

#[test]
fn quotes_blocks_and_tags_decide_over_the_looks_of_a_scalar() {
    reads(
        "a: 'yes'\nb: \"012\"\nc: |\n  5\nd: >-\n  no\n",
        &json!({"a": "yes", "b": "012", "c": "5\n", "d": "no"}),
    );
    reads(
        "a: !!str 5\nb: !!int '5'\nc: !!float 1\nd: !!bool 'on'\ne: !!binary aGk=\nf: !custom x\ng: !!str",
        &json!({"a": "5", "b": 5, "c": 1, "d": true, "e": "hi", "f": "x", "g": ""}),
    );
    fails(
        "a: !!int x",
        1,
        4,
        &Problem::Tag {
            value: "x".to_owned(),
            tag: "!!int".to_owned(),
        },
    );
}

#[test]
fn numbers_and_booleans_as_keys_become_strings() {
    reads(
        "1: a\nyes: b\n0x10: c\n",
        &json!({"1": "a", "true": "b", "16": "c"}),
    );
    fails("~: a", 1, 1, &Problem::Key);
    fails("? [a]\n: b", 1, 3, &Problem::Key);
}

#[test]
fn aliases_repeat_what_was_anchored_and_merge_keys_merge_in_order() {
    reads(
        "a: &x {k: 1}\nb: *x\n",
        &json!({"a": {"k": 1}, "b": {"k": 1}}),
    );
    reads(
        "x: &x {k: 1, l: 1}\na:\n  <<: *x\n  k: 2\n",
        &json!({"x": {"k": 1, "l": 1}, "a": {"k": 2, "l": 1}}),
    );
    reads(
        "x: &x {k: 1}\na:\n  k: 2\n  <<: *x\n",
        &json!({"x": {"k": 1}, "a": {"k": 1}}),
    );
    reads(
        "a:\n  <<: [{k: 1}, {k: 2, l: 2}]\n",
        &json!({"a": {"k": 1, "l": 2}}),
    );
    reads("a:\n  '<<': 1\n", &json!({"a": {"<<": 1}}));
    fails("a:\n  <<: 1\n", 2, 7, &Problem::Merge);
}

#[test]
fn a_duplicate_key_is_an_error_with_its_place() {
    let problem = Problem::DuplicateKey("b".to_owned());
    let error = parse("pod.yaml", "a:\n  b: 1\n  c: 2\n  b: 3\n").expect_err("duplicate");
    assert_eq!(error.problem, problem);
    assert_eq!(error.to_string(), "pod.yaml:4:3: duplicate key \"b\"");
}

#[test]
fn infinity_has_no_counterpart() {
    fails("a: .inf", 1, 4, &Problem::NotFinite(".inf".to_owned()));
    fails("a: .NaN", 1, 4, &Problem::NotFinite(".NaN".to_owned()));
}

#[test]
fn expansion_and_depth_are_bounded() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..20 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(matches!(
        parse("test", &laughs).map_err(|error| error.problem),
        Err(Problem::Expansion(16))
    ));
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..500 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(matches!(
        parse("test", &chain).map_err(|error| error.problem),
        Err(Problem::Depth)
    ));
    fails("a: &a [*a]", 1, 8, &Problem::RecursiveAlias);
    for bracket in ["[", "{a: ", "- ", "? "] {
        assert!(
            parse("test", &bracket.repeat(200_000)).is_err(),
            "{bracket}"
        );
    }
}

#[test]
fn one_document_is_read_and_a_second_one_is_named() {
    reads("", &json!(null));
    reads("# nothing\n", &json!(null));
    reads("---\n---\na: 1\n---\n", &json!({"a": 1}));
    fails("a: 1\n---\nb: 2\n", 3, 1, &Problem::SecondDocument);
}

#[test]
fn json_is_read_with_all_of_its_escapes() {
    reads(
        "{\n\t\"a\": \"\\/\\ud83d\\ude00\",\n\t\"b\": [1, 2.5, true, null]\n}",
        &json!({"a": "/😀", "b": [1, 2.5, true, null]}),
    );
}

#[test]
fn documents_are_cut_at_markers_and_nowhere_else() {
    let text = "\u{feff}# head\r\n---\r\na: 1\r\n--- # second\nb: |\n  ---\n  x\n...\n# between\nc: 3\n---\n%YAML 1.1\n---\n";
    let pieces: Vec<_> = documents(text)
        .iter()
        .map(|document| (document.raw, document.lines_before))
        .collect();
    assert_eq!(
        pieces,
        [
            ("\u{feff}# head\r\n", 0),
            ("---\r\na: 1\r\n", 1),
            ("--- # second\nb: |\n  ---\n  x\n...\n# between\n", 3),
            ("c: 3\n", 9),
            ("---\n%YAML 1.1\n", 10),
            ("---\n", 12),
        ]
    );
    let error = documents("a: 1\n---\nb: 1\nb: 2\n")
        .get(1)
        .expect("two")
        .parse("f.yaml")
        .expect_err("duplicate");
    assert_eq!(error.to_string(), "f.yaml:4:1: duplicate key \"b\"");
}

#[test]
fn strings_that_another_reader_might_misread_are_quoted() {
    let value = json!({
        "plain": ["a", "a b", "$(POD_NAME).svc", "--flag=x", "10.0.0.1", "15090,15021", "-p", "a:b", "é"],
        "quoted": ["", "yes", "on", "012", "1e3", "null", "~", " a", "a ", "a: b", "a #b", "*", "12:30", "2001-01-01", "-", "0o14", "a:", "=", "<<", "1_000", ".5", "[", "@a", "`", "%a", "a\tb"],
        "single": ["{\"a\":1}", "C:\\x"],
        "literal": ["a\nb", "a\n b\n", "a\n\nb\n"],
    });
    let text = to_string(&value);
    let lines: Vec<_> = text.lines().collect();
    for plain in [
        "- a",
        "- $(POD_NAME).svc",
        "- --flag=x",
        "- 10.0.0.1",
        "- 15090,15021",
        "- -p",
        "- a:b",
        "- é",
        "- |-",
        "- |",
    ] {
        assert!(lines.contains(&plain), "{plain}\n{text}");
    }
    for quoted in [
        "- \"\"",
        "- \"yes\"",
        "- \"012\"",
        "- \"1e3\"",
        "- \"null\"",
        "- \"~\"",
        "- \" a\"",
        "- \"12:30\"",
        "- '{\"a\":1}'",
    ] {
        assert!(lines.contains(&quoted), "{quoted}\n{text}");
    }
    assert_eq!(parse("test", &text), Ok(value));
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-a-z0-9:#. ]{0,8}",
        "[+-]?[0-9][0-9_.:eExXobB-]{0,6}",
        any::<String>(),
        "([ \t]?[a-z#-]{0,3}\n){0,4}[ a-z]{0,3}",
        prop::sample::select(vec![
            "yes",
            "No",
            "~",
            "null",
            "<<",
            "=",
            "-",
            "---",
            "...",
            "? a",
            "- a",
            "&a",
            "*a",
            "!a",
            "|",
            "a: b",
            "\u{85}",
            "\u{feff}a"
        ])
        .prop_map(str::to_owned),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Whole floats read back as integers, by design.
        any::<f64>()
            .prop_filter("fractional", |value| value.is_finite()
                && value.fract() != 0.0)
            .prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(texts(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(value in values()) {
        let text = to_string(&value);
        prop_assert_eq!(parse("test", &text).map_err(|error| format!("{error}\n{text}")), Ok(value));
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse("test", &text);
    }

    #[test]
    fn text_made_of_indicators_is_read_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@a1 \n\t]{0,60}") {
        let _ = parse("test", &text);
    }

    #[test]
    fn the_pieces_of_a_stream_are_the_stream(text in "((---|\\.\\.\\.|%YAML 1.1|#|a: 1|  b|---x|)(\r?\n| ))*") {
        let pieces: String = documents(&text).iter().map(|document| document.raw).collect();
        prop_assert_eq!(pieces, text);
    }
}
