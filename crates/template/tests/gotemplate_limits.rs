//! Templates and data that want too much: each ends in an error, in bounded time, on an ordinary thread's stack.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use template::functions::{FunctionError, Functions};
use template::gotemplate::limits::{Limit, MAX_TEXT};
use template::gotemplate::{
    Delimiters, ExecError, ExecReason, ParseError, ParseReason, Template, Value,
};

fn parse(text: &str) -> Result<Template, ParseError> {
    Template::parse("t", text, Delimiters::CURLY, &Functions::injection())
}

fn execute(text: &str, data: &Json) -> Result<String, ExecError> {
    let template = parse(text).expect("the test's template parses");
    template.execute(&Value::plain(data))
}

#[track_caller]
fn reaches(text: &str, limit: Limit) {
    let error = execute(text, &json!({})).expect_err("the template wants too much");
    let reached = match error.reason {
        ExecReason::Limit(reached)
        | ExecReason::Call {
            error: FunctionError::Limit(reached),
            ..
        } => reached,
        other => panic!("{text}: {other}"),
    };
    assert_eq!(reached, limit, "{text}");
}

#[test]
fn deep_nesting_is_refused_by_the_parser() {
    for (open, close) in [
        ("(", ")"),
        ("{{if true}}", "{{end}}"),
        ("{{range 1}}", "{{end}}"),
        ("{{with 1}}", "{{end}}"),
        ("{{block `x` .}}", "{{end}}"),
        ("{{if 1}}{{else}}", "{{end}}"),
    ] {
        for depth in [101, 20_000] {
            let nest = open.repeat(depth) + "1" + &close.repeat(depth);
            let text = if open == "(" {
                format!("{{{{{nest}}}}}")
            } else {
                nest
            };
            let error = parse(&text).expect_err("nested too deeply");
            assert_eq!(error.reason, ParseReason::TooDeep, "{open} {depth}");
        }
    }
}

#[test]
fn two_hundred_thousand_parentheses_are_refused() {
    let text = format!("{{{{{}1{}}}}}", "(".repeat(200_000), ")".repeat(200_000));
    let error = parse(&text).expect_err("nested too deeply");
    assert_eq!(error.reason, ParseReason::TooDeep);
}

#[test]
fn openings_without_end_are_refused() {
    for text in [
        "{{", "{{(", "{{if 1}}", "((((", "{{\"", "{{`", "{{/*", "{{range",
    ] {
        assert!(parse(&text.repeat(100_000)).is_err() || text == "((((");
    }
}

#[test]
fn a_long_chain_of_branches_is_no_nesting() {
    let mut text = String::from("{{if eq . 0}}0");
    for number in 1..5000 {
        write!(text, "{{{{else if eq . {number}}}}}{number}").expect("a string takes it");
    }
    text.push_str("{{else}}none{{end}}");
    let template = parse(&text).expect("a chain of any length parses");
    assert_eq!(template.execute(&Value::Int(4321)), Ok("4321".to_owned()));
    assert_eq!(template.execute(&Value::Int(5000)), Ok("none".to_owned()));
}

#[test]
fn the_deepest_nesting_that_parses_also_executes() {
    let depth = 95;
    let text = "{{if true}}".repeat(depth) + "x" + &"{{end}}".repeat(depth);
    assert_eq!(execute(&text, &json!({})), Ok("x".to_owned()));
    let text = format!("{{{{{}1{}}}}}", "(print ".repeat(depth), ")".repeat(depth));
    assert_eq!(execute(&text, &json!({})), Ok("1".to_owned()));
}

#[test]
fn endless_recursion_ends() {
    reaches(
        "{{define `x`}}{{template `x` .}}{{end}}{{template `x` .}}",
        Limit::Depth,
    );
    // As much as possible between two calls.
    let depth = 90;
    let text = format!(
        "{{{{define `x`}}}}{}{{{{template `x` {}.{}}}}}{}{{{{end}}}}{{{{template `x` .}}}}",
        "{{if true}}".repeat(depth),
        "(or ".repeat(9),
        ")".repeat(9),
        "{{end}}".repeat(depth),
    );
    reaches(&text, Limit::Depth);
}

