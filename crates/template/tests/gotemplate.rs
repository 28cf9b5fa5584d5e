//! The template language, case by case: what Go's `text/template` makes of each template, this one makes of it too.
//! A template that must be refused stands with the message, without the template's name.

use template::functions::Functions;
use template::gotemplate::{Delimiters, Value};

#[path = "gotemplate/check.rs"]
mod check;
#[path = "gotemplate/data.rs"]
mod data;

use check::{Case, check};

#[test]
fn text_outside_of_actions_is_copied() {
    let json = data::document();
    check(
        TEXT_OUTSIDE_OF_ACTIONS_IS_COPIED,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn trim_markers_remove_spaces_on_their_side() {
    let json = data::document();
    check(
        TRIM_MARKERS_REMOVE_SPACES_ON_THEIR_SIDE,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn literals_print_as_in_go() {
    let json = data::document();
    check(
        LITERALS_PRINT_AS_IN_GO,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn numbers_that_are_none_are_refused() {
    let json = data::document();
    check(
        NUMBERS_THAT_ARE_NONE_ARE_REFUSED,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn fields_of_maps_are_looked_up() {
    let json = data::document();
    check(
        FIELDS_OF_MAPS_ARE_LOOKED_UP,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn fields_that_cannot_be_are_errors() {
    let json = data::document();
    check(
        FIELDS_THAT_CANNOT_BE_ARE_ERRORS,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn pipelines_pass_values_on() {
    let json = data::document();
    check(
        PIPELINES_PASS_VALUES_ON,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn variables_live_in_their_scope() {
    let json = data::document();
    check(
        VARIABLES_LIVE_IN_THEIR_SCOPE,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn undefined_variables_are_refused() {
    let json = data::document();
    check(
        UNDEFINED_VARIABLES_ARE_REFUSED,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn if_follows_gos_truth() {
    let json = data::document();
    check(
        IF_FOLLOWS_GOS_TRUTH,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn if_has_branches() {
    let json = data::document();
    check(
        IF_HAS_BRANCHES,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn with_sets_the_dot() {
    let json = data::document();
    check(
        WITH_SETS_THE_DOT,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn range_visits_lists_maps_and_numbers() {
    let json = data::document();
    check(
        RANGE_VISITS_LISTS_MAPS_AND_NUMBERS,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn break_and_continue_leave_a_round() {
    let json = data::document();
    check(
        BREAK_AND_CONTINUE_LEAVE_A_ROUND,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn templates_call_each_other() {
    let json = data::document();
    check(
        TEMPLATES_CALL_EACH_OTHER,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn syntax_errors_are_refused() {
    let json = data::document();
    check(
        SYNTAX_ERRORS_ARE_REFUSED,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn comparisons_follow_gos_kinds() {
    let json = data::document();
    check(
        COMPARISONS_FOLLOW_GOS_KINDS,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn and_or_not_give_operands() {
    let json = data::document();
    check(
        AND_OR_NOT_GIVE_OPERANDS,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn index_len_and_slice_look_inside() {
    let json = data::document();
    check(
        INDEX_LEN_AND_SLICE_LOOK_INSIDE,
        Delimiters::CURLY,
        &Functions::go(),
        &Value::plain(&json),
    );
}

#[test]
fn delimiters_are_a_parameter() {
    let json = data::document();
    check(
        DELIMITERS_ARE_A_PARAMETER,
        Delimiters::SQUARE,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn structs_are_addressed_by_go_names() {
    let json = data::pod();
    check(
        STRUCTS_ARE_ADDRESSED_BY_GO_NAMES,
        Delimiters::CURLY,
        &Functions::injection(),
        &data::injection(&json),
    );
}

const TEXT_OUTSIDE_OF_ACTIONS_IS_COPIED: &[Case] = &[
    ("", Ok("")),
    ("plain", Ok("plain")),
    ("a}}b", Ok("a}}b")),
    ("{{/* c */}}x", Ok("x")),
    ("a{{- /* c */ -}} b", Ok("ab")),
    ("a {{- /* c\nd */ -}}\n b", Ok("ab")),
    ("{ {", Ok("{ {")),
    ("é{{1}}ž", Ok("é1ž")),
];

const TRIM_MARKERS_REMOVE_SPACES_ON_THEIR_SIDE: &[Case] = &[
    ("a  {{- 1 }} b", Ok("a1 b")),
    ("a {{ 1 -}}  b", Ok("a 1b")),
    ("a \n{{- 1 -}}\n\t b", Ok("a1b")),
    ("{{- 1 -}}", Ok("1")),
    ("a{{-1}}b", Ok("a-1b")),
    ("a {{- -1 }}", Ok("a-1")),
    ("x \n {{- \"y\" -}} \n z", Ok("xyz")),
    ("{{1 -}} {{- 2}}", Ok("12")),
    ("a{{ 3 - }}", Err(r#"1:7: bad number syntax: "-", at <->"#)),
    ("{{- if true -}} x {{- end -}}\n\n y", Ok("xy")),
    ("a\r\n {{- 1 }}", Ok("a1")),
    ("{{1  -}} x", Ok("1x")),
    ("a \u{a0}{{- 1}}", Ok("a \u{a0}1")),
];

const LITERALS_PRINT_AS_IN_GO: &[Case] = &[
    ("{{1}}", Ok("1")),
    ("{{-1}}", Ok("-1")),
    ("{{ -1 }}", Ok("-1")),
    ("{{+1}}", Ok("1")),
    ("{{0x1F}}", Ok("31")),
    ("{{0X1f}}", Ok("31")),
    ("{{0b101}}", Ok("5")),
    ("{{0o17}}", Ok("15")),
    ("{{017}}", Ok("15")),
    ("{{1_000}}", Ok("1000")),
    ("{{0x_1F}}", Ok("31")),
    ("{{1e3}}", Ok("1000")),
    ("{{1.5}}", Ok("1.5")),
    ("{{.5}}", Ok("0.5")),
    ("{{1.}}", Ok("1")),
    ("{{1e6}}", Ok("1e+06")),
    ("{{123456789.0}}", Ok("1.23456789e+08")),
    ("{{1e20}}", Ok("1e+20")),
    ("{{1e21}}", Ok("1e+21")),
    ("{{1e-5}}", Ok("1e-05")),
    ("{{0.0001}}", Ok("0.0001")),
    ("{{0x1p4}}", Ok("16")),
    ("{{'a'}}", Ok("97")),
    (r#"{{'\n'}}"#, Ok("10")),
    (r#"{{'\u00e9'}}"#, Ok("233")),
    ("{{'é'}}", Ok("233")),
    (r#"{{'\''}}"#, Ok("39")),
    (r#"{{'\x41'}}"#, Ok("65")),
    (r#"{{'\101'}}"#, Ok("65")),
    ("{{true}}", Ok("true")),
    ("{{false}}", Ok("false")),
    (r#"{{"a\tb"}}"#, Ok("a\tb")),
    (r#"{{"\u00e9\x41\101"}}"#, Ok("éAA")),
    (r#"{{`raw "x" \n`}}"#, Ok(r#"raw "x" \n"#)),
    ("{{`a\nb`}}", Ok("a\nb")),
    (r#"{{""}}"#, Ok("")),
    ("{{9223372036854775807}}", Ok("9223372036854775807")),
    ("{{1.0}}", Ok("1")),
    ("{{100000.0}}", Ok("100000")),
    ("{{-1.5e-7}}", Ok("-1.5e-07")),
    ("{{print 1e100}}", Ok("1e+100")),
];

const NUMBERS_THAT_ARE_NONE_ARE_REFUSED: &[Case] = &[
    (
        "{{9223372036854775808}}",
        Err(r#"1:3: bad number syntax: "9223372036854775808", at <9223372036854775808>"#),
    ),
    ("{{089}}", Err(r#"1:3: bad number syntax: "089", at <089>"#)),
    ("{{1a}}", Err(r#"1:3: bad number syntax: "1a", at <1a>"#)),
    ("{{0x}}", Err(r#"1:3: bad number syntax: "0x", at <0x>"#)),
    (
        "{{1__0}}",
        Err(r#"1:3: bad number syntax: "1__0", at <1__0>"#),
    ),
    (
        "{{1.2.3}}",
        Err(r#"1:3: bad number syntax: "1.2.3", at <1.2.3>"#),
    ),
    ("{{0b2}}", Err(r#"1:3: bad number syntax: "0b2", at <0b2>"#)),
    (
        "{{'ab'}}",
        Err("1:3: invalid syntax in character constant, at <'ab'>"),
    ),
    (
        "{{''}}",
        Err("1:3: invalid syntax in character constant, at <''>"),
    ),
    (
        r#"{{"\q"}}"#,
        Err(r#"1:3: invalid syntax in string literal, at <"\q">"#),
    ),
    (
        r#"{{"\400"}}"#,
        Err(r#"1:3: invalid syntax in string literal, at <"\400">"#),
    ),
    ("{{1e}}", Err(r#"1:3: bad number syntax: "1e", at <1e>"#)),
    ("{{0_}}", Err(r#"1:3: bad number syntax: "0_", at <0_>"#)),
    ("{{1+1}}", Err(r#"1:3: bad number syntax: "1+", at <1+>"#)),
];

const FIELDS_OF_MAPS_ARE_LOOKED_UP: &[Case] = &[
    ("{{.name}}", Ok("web")),
    ("{{.missing}}", Ok("<no value>")),
    ("{{.missing.a.b}}", Ok("<no value>")),
    ("{{.deep.x.y.z}}", Ok("bottom")),
    ("{{.deep.x.q.z}}", Ok("<no value>")),
    ("{{.nil}}", Ok("<no value>")),
    ("{{.empty}}", Ok("")),
    ("{{.n}}", Ok("3")),
    ("{{.port}}", Ok("15020")),
    ("{{.pi}}", Ok("3.25")),
    ("{{.tiny}}", Ok("1e-05")),
    ("{{.yes}}", Ok("true")),
    ("{{.list}}", Ok("[a b c]")),
    ("{{.map}}", Ok("map[a:1 b:2 c:<nil>]")),
    ("{{.nolist}}", Ok("[]")),
    ("{{.nomap}}", Ok("map[]")),
    ("{{.nulls}}", Ok("[<nil> 1 map[k:<nil>]]")),
    ("{{.nested}}", Ok("[[1 2] [3]]")),
    ("{{$.name}}", Ok("web")),
    ("{{(.deep).x.y.z}}", Ok("bottom")),
    ("{{(.deep.x).y.z}}", Ok("bottom")),
    ("{{(index .people 0).name}}", Ok("Ann")),
    (r#"{{(index .deep "x").y.z}}"#, Ok("bottom")),
];

const FIELDS_THAT_CANNOT_BE_ARE_ERRORS: &[Case] = &[
    (
        "{{.nil.a}}",
        Err(r#"1:3: executing "t" at <.nil.a>: nil pointer evaluating interface {}.a"#),
    ),
    (
        "{{.name.a}}",
        Err(r#"1:3: executing "t" at <.name.a>: can't evaluate field a in type string"#),
    ),
    (
        "{{.n.a}}",
        Err(r#"1:3: executing "t" at <.n.a>: can't evaluate field a in type float64"#),
    ),
    (
        "{{.list.a}}",
        Err(r#"1:3: executing "t" at <.list.a>: can't evaluate field a in type []interface {}"#),
    ),
    (
        "{{.yes.x.y}}",
        Err(r#"1:3: executing "t" at <.yes.x.y>: can't evaluate field x in type bool"#),
    ),
    (
        "{{range .nulls}}{{.k}}{{end}}",
        Err(r#"1:19: executing "t" at <.k>: nil pointer evaluating interface {}.k"#),
    ),
    ("{{(.nil).a}}", Ok("<no value>")),
    ("{{$x := .nil}}{{$x.a}}", Ok("<no value>")),
    (
        "{{with .deep}}{{.x.y.z.w}}{{end}}",
        Err(r#"1:17: executing "t" at <.x.y.z.w>: can't evaluate field w in type string"#),
    ),
];

const PIPELINES_PASS_VALUES_ON: &[Case] = &[
    (r#"{{.name | printf "%s!"}}"#, Ok("web!")),
    (r#"{{1 | printf "%d-%d" 2}}"#, Ok("2-1")),
    ("{{.name | len}}", Ok("3")),
    (r#"{{(.name) | len | printf "%03d"}}"#, Ok("003")),
    (r#"{{"x" | print | print}}"#, Ok("x")),
    (r#"{{(printf "%d" (len .list))}}"#, Ok("3")),
    ("{{.list | len | eq 3}}", Ok("true")),
    (r#"{{ printf "%s" ( .name ) }}"#, Ok("web")),
    ("{{.missing | print}}", Ok("<nil>")),
    (
        "{{nil | print}}",
        Err("1:3: nil is not a command, at <nil>"),
    ),
    (
        "{{1 | 2}}",
        Err("1:7: non executable command in pipeline stage 2, at <2>"),
    ),
    (
        "{{1 | .name}}",
        Err("1:7: can't give argument to non-function .name, at <.name>"),
    ),
    (
        "{{.name 1}}",
        Err("1:3: can't give argument to non-function .name, at <.name>"),
    ),
    (
        "{{.deep.x 1}}",
        Err("1:3: can't give argument to non-function .deep.x, at <.deep.x>"),
    ),
    ("{{ | len}}", Err("1:4: empty command, at <|>")),
    ("{{.name |}}", Ok("web")),
    ("{{.name | | len}}", Err("1:11: empty command, at <|>")),
    (
        "{{(1) 2}}",
        Err("1:3: can't give argument to non-function (1), at <(1)>"),
    ),
    (
        r#"{{"a" "b"}}"#,
        Err(r#"1:3: can't give argument to non-function "a", at <"a">"#),
    ),
    (
        "{{. 1}}",
        Err("1:3: can't give argument to non-function ., at <.>"),
    ),
    (
        "{{true 1}}",
        Err("1:3: can't give argument to non-function true, at <true>"),
    ),
    (
        "{{1 | (len)}}",
        Err("1:8: wrong number of args for len: want 1 got 0, at <len>"),
    ),
    (
        "{{$ 1}}",
        Err("1:3: can't give argument to non-function $, at <$>"),
    ),
    (
        "{{()}}",
        Err("1:4: missing value for parenthesized pipeline, at <)>"),
    ),
    ("{{(.list | len)}}", Ok("3")),
];

const VARIABLES_LIVE_IN_THEIR_SCOPE: &[Case] = &[
    ("{{$x := 1}}{{$x}}", Ok("1")),
    ("{{$x := 1}}{{$x = 2}}{{$x}}", Ok("2")),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", Ok("2")),
    (
        "{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}",
        Ok("21"),
    ),
    ("{{$x := 1}}{{$x := 2}}{{$x}}", Ok("2")),
    ("{{with $x := 5}}{{$x}}{{end}}", Ok("5")),
    ("{{if $x := 5}}{{$x}}{{else}}no{{end}}", Ok("5")),
    ("{{if $x := 0}}a{{else}}{{$x}}{{end}}", Ok("0")),
    (
        "{{if $x := 0}}a{{else if $y := 2}}{{$x}}{{$y}}{{end}}",
        Ok("02"),
    ),
    (
        "{{range $i, $v := .list}}{{$i}}={{$v}};{{end}}",
        Ok("0=a;1=b;2=c;"),
    ),
    ("{{range $v := .list}}{{$v}};{{end}}", Ok("a;b;c;")),
    ("{{$x := 0}}{{range .nums}}{{$x = .}}{{end}}{{$x}}", Ok("2")),
    (
        "{{$i := 9}}{{$v := 9}}{{range $i, $v = .list}}{{end}}{{$i}}{{$v}}",
        Ok("2c"),
    ),
    (
        "{{$v := 9}}{{range $v = .list}}{{$v}}{{end}}{{$v}}",
        Ok("abcc"),
    ),
    (
        "{{range $i, $v := .nolist}}{{else}}{{$i}}{{$v}}{{end}}",
        Ok("[][]"),
    ),
    ("{{$x := .deep}}{{$x.x.y.z}}", Ok("bottom")),
    ("{{$x := 1}}{{$x := $x}}{{$x}}", Ok("1")),
    ("{{$x := 1}}{{with 2}}{{$x = .}}{{end}}{{$x}}", Ok("2")),
    ("{{$x:=1}}{{$y:=$x}}{{$y}}", Ok("1")),
    ("{{range .people}}{{$.name}}{{end}}", Ok("webweb")),
    ("{{($x := 3)}}{{$x}}", Ok("33")),
    (
        "{{$first := true}}{{range .list}}{{if not $first}},{{end}}{{.}}{{$first = false}}{{end}}",
        Ok("a,b,c"),
    ),
    (
        r#"{{$x := "a"}}{{range .list}}{{$x = printf "%s%s" $x .}}{{end}}{{$x}}"#,
        Ok("aabc"),
    ),
    ("{{$ab_1 := 1}}{{$ab_1}}", Ok("1")),
    (
        "{{range $i, $v := .list}}{{$x := $i}}{{$x}}{{end}}",
        Ok("012"),
    ),
    ("{{if true}}{{$x := 1}}{{end}}{{$x := 2}}{{$x}}", Ok("2")),
    (
        "{{with $y := .deep.x}}{{with $y}}{{.y.z}}{{end}}{{end}}",
        Ok("bottom"),
    ),
];

const UNDEFINED_VARIABLES_ARE_REFUSED: &[Case] = &[
    ("{{$x}}", Err(r#"1:3: undefined variable "$x", at <$x>"#)),
    (
        "{{if true}}{{$x := 1}}{{end}}{{$x}}",
        Err(r#"1:32: undefined variable "$x", at <$x>"#),
    ),
    (
        "{{range $i, $v := .list}}{{end}}{{$v}}",
        Err(r#"1:35: undefined variable "$v", at <$v>"#),
    ),
    (
        "{{$x, $y := 1}}",
        Err("1:5: too many declarations in command, at <,>"),
    ),
    (
        "{{range $i, $j, $k := .list}}{{end}}",
        Err("1:15: too many declarations in range, at <,>"),
    ),
    (
        "{{range $i, 1 := .list}}{{end}}",
        Err("1:13: range can only initialize variables, at <1>"),
    ),
    ("{{$x.y}}", Err(r#"1:3: undefined variable "$x", at <$x>"#)),
    (
        "{{with $x, $y := 1}}{{end}}",
        Err("1:10: too many declarations in with, at <,>"),
    ),
    (
        "{{$x := }}",
        Err("1:3: missing value for command, at <$x := }}>"),
    ),
    ("{{$x :}}", Err(r#"1:3: undefined variable "$x", at <$x>"#)),
    ("{{$x+1}}", Err("1:3: bad character '+', at <$x+>")),
];

const IF_FOLLOWS_GOS_TRUTH: &[Case] = &[
    ("{{if true}}T{{else}}F{{end}}", Ok("T")),
    ("{{if false}}T{{else}}F{{end}}", Ok("F")),
    ("{{if 0}}T{{else}}F{{end}}", Ok("F")),
    ("{{if 1}}T{{else}}F{{end}}", Ok("T")),
    ("{{if 0.0}}T{{else}}F{{end}}", Ok("F")),
    (r#"{{if ""}}T{{else}}F{{end}}"#, Ok("F")),
    (r#"{{if "x"}}T{{else}}F{{end}}"#, Ok("T")),
    ("{{if .missing}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .nil}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .list}}T{{else}}F{{end}}", Ok("T")),
    ("{{if .nolist}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .map}}T{{else}}F{{end}}", Ok("T")),
    ("{{if .nomap}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .zero}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .n}}T{{else}}F{{end}}", Ok("T")),
    ("{{if .no}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .yes}}T{{else}}F{{end}}", Ok("T")),
    ("{{if .empty}}T{{else}}F{{end}}", Ok("F")),
    ("{{if .deep}}T{{else}}F{{end}}", Ok("T")),
    ("{{if 'a'}}T{{else}}F{{end}}", Ok("T")),
    ("{{if not true}}T{{else}}F{{end}}", Ok("F")),
    ("{{if not .missing}}T{{else}}F{{end}}", Ok("T")),
    ("{{if and 1 0}}T{{else}}F{{end}}", Ok("F")),
    (r#"{{if or 0 ""}}T{{else}}F{{end}}"#, Ok("F")),
];

const IF_HAS_BRANCHES: &[Case] = &[
    ("{{if true}}a{{end}}", Ok("a")),
    ("{{if false}}a{{end}}", Ok("")),
    ("{{if false}}a{{else if true}}b{{else}}c{{end}}", Ok("b")),
    ("{{if false}}a{{else if false}}b{{else}}c{{end}}", Ok("c")),
    (
        "{{if false}}a{{else if false}}b{{else if 1}}c{{else}}d{{end}}",
        Ok("c"),
    ),
    ("{{if true}}{{if false}}x{{else}}y{{end}}{{end}}", Ok("y")),
    ("{{if true}}a{{else}}{{end}}", Ok("a")),
    ("{{if}}x{{end}}", Err("1:5: missing value for if, at <}}>")),
    ("{{if true}}x", Err("1:3: if has no end, at <if>")),
    (
        "{{else}}",
        Err(r#"1:3: unexpected "else" in input, at <else>"#),
    ),
    (
        "{{end}}",
        Err(r#"1:3: unexpected "end" in input, at <end>"#),
    ),
    (
        "{{if true}}{{else}}{{else}}{{end}}",
        Err(r#"1:22: unexpected "else" in if, at <else>"#),
    ),
    (
        "{{if true}}{{else with 1}}{{end}}",
        Err(r#"1:14: unexpected "else" in if, at <else>"#),
    ),
    (
        "{{if true}}a{{else if}}b{{end}}",
        Err("1:22: missing value for if, at <}}>"),
    ),
    (
        "{{if 1 2}}x{{end}}",
        Err("1:6: can't give argument to non-function 1, at <1>"),
    ),
];

const WITH_SETS_THE_DOT: &[Case] = &[
    ("{{with .deep.x}}{{.y.z}}{{end}}", Ok("bottom")),
    ("{{with .missing}}a{{else}}b{{end}}", Ok("b")),
    ("{{with .missing}}a{{else}}{{.name}}{{end}}", Ok("web")),
    (
        "{{with .missing}}a{{else with .deep}}{{.x.y.z}}{{else}}c{{end}}",
        Ok("bottom"),
    ),
    (
        "{{with .missing}}a{{else with .nil}}b{{else}}{{.name}}{{end}}",
        Ok("web"),
    ),
    ("{{with 1}}{{.}}{{end}}", Ok("1")),
    ("{{with .name}}{{.}}{{$.n}}{{end}}", Ok("web3")),
    ("{{with .nolist}}a{{else}}b{{end}}", Ok("b")),
    (
        "{{with .missing}}a{{else if true}}b{{end}}",
        Err(r#"1:21: unexpected "else" in with, at <else>"#),
    ),
];

const RANGE_VISITS_LISTS_MAPS_AND_NUMBERS: &[Case] = &[
    ("{{range .list}}{{.}},{{end}}", Ok("a,b,c,")),
    ("{{range .map}}{{.}},{{end}}", Ok("1,2,<no value>,")),
    (
        "{{range $k, $v := .map}}{{$k}}={{$v}},{{end}}",
        Ok("a=1,b=2,c=<no value>,"),
    ),
    (
        "{{range $k, $v := .deep}}{{$k}}{{$v.y.z}}{{end}}",
        Ok("xbottom"),
    ),
    ("{{range 3}}{{.}}{{end}}", Ok("012")),
    ("{{range $i := 3}}{{$i}}{{end}}", Ok("012")),
    ("{{range 0}}a{{else}}b{{end}}", Ok("b")),
    ("{{range -2}}a{{else}}b{{end}}", Ok("b")),
    ("{{range .missing}}a{{else}}b{{end}}", Ok("b")),
    ("{{range .nil}}a{{else}}b{{end}}", Ok("b")),
    ("{{range .nolist}}a{{else}}{{.name}}{{end}}", Ok("web")),
    ("{{range .nomap}}a{{else}}b{{end}}", Ok("b")),
    (
        "{{range .people}}{{.name}}:{{range .tags}}{{.}}{{else}}-{{end}};{{end}}",
        Ok("Ann:xy;Bob:-;"),
    ),
    (
        "{{range .nested}}{{range .}}{{.}}{{end}}|{{end}}",
        Ok("12|3|"),
    ),
    (
        "{{range $i, $e := .nested}}{{$i}}{{len $e}}{{end}}",
        Ok("0211"),
    ),
    (
        "{{range .name}}x{{end}}",
        Err(r#"1:8: executing "t" at <.name>: range can't iterate over a value of type string"#),
    ),
    (
        "{{range .yes}}x{{end}}",
        Err(r#"1:8: executing "t" at <.yes>: range can't iterate over a value of type bool"#),
    ),
    (
        "{{range .pi}}x{{end}}",
        Err(r#"1:8: executing "t" at <.pi>: range can't iterate over a value of type float64"#),
    ),
    (
        "{{range $i, $v := 3}}x{{end}}",
        Err(
            r#"1:8: executing "t" at <$i, $v := 3>: can't use 3 to iterate over more than one variable"#,
        ),
    ),
    ("{{range $k := .map}}{{$k}}{{end}}", Ok("12<no value>")),
    ("{{range len .list}}{{.}}{{end}}", Ok("012")),
    (
        "{{range .n}}x{{end}}",
        Err(r#"1:8: executing "t" at <.n>: range can't iterate over a value of type float64"#),
    ),
    (
        "{{range .nulls}}[{{.}}]{{end}}",
        Ok("[<no value>][1][map[k:<nil>]]"),
    ),
];

const BREAK_AND_CONTINUE_LEAVE_A_ROUND: &[Case] = &[
    (
        r#"{{range .list}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}"#,
        Ok("a"),
    ),
    (
        r#"{{range .list}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}"#,
        Ok("ac"),
    ),
    (
        "{{range .nested}}{{range .}}{{if eq . 2.0}}{{break}}{{end}}{{.}}{{end}};{{end}}",
        Ok("1;3;"),
    ),
    (
        "{{range 10}}{{if gt . 3}}{{break}}{{end}}{{.}}{{else}}no{{end}}",
        Ok("0123"),
    ),
    (
        r#"{{range .list}}{{with .}}{{if eq . "a"}}{{continue}}{{end}}{{.}}{{end}}{{end}}"#,
        Ok("bc"),
    ),
    (
        "{{break}}",
        Err("1:3: {{break}} outside {{range}}, at <break>"),
    ),
    (
        "{{if true}}{{continue}}{{end}}",
        Err("1:14: {{continue}} outside {{range}}, at <continue>"),
    ),
    (
        "{{range .list}}{{break 1}}{{end}}",
        Err(r#"1:24: unexpected "1" in break, at <1>"#),
    ),
    (
        "{{range .list}}{{else}}{{break}}{{end}}",
        Err("1:26: {{break}} outside {{range}}, at <break>"),
    ),
    (
        r#"{{range .list}}{{define "x"}}{{end}}{{end}}"#,
        Err(r#"1:18: unexpected "define" in command, at <define>"#),
    ),
    ("{{range .nolist}}{{break}}{{else}}e{{end}}", Ok("e")),
    (
        r#"{{define "x"}}{{break}}{{end}}"#,
        Err("1:17: {{break}} outside {{range}}, at <break>"),
    ),
];

const TEMPLATES_CALL_EACH_OTHER: &[Case] = &[
    (
        r#"{{define "x"}}[{{.}}]{{end}}{{template "x" .name}}"#,
        Ok("[web]"),
    ),
    (
        r#"{{template "x" .name}}{{define "x"}}[{{.}}]{{end}}"#,
        Ok("[web]"),
    ),
    (
        r#"{{define "x"}}[{{.}}]{{end}}{{template "x"}}"#,
        Ok("[<no value>]"),
    ),
    (r#"{{block "b" .name}}<{{.}}>{{end}}"#, Ok("<web>")),
    (
        r#"{{define `b`}}over{{end}}{{block "c" .}}{{template "b"}}{{end}}"#,
        Ok("over"),
    ),
    (r#"{{define "x"}}{{$}}{{end}}{{template "x" 5}}"#, Ok("5")),
    (
        r#"{{$v := 1}}{{define "x"}}{{$v}}{{end}}"#,
        Err(r#"1:28: undefined variable "$v", at <$v>"#),
    ),
    (
        r#"{{define "a"}}{{template "b" .}}{{end}}{{define "b"}}{{.name}}{{end}}{{template "a" .}}"#,
        Ok("web"),
    ),
    (
        r#"{{define "x"}}a{{end}}{{define "x"}}b{{end}}"#,
        Err(r#"1:32: multiple definition of template "x", at <"x">"#),
    ),
    (
        r#"{{define "x"}} {{end}}{{define "x"}}b{{end}}{{template "x"}}"#,
        Ok("b"),
    ),
    (
        r#"{{define "x"}}a{{end}}{{define "x"}} {{end}}{{template "x"}}"#,
        Ok("a"),
    ),
    (
        r#"{{define "x"}}{{if gt . 0}}{{.}}{{template "x" (len (slice "abcdef" 0 (index (slice .) 0)))}}{{end}}{{end}}"#,
        Ok(""),
    ),
    (
        "{{define x}}{{end}}",
        Err(r#"1:10: unexpected "x" in define clause, at <x>"#),
    ),
    (
        "{{define}}{{end}}",
        Err(r#"1:9: unexpected "}}" in define clause, at <}}>"#),
    ),
    (
        r#"{{define "x" 1}}{{end}}"#,
        Err(r#"1:14: unexpected "1" in define clause, at <1>"#),
    ),
    (
        "{{template}}",
        Err(r#"1:11: unexpected "}}" in template clause, at <}}>"#),
    ),
    (
        "{{template 1}}",
        Err(r#"1:12: unexpected "1" in template clause, at <1>"#),
    ),
    (
        r#"{{template "x" . 1}}"#,
        Err("1:16: can't give argument to non-function ., at <.>"),
    ),
    (
        r#"{{if true}}{{define "x"}}{{end}}{{end}}"#,
        Err(r#"1:14: unexpected "define" in command, at <define>"#),
    ),
    (
        r#"{{define "x"}}"#,
        Err(r#"1:10: define has no end, at <"x">"#),
    ),
    (
        r#"{{block "b"}}{{end}}"#,
        Err("1:12: missing value for block clause, at <}}>"),
    ),
    (
        r#"{{define "x"}}{{else}}{{end}}"#,
        Err(r#"1:17: unexpected "else" in define, at <else>"#),
    ),
    (
        r#"{{define "x"}}{{range .}}<{{.}}>{{end}}{{end}}{{template "x" .list}}"#,
        Ok("<a><b><c>"),
    ),
    (
        r#"{{with .deep}}{{template "x" .x.y}}{{end}}{{define "x"}}{{.z}}{{end}}"#,
        Ok("bottom"),
    ),
    (
        r#"{{- define "r" -}} r {{- end -}} a{{template "r"}}"#,
        Ok("ar"),
    ),
    (
        r#"{{template "x" $y := 1}}{{$y}}{{define "x"}}{{.}}{{end}}"#,
        Ok("11"),
    ),
];

const SYNTAX_ERRORS_ARE_REFUSED: &[Case] = &[
    ("{{", Err("1:1: unclosed action, at <{{>")),
    ("{{.name", Err("1:1: unclosed action, at <{{.name>")),
    ("{{.name}", Err("1:3: bad character '}', at <.name}>")),
    ("{{/* x", Err("1:1: unclosed comment, at <{{/* x>")),
    (
        "{{/* x */ }}",
        Err("1:1: comment ends before closing delimiter, at <{{/* x */>"),
    ),
    (
        "{{ /* x */}}",
        Err(r#"1:4: unexpected "/" in command, at </>"#),
    ),
    ("{{(.name}}", Err("1:1: unclosed left paren, at <{{(.name>")),
    ("{{.name)}}", Err("1:8: unexpected right paren, at <)>")),
    (
        r#"{{"abc}}"#,
        Err(r#"1:3: unterminated quoted string, at <"abc}}>"#),
    ),
    (
        "{{`abc}}",
        Err("1:3: unterminated raw quoted string, at <`abc}}>"),
    ),
    (
        "{{'a}}",
        Err("1:3: unterminated character constant, at <'a}}>"),
    ),
    (
        "{{.name | nope}}",
        Err(r#"1:11: function "nope" not defined, at <nope>"#),
    ),
    (
        "{{nope}}",
        Err(r#"1:3: function "nope" not defined, at <nope>"#),
    ),
    ("{{.a-b}}", Err("1:3: bad character '-', at <.a->")),
    ("{{.a\u{0}}}", Err("1:3: bad character '\\0', at <.a\u{0}>")),
    ("{{#}}", Err(r##"1:3: unexpected "#" in command, at <#>"##)),
    (
        "{{.name,}}",
        Err(r#"1:8: unexpected "," in command, at <,>"#),
    ),
    ("{{}}", Err("1:3: missing value for command, at <}}>")),
    ("{{ }}", Err("1:3: missing value for command, at <}}>")),
    ("{{:}}", Err("1:3: expected :=, at <:>")),
    ("{{= 1}}", Err(r#"1:3: unexpected "=" in command, at <=>"#)),
    (
        "{{1 := 2}}",
        Err(r#"1:5: unexpected ":=" in command, at <:=>"#),
    ),
    ("{{..}}", Err(r#"1:4: unexpected "." in command, at <.>"#)),
    (
        "{{..a}}",
        Err(r#"1:3: unexpected . after term "..a", at <..a>"#),
    ),
    (
        "{{. .a}}",
        Err("1:3: can't give argument to non-function ., at <.>"),
    ),
    (
        r#"{{"x".a}}"#,
        Err(r#"1:3: unexpected . after term "\"x\".a", at <"x".a>"#),
    ),
    (
        "{{1 .a}}",
        Err("1:3: can't give argument to non-function 1, at <1>"),
    ),
    ("{{nil}}", Err("1:3: nil is not a command, at <nil>")),
    (
        "{{nil.a}}",
        Err(r#"1:3: unexpected . after term "nil.a", at <nil.a>"#),
    ),
    (
        "{{print nil.a}}",
        Err(r#"1:9: unexpected . after term "nil.a", at <nil.a>"#),
    ),
    (
        "{{true.a}}",
        Err(r#"1:3: unexpected . after term "true.a", at <true.a>"#),
    ),
    (
        "{{\"a\nb\"}}",
        Err(r#"1:3: unterminated quoted string, at <"a>"#),
    ),
    ("{{é}}", Err(r#"1:3: function "é" not defined, at <é>"#)),
    (
        "{{range}}{{end}}",
        Err("1:8: missing value for range, at <}}>"),
    ),
    (
        "{{with}}{{end}}",
        Err("1:7: missing value for with, at <}}>"),
    ),
    (
        r#"{{define "x"}}{{end}"#,
        Err("1:17: bad character '}', at <end}>"),
    ),
    (
        "{{if true}}{{end}}{{end}}",
        Err(r#"1:21: unexpected "end" in input, at <end>"#),
    ),
    ("{{.x.}}", Err(r#"1:5: unexpected "." in command, at <.>"#)),
    ("{{$x.}}", Err(r#"1:3: undefined variable "$x", at <$x>"#)),
    (
        "{{.a . }}",
        Err("1:3: can't give argument to non-function .a, at <.a>"),
    ),
    ("{{end 1}}", Err(r#"1:7: unexpected "1" in end, at <1>"#)),
    ("{{else 1}}", Err(r#"1:8: unexpected "1" in else, at <1>"#)),
    (
        "{{not}}",
        Err("1:3: wrong number of args for not: want 1 got 0, at <not>"),
    ),
    (
        "{{len 1 2}}",
        Err("1:3: wrong number of args for len: want 1 got 2, at <len 1 2>"),
    ),
    (
        "{{eq}}",
        Err("1:3: wrong number of args for eq: want at least 2 got 0, at <eq>"),
    ),
    (
        "{{eq 1}}",
        Err("1:3: wrong number of args for eq: want at least 2 got 1, at <eq 1>"),
    ),
    (
        "{{index}}",
        Err("1:3: wrong number of args for index: want at least 1 got 0, at <index>"),
    ),
    (
        "{{1 | len 2}}",
        Err("1:7: wrong number of args for len: want 1 got 2, at <len 2>"),
    ),
];

const COMPARISONS_FOLLOW_GOS_KINDS: &[Case] = &[
    ("{{eq 1 1}}", Ok("true")),
    ("{{eq 1 2 3 1}}", Ok("true")),
    (r#"{{eq "a" "a"}}"#, Ok("true")),
    ("{{eq 1.0 1.0}}", Ok("true")),
    ("{{eq true true}}", Ok("true")),
    ("{{eq .n 3.0}}", Ok("true")),
    (
        "{{eq .n 3}}",
        Err(
            r#"1:3: executing "t" at <eq .n 3>: error calling eq: incompatible types for comparison: float64 and int"#,
        ),
    ),
    (
        "{{eq 1 1.0}}",
        Err(
            r#"1:3: executing "t" at <eq 1 1.0>: error calling eq: incompatible types for comparison: int and float64"#,
        ),
    ),
    (
        r#"{{eq 1 "1"}}"#,
        Err(
            r#"1:3: executing "t" at <eq 1 "1">: error calling eq: incompatible types for comparison: int and string"#,
        ),
    ),
    (
        "{{eq .name true}}",
        Err(
            r#"1:3: executing "t" at <eq .name true>: error calling eq: incompatible types for comparison: string and bool"#,
        ),
    ),
    ("{{eq .missing 1}}", Ok("false")),
    ("{{eq .missing nil}}", Ok("true")),
    ("{{eq .nil nil}}", Ok("true")),
    ("{{eq nil nil}}", Ok("true")),
    ("{{eq .missing .nil}}", Ok("true")),
    ("{{eq .name nil}}", Ok("false")),
    (r#"{{ne .missing ""}}"#, Ok("true")),
    (r#"{{ne .name "web"}}"#, Ok("false")),
    ("{{eq .missing true}}", Ok("false")),
    (
        "{{eq .list .list}}",
        Err(
            r#"1:3: executing "t" at <eq .list .list>: error calling eq: non-comparable type []interface {}"#,
        ),
    ),
    ("{{eq .list nil}}", Ok("false")),
    (
        "{{eq .map .map}}",
        Err(
            r#"1:3: executing "t" at <eq .map .map>: error calling eq: non-comparable type map[string]interface {}"#,
        ),
    ),
    (
        r#"{{eq .list "a"}}"#,
        Err(
            r#"1:3: executing "t" at <eq .list "a">: error calling eq: incompatible types for comparison: []interface {} and string"#,
        ),
    ),
    (
        "{{eq .list .map}}",
        Err(
            r#"1:3: executing "t" at <eq .list .map>: error calling eq: incompatible types for comparison: []interface {} and map[string]interface {}"#,
        ),
    ),
    ("{{lt 1 2}}", Ok("true")),
    ("{{lt 2 1}}", Ok("false")),
    ("{{le 1 1}}", Ok("true")),
    ("{{gt 1 1}}", Ok("false")),
    ("{{ge 1 1}}", Ok("true")),
    (r#"{{lt "a" "b"}}"#, Ok("true")),
    ("{{lt 1.5 2.5}}", Ok("true")),
    ("{{lt .n 4.0}}", Ok("true")),
    (
        "{{lt .n 4}}",
        Err(
            r#"1:3: executing "t" at <lt .n 4>: error calling lt: incompatible types for comparison: float64 and int"#,
        ),
    ),
    (
        r#"{{lt 1 "a"}}"#,
        Err(
            r#"1:3: executing "t" at <lt 1 "a">: error calling lt: incompatible types for comparison: int and string"#,
        ),
    ),
    (
        "{{lt true false}}",
        Err(
            r#"1:3: executing "t" at <lt true false>: error calling lt: invalid type for comparison"#,
        ),
    ),
    (
        "{{lt .missing 1}}",
        Err(
            r#"1:3: executing "t" at <lt .missing 1>: error calling lt: invalid type for comparison"#,
        ),
    ),
    (
        "{{lt .list 1}}",
        Err(r#"1:3: executing "t" at <lt .list 1>: error calling lt: invalid type for comparison"#),
    ),
    (r#"{{ge .name "w"}}"#, Ok("true")),
    (r#"{{gt "b" "a"}}"#, Ok("true")),
    ("{{le .pi 3.25}}", Ok("true")),
    ("{{'a' | eq 97}}", Ok("true")),
    ("{{eq (len .list) 3}}", Ok("true")),
];

const AND_OR_NOT_GIVE_OPERANDS: &[Case] = &[
    ("{{and 1 2}}", Ok("2")),
    ("{{and 0 2}}", Ok("0")),
    ("{{and 1 0 2}}", Ok("0")),
    ("{{or 0 2}}", Ok("2")),
    (r#"{{or 0 "" "x" 5}}"#, Ok("x")),
    (r#"{{or 0 ""}}"#, Ok("")),
    ("{{and true (eq 1 1)}}", Ok("true")),
    ("{{or true (index .list 9)}}", Ok("true")),
    ("{{and false (index .list 9)}}", Ok("false")),
    (
        "{{and true (index .list 9)}}",
        Err(
            r#"1:13: executing "t" at <index .list 9>: error calling index: index out of range: 9"#,
        ),
    ),
    ("{{1 | and 0}}", Ok("0")),
    ("{{1 | and 2}}", Ok("1")),
    ("{{1 | or 0}}", Ok("1")),
    ("{{not 0}}", Ok("true")),
    ("{{not .name}}", Ok("false")),
    ("{{or .missing .name}}", Ok("web")),
    ("{{and .missing .name}}", Ok("<no value>")),
    ("{{or .missing .nil}}", Ok("<no value>")),
    ("{{not nil}}", Ok("true")),
    (r#"{{or .missing "d" | len}}"#, Ok("1")),
];

const INDEX_LEN_AND_SLICE_LOOK_INSIDE: &[Case] = &[
    ("{{index .list 0}}", Ok("a")),
    ("{{index .list 2}}", Ok("c")),
    (
        "{{index .list 3}}",
        Err(r#"1:3: executing "t" at <index .list 3>: error calling index: index out of range: 3"#),
    ),
    (
        "{{index .list -1}}",
        Err(
            r#"1:3: executing "t" at <index .list -1>: error calling index: index out of range: -1"#,
        ),
    ),
    (r#"{{index .map "a"}}"#, Ok("1")),
    (r#"{{index .map "q"}}"#, Ok("<no value>")),
    ("{{index .nested 0 1}}", Ok("2")),
    (r#"{{index .people 1 "name"}}"#, Ok("Bob")),
    (r#"{{index .deep "x" "y" "z"}}"#, Ok("bottom")),
    (
        r#"{{index .deep "q" "y"}}"#,
        Err(
            r#"1:3: executing "t" at <index .deep "q" "y">: error calling index: index of untyped nil"#,
        ),
    ),
    ("{{index .name 0}}", Ok("119")),
    ("{{index .list}}", Ok("[a b c]")),
    (
        "{{index .missing 1}}",
        Err(
            r#"1:3: executing "t" at <index .missing 1>: error calling index: index of untyped nil"#,
        ),
    ),
    (
        r#"{{index .list "a"}}"#,
        Err(
            r#"1:3: executing "t" at <index .list "a">: error calling index: wrong type for value; expected int; got string"#,
        ),
    ),
    (
        "{{index .list .n}}",
        Err(
            r#"1:3: executing "t" at <index .list .n>: error calling index: wrong type for value; expected int; got float64"#,
        ),
    ),
    (
        "{{index .map 1}}",
        Err(
            r#"1:3: executing "t" at <index .map 1>: error calling index: wrong type for value; expected string; got int"#,
        ),
    ),
    (
        "{{index .map nil}}",
        Err(
            r#"1:3: executing "t" at <index .map nil>: error calling index: invalid value; expected string"#,
        ),
    ),
    (
        "{{index 1 1}}",
        Err(
            r#"1:3: executing "t" at <index 1 1>: error calling index: can't index item of type int"#,
        ),
    ),
    (
        "{{index .list nil}}",
        Err(
            r#"1:3: executing "t" at <index .list nil>: error calling index: invalid value; expected int"#,
        ),
    ),
    ("{{len .list}}", Ok("3")),
    ("{{len .map}}", Ok("3")),
    ("{{len .name}}", Ok("3")),
    ("{{len .uni}}", Ok("13")),
    (
        "{{len .missing}}",
        Err(r#"1:3: executing "t" at <len .missing>: error calling len: len of untyped nil"#),
    ),
    (
        "{{len 1}}",
        Err(r#"1:3: executing "t" at <len 1>: error calling len: can't len item of type int"#),
    ),
    (
        "{{len nil}}",
        Err(r#"1:3: executing "t" at <len nil>: error calling len: len of untyped nil"#),
    ),
    ("{{slice .name 1}}", Ok("eb")),
    ("{{slice .name 0 2}}", Ok("we")),
    ("{{slice .name 1 1}}", Ok("")),
    ("{{slice .name}}", Ok("web")),
    (
        "{{slice .name 2 1}}",
        Err(
            r#"1:3: executing "t" at <slice .name 2 1>: error calling slice: invalid slice index: 2 > 1"#,
        ),
    ),
    (
        "{{slice .name 0 9}}",
        Err(
            r#"1:3: executing "t" at <slice .name 0 9>: error calling slice: index out of range: 9"#,
        ),
    ),
    ("{{slice .list 1}}", Ok("[b c]")),
    ("{{slice .list 1 2}}", Ok("[b]")),
    ("{{slice .list 0 1 2}}", Ok("[a]")),
    (
        "{{slice .list 0 1 2 3}}",
        Err(
            r#"1:3: executing "t" at <slice .list 0 1 2 3>: error calling slice: too many slice indexes: 4"#,
        ),
    ),
    (
        "{{slice .name 0 1 2}}",
        Err(
            r#"1:3: executing "t" at <slice .name 0 1 2>: error calling slice: too many slice indexes: 3"#,
        ),
    ),
    (
        "{{slice 1}}",
        Err(
            r#"1:3: executing "t" at <slice 1>: error calling slice: can't slice item of type int"#,
        ),
    ),
    (
        "{{slice .missing 1}}",
        Err(
            r#"1:3: executing "t" at <slice .missing 1>: error calling slice: slice of untyped nil"#,
        ),
    ),
    (
        "{{slice .list 4}}",
        Err(r#"1:3: executing "t" at <slice .list 4>: error calling slice: index out of range: 4"#),
    ),
    (
        "{{slice .list -1}}",
        Err(
            r#"1:3: executing "t" at <slice .list -1>: error calling slice: index out of range: -1"#,
        ),
    ),
];

const DELIMITERS_ARE_A_PARAMETER: &[Case] = &[
    ("[[ .name ]] {{ x }}", Ok("web {{ x }}")),
    ("a [[- 1 -]] b", Ok("a1b")),
    ("[[ if .yes ]]y[[ else ]]n[[ end ]]", Ok("y")),
    ("[[/* c */]]x", Ok("x")),
    ("[[ index .list 0 ]]", Ok("a")),
    ("[[ printf `[%s]` .name ]]", Ok("[web]")),
    (
        "[[ .name ]",
        Err(r#"1:10: unexpected "]" in command, at <]>"#),
    ),
    (
        "[[ nope ]]",
        Err(r#"1:4: function "nope" not defined, at <nope>"#),
    ),
];

const STRUCTS_ARE_ADDRESSED_BY_GO_NAMES: &[Case] = &[
    ("{{.Spec.ServiceAccountName}}", Ok("robot")),
    ("{{.Spec.DNSPolicy}}", Ok("ClusterFirst")),
    ("{{.Spec.HostNetwork}}", Ok("false")),
    ("{{.Spec.HostIPC}}", Ok("false")),
    (
        "{{range .Spec.Containers}}{{.Name}}:{{range .Ports}}{{.ContainerPort}}/{{.Protocol}},{{end}};{{end}}",
        Ok("app:8080/TCP,53/UDP,9090/,;istio-proxy:15090/,;"),
    ),
    (
        "{{(index .Spec.Containers 0).ReadinessProbe.HTTPGet.Path}}",
        Ok("/x"),
    ),
    ("{{(index .Spec.Containers 0).TTY}}", Ok("true")),
    ("{{(index .Spec.Containers 1).TTY}}", Ok("false")),
    ("{{.ObjectMeta.Labels.app}}", Ok("web")),
    ("{{.ObjectMeta.Labels.missing}}", Ok("<no value>")),
    (
        r#"{{index .ObjectMeta.Labels "app.kubernetes.io/name"}}"#,
        Ok("shop-web"),
    ),
    (r#"[{{index .ObjectMeta.Labels "nope"}}]"#, Ok("[]")),
    (
        "{{.TypeMeta.APIVersion}} {{.TypeMeta.Kind}}",
        Ok("apps/v1 Deployment"),
    ),
    (
        "{{.DeploymentMeta.Name}}/{{.DeploymentMeta.Namespace}}",
        Ok("web/shop"),
    ),
    ("[{{.DeploymentMeta.GenerateName}}]", Ok("[]")),
    ("{{len .DeploymentMeta.Labels}}", Ok("0")),
    (
        "{{range $k, $v := .DeploymentMeta.Annotations}}x{{else}}none{{end}}",
        Ok("none"),
    ),
    (
        "{{range .Spec.InitContainers}}x{{else}}none{{end}}",
        Ok("none"),
    ),
    ("{{if .Spec.InitContainers}}a{{else}}b{{end}}", Ok("b")),
    (r#"{{eq .Spec.NodeName ""}}"#, Ok("true")),
    (r#"{{ne .Spec.ServiceAccountName "robot"}}"#, Ok("false")),
    ("{{.ProxyConfig.InterceptionMode}}", Ok("TPROXY")),
    ("{{.ProxyConfig.InterceptionMode.String}}", Ok("TPROXY")),
    (
        "{{.ProxyConfig.HoldApplicationUntilProxyStarts.GetValue}}",
        Ok("true"),
    ),
    (
        "{{.ProxyConfig.GetTracing.GetTlsSettings.GetCaCertificates}}|",
        Ok("|"),
    ),
    (
        "{{if .ProxyConfig.GetTracing.GetTlsSettings}}a{{else}}b{{end}}",
        Ok("b"),
    ),
    ("{{.ProxyConfig.Concurrency.GetValue}}", Ok("2")),
    ("{{.ProxyConfig.GetConcurrency.GetValue}}", Ok("2")),
    ("{{.ProxyConfig.StatusPort}}", Ok("15020")),
    ("{{.ProxyConfig.GetStatusPort}}", Ok("15020")),
    (
        r#"{{index .ProxyConfig.ProxyMetadata "ISTIO_META_X"}}"#,
        Ok("y"),
    ),
    ("{{.ProxyConfig.ProxyMetadata.A}}", Ok("1")),
    (
        "{{range $k, $v := .ProxyConfig.ProxyMetadata}}{{$k}}={{$v}};{{end}}",
        Ok("A=1;ISTIO_META_X=y;"),
    ),
    ("{{.MeshConfig.TrustDomain}}", Ok("cluster.local")),
    (
        r#"{{.MeshConfig.ProxyListenPort | default "15001" | quote}}"#,
        Ok(r#""15001""#),
    ),
    ("{{.NativeSidecars}}", Ok("true")),
    (
        r#"{{.Revision | default "default" | quote}}"#,
        Ok(r#""canary""#),
    ),
    ("[{{.CompliancePolicy}}]", Ok("[]")),
    (r#"{{.ProxyUID | default "1337"}}"#, Ok("1337")),
    (r#"{{.ProxyUID | default "1337" | quote}}"#, Ok(r#""1337""#)),
    (
        "{{.Nope}}",
        Err(r#"1:3: executing "t" at <.Nope>: can't evaluate field Nope in type injection data"#),
    ),
    ("{{.Values.global.nope.x}}", Ok("<no value>")),
    ("{{.Values.global.proxy.statusPort}}", Ok("15020")),
    (
        r#"{{annotation .ObjectMeta `sidecar.istio.io/proxyCPU` "x"}}"#,
        Ok("200m"),
    ),
    (r#"[{{annotation .ObjectMeta `empty` "x"}}]"#, Ok("[]")),
    (
        "{{annotation .ObjectMeta `none` .Values.global.proxy.statusPort}}",
        Ok("15020"),
    ),
    (
        "{{annotation .ObjectMeta `none` .Values.global.none}}",
        Ok("<nil>"),
    ),
    (
        "{{annotation .ObjectMeta `none` .ProxyConfig.InterceptionMode}}",
        Ok("TPROXY"),
    ),
    ("{{annotation .ObjectMeta `none` true}}", Ok("true")),
    (
        "{{annotation .ObjectMeta `user` true}}",
        Ok("{{ .Values }}"),
    ),
    ("{{annotation .DeploymentMeta `none` 5}}", Ok("5")),
    ("{{isset .ObjectMeta.Annotations `empty`}}", Ok("true")),
    ("{{isset .DeploymentMeta.Annotations `empty`}}", Ok("false")),
    (
        "{{includeInboundPorts .Spec.Containers}}",
        Ok("8080,9090,15090"),
    ),
    ("{{applicationPorts .Spec.Containers}}", Ok("8080,9090")),
    ("{{includeInboundPorts .Spec.InitContainers}}|", Ok("|")),
    (
        "{{otelResourceAttributes .MeshConfig .ObjectMeta.Annotations .ObjectMeta.Labels .DeploymentMeta.Namespace .Spec.Containers}}",
        Ok("service.namespace=shop,service.instance.id=shop.$(POD_NAME).app"),
    ),
    (
        "{{protoToJSON .ProxyConfig}}",
        Ok(
            r#"{"concurrency":2,"interceptionMode":"TPROXY","proxyMetadata":{"A":"1","ISTIO_META_X":"y"},"terminationDrainDuration":"90s","holdApplicationUntilProxyStarts":true}"#,
        ),
    ),
    (
        "{{structToJSON (index (index .Spec.Containers 0).Ports 2)}}",
        Ok(r#"{"containerPort":9090}"#),
    ),
    (
        "{{toJSON .ObjectMeta.Labels}}",
        Ok(r#"{"app":"web","app.kubernetes.io/name":"shop-web","version":"v1"}"#),
    ),
    ("{{toJSON .DeploymentMeta.Labels}}", Ok("{}")),
    ("{{formatDuration .ProxyConfig.DrainDuration}}", Ok("45s")),
    (
        "{{formatDuration .ProxyConfig.TerminationDrainDuration}}",
        Ok("1m30s"),
    ),
    (
        r#"{{ne (index .ObjectMeta.Annotations `sidecar.istio.io/nativeSidecar` | default (printf "%t" .NativeSidecars)) "false"}}"#,
        Ok("true"),
    ),
    (
        "{{or (index .ObjectMeta.Annotations `x`) .ProxyConfig.InterceptionMode.String}}",
        Ok("TPROXY"),
    ),
    ("{{.Spec.SecurityContext.FSGroup}}", Ok("1337")),
    (
        "{{with (index .ObjectMeta.Labels `service.istio.io/workload-name` | default .DeploymentMeta.Name)}}{{.}}{{end}}",
        Ok("web"),
    ),
    (
        r#"{{excludeInboundPort (annotation .ObjectMeta `status.sidecar.istio.io/port` .Values.global.proxy.statusPort) ""}}"#,
        Ok("15099"),
    ),
    ("{{eq (.Values.pilot.env).X true}}", Ok("false")),
    ("{{.Values.global.proxy.privileged}}", Ok("false")),
    (
        "{{.Spec.Containers.Name}}",
        Err(
            r#"1:3: executing "t" at <.Spec.Containers.Name>: can't evaluate field Name in type []interface {}"#,
        ),
    ),
    (
        "{{.Revision.x}}",
        Err(r#"1:3: executing "t" at <.Revision.x>: can't evaluate field x in type string"#),
    ),
    ("{{$.Spec.ServiceAccountName}}", Ok("robot")),
];