#[test]
fn loops_and_calls_end() {
    reaches("{{range 9223372036854775807}}{{end}}", Limit::Steps);
    reaches(
        "{{range 100000}}{{range 100000}}{{end}}{{end}}",
        Limit::Steps,
    );
    reaches(
        "{{define `x`}}{{if .}}{{template `x` (slice . 1)}}{{template `x` (slice . 1)}}{{end}}{{end}}\
         {{template `x` (repeat 60 `a`)}}",
        Limit::Steps,
    );
}

#[test]
fn texts_and_lists_stay_small() {
    let grown = "{{$x := `0123456789`}}{{range 40}}{{$x = printf `%s%s` $x $x}}{{end}}";
    reaches(grown, Limit::Text);
    for text in [
        "{{repeat 1000000000 `x`}}",
        "{{repeat 9223372036854775807 `xx`}}",
        "{{indent 1000000000 `a\nb`}}",
        "{{nindent 1000000000 `a`}}",
        "{{$x := repeat 100000 `a`}}{{replace `a` $x $x}}",
        "{{$x := repeat 8000000 `a`}}{{$x}}{{$x}}",
        "{{$x := repeat 8000000 `a`}}{{join $x (list 1 2 3)}}",
        "{{$x := repeat 8000000 `a`}}{{b64enc $x}}",
        "{{$x := list 1}}{{range 60}}{{$x = list $x $x}}{{end}}{{$x}}",
        "{{$x := list 1}}{{range 60}}{{$x = list $x $x}}{{end}}{{toYaml $x}}",
        "{{range 2000000}}0123456789{{end}}",
    ] {
        reaches(text, Limit::Text);
    }
    reaches("{{until 1000000000}}", Limit::Items);
    reaches("{{untilStep 0 9223372036854775807 1}}", Limit::Items);
    reaches(
        "{{$x := until 100000}}{{range 100000}}{{$x = concat $x $x}}{{end}}",
        Limit::Items,
    );
}

#[test]
fn work_is_bounded_even_if_nothing_comes_of_it() {
    for text in [
        "{{$x := repeat 8000000 `a`}}{{range 1000000}}{{$y := upper $x}}{{end}}",
        "{{$x := repeat 8000000 `a`}}{{range 1000000}}{{$y := contains `b` $x}}{{end}}",
        "{{$x := list 1}}{{range 60}}{{$x = list $x $x}}{{end}}{{has $x (list $x)}}",
        "{{$x := list 1}}{{range 60}}{{$x = list $x $x}}{{end}}{{omitNil $x}}",
        "{{$x := dict}}{{range 60}}{{$x = dict `a` $x `b` $x}}{{end}}{{$y := merge $x $x}}",
    ] {
        reaches(text, Limit::Work);
    }
}

#[test]
fn values_cannot_be_nested_without_end() {
    let text = "{{$x := list}}{{range 1000000}}{{$x = list $x}}{{end}}{{$x}}";
    let error = execute(text, &json!({})).expect_err("nested too deeply");
    assert!(error.to_string().contains("nested more than"), "{error}");
}

#[test]
fn an_output_as_long_as_allowed_is_given() {
    let output = execute("{{range 8}}{{repeat 1048576 `x`}}{{end}}", &json!({}));
    assert_eq!(output.map(|text| text.len()), Ok(MAX_TEXT));
}

#[test]
fn errors_name_line_and_column() {
    let text = "one\n  two {{ if true }}\n\té {{ index .list 3 }}\n{{ end }}";
    let error = execute(text, &json!({ "list": [1] })).expect_err("the list is short");
    assert_eq!((error.place.line, error.place.column), (3, 7));
    assert_eq!(error.place.snippet, "index .list 3");
    assert_eq!(
        error.to_string(),
        "template: t:3:7: executing \"t\" at <index .list 3>: error calling index: index out of range: 3"
    );
    let error = parse("a\n{{ if\n  nope }}").expect_err("there is no such function");
    assert_eq!((error.place.line, error.place.column), (3, 3));
    let text = "{{define `inner`}}\n{{.a.b}}{{end}}{{template `inner` .}}";
    let error = execute(text, &json!({ "a": 1 })).expect_err("a number has no fields");
    assert_eq!(error.definition, "inner");
    assert_eq!((error.place.line, error.place.column), (2, 3));
}

#[test]
fn data_is_never_read_as_template_text() {
    let data = json!({ "user": "{{ fail `no` }}", "{{x}}": "[[ . ]]" });
    assert_eq!(
        execute(
            "{{.user}} {{range $k, $v := .}}{{$k}}={{$v}};{{end}}",
            &data
        ),
        Ok("{{ fail `no` }} user={{ fail `no` }};{{x}}=[[ . ]];".to_owned())
    );
}

#[test]
fn whole_numbers_of_a_configuration_have_no_exponent() {
    let data = json!({ "port": 1_000_000, "huge": 1e300, "part": 1_234_567.5 });
    assert_eq!(
        execute("{{.port}} {{.huge}} {{.part}} {{.}}", &data),
        Ok(
            "1000000 1e+300 1.2345675e+06 map[huge:1e+300 part:1.2345675e+06 port:1000000]"
                .to_owned()
        )
    );
}

#[test]
fn templates_can_be_shared_between_threads() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    is_shared(&parse("{{.}}").expect("it parses"));
}

/// Pieces that make a template, in any order.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z \\n\"'`é]{0,5}",
        1 => Just("{{".to_owned()),
        1 => Just("}}".to_owned()),
        1 => Just("{{- ".to_owned()),
        1 => Just(" -}}".to_owned()),
        4 => prop::sample::select(vec![
            "{{if .a}}", "{{else}}", "{{end}}", "{{range .l}}", "{{range $i, $v := .m}}",
            "{{with .m}}", "{{define `x`}}", "{{template `x` .}}", "{{block `y` .}}",
            "{{break}}", "{{continue}}", "{{$x := .a}}", "{{$x}}", "{{$x = 1}}", "{{/* c */}}",
            "{{else if .l}}", "{{else with .a}}", "{{range 3}}",
        ]).prop_map(str::to_owned),
        4 => (function(), argument(), argument())
            .prop_map(|(name, a, b)| format!("{{{{{name} {a} {b}}}}}")),
        2 => (function(), argument(), function())
            .prop_map(|(name, a, next)| format!("{{{{{a} | {name} | {next} 1}}}}")),
    ]
}

fn function() -> impl Strategy<Value = &'static str> {
    let mut names: Vec<_> = Functions::injection().names().collect();
    names.sort_unstable();
    prop::sample::select(names)
}

fn argument() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "1",
        "-1",
        "0",
        "1.5",
        "`é`",
        "\"%5.2v|%q\"",
        "\"\"",
        "nil",
        "true",
        ".",
        ".a",
        ".l",
        ".m",
        ".m.x.y",
        ".missing",
        "(list 1 `a`)",
        "(dict `k` .)",
        "(index .l 0)",
        "9223372036854775807",
        "-9223372036854775808",
        "`[1,{\"a\":null}]`",
        "(until 5)",
        "`a,b`",
        "1e300",
    ])
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_at_a_place_inside_of_it(text in ".*") {
        check_places(&text)?;
    }

    #[test]
    fn what_looks_like_a_template_never_panics(pieces in prop::collection::vec(piece(), 0..12)) {
        check_places(&pieces.concat())?;
    }
}

fn check_places(text: &str) -> Result<(), TestCaseError> {
    let lines = text.matches('\n').count() + 1;
    match parse(text) {
        Ok(template) => {
            let data = json!({ "a": "x", "l": [1, null, "z"], "m": { "x": { "y": 2 }, "k": [] } });
            for data in [Value::plain(&data), Value::go_struct(&data), Value::Nil] {
                if let Err(error) = template.execute(&data) {
                    prop_assert!((1..=lines).contains(&error.place.line));
                }
            }
        }
        Err(error) => prop_assert!((1..=lines).contains(&error.place.line)),
    }
    Ok(())
}
