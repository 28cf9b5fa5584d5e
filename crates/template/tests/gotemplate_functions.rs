//! The functions that templates may call, case by case, as Go, sprig and Istio define them.
//! A template that must be refused stands with the message, without the template's name.

use template::functions::Functions;
use template::gotemplate::{Delimiters, Value};

#[path = "gotemplate/check.rs"]
mod check;
#[path = "gotemplate/data.rs"]
mod data;

use check::{Case, check};

#[test]
fn defaults_choose_values() {
    let json = data::document();
    check(
        DEFAULTS_CHOOSE_VALUES,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn text_functions_work() {
    let json = data::document();
    check(
        TEXT_FUNCTIONS_WORK,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn number_functions_work() {
    let json = data::document();
    check(
        NUMBER_FUNCTIONS_WORK,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn list_functions_work() {
    let json = data::document();
    check(
        LIST_FUNCTIONS_WORK,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn map_functions_work() {
    let json = data::document();
    check(
        MAP_FUNCTIONS_WORK,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn json_and_yaml_functions_work() {
    let json = data::document();
    check(
        JSON_AND_YAML_FUNCTIONS_WORK,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn port_and_network_functions_work() {
    let json = data::document();
    check(
        PORT_AND_NETWORK_FUNCTIONS_WORK,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn printf_knows_gos_verbs() {
    let json = data::document();
    check(
        PRINTF_KNOWS_GOS_VERBS,
        Delimiters::CURLY,
        &Functions::injection(),
        &Value::plain(&json),
    );
}

#[test]
fn print_functions_space_like_go() {
    let json = data::document();
    check(
        PRINT_FUNCTIONS_SPACE_LIKE_GO,
        Delimiters::CURLY,
        &Functions::go(),
        &Value::plain(&json),
    );
}

const DEFAULTS_CHOOSE_VALUES: &[Case] = &[
    (r#"{{default "d" .missing}}"#, Ok("d")),
    (r#"{{.missing | default "d"}}"#, Ok("d")),
    (r#"{{.name | default "d"}}"#, Ok("web")),
    ("{{.zero | default 7}}", Ok("7")),
    ("{{.no | default true}}", Ok("true")),
    (r#"{{.nolist | default "d"}}"#, Ok("d")),
    (r#"{{default "d"}}"#, Ok("d")),
    (r#"{{.nil | default .missing | default "z"}}"#, Ok("z")),
    ("{{empty .missing}}", Ok("true")),
    ("{{empty .name}}", Ok("false")),
    ("{{empty 0}}", Ok("true")),
    ("{{coalesce .missing .empty .name}}", Ok("web")),
    ("{{coalesce .missing}}", Ok("<no value>")),
    (r#"{{ternary "a" "b" true}}"#, Ok("a")),
    (r#"{{.no | ternary "a" "b"}}"#, Ok("b")),
    (
        "{{ternary 1 2 3}}",
        Err(
            r#"1:3: executing "t" at <ternary 1 2 3>: error calling ternary: wrong type for value; expected bool; got int"#,
        ),
    ),
    (
        "{{ternary 1 2 .missing}}",
        Err(
            r#"1:3: executing "t" at <ternary 1 2 .missing>: error calling ternary: invalid value; expected bool"#,
        ),
    ),
    (r#"{{valueOrDefault .missing "d"}}"#, Ok("d")),
    (r#"{{valueOrDefault .empty "d"}}"#, Ok("d")),
    ("{{valueOrDefault .zero 5}}", Ok("0")),
    ("{{valueOrDefault .no 5}}", Ok("false")),
    (r#"{{valueOrDefault .nil "d"}}"#, Ok("d")),
    (r#"{{valueOrDefault .nolist "d"}}"#, Ok("[]")),
    (
        r#"{{fail "stop it"}}"#,
        Err(r#"1:3: executing "t" at <fail "stop it">: error calling fail: stop it"#),
    ),
    ("{{kindOf .list}}", Ok("slice")),
    ("{{kindOf .map}}", Ok("map")),
    ("{{kindOf 1}}", Ok("int")),
    (r#"{{kindOf "a"}}"#, Ok("string")),
    ("{{kindOf .n}}", Ok("float64")),
    ("{{kindOf nil}}", Ok("invalid")),
    ("{{kindOf true}}", Ok("bool")),
    (r#"{{kindIs "map" .deep}}"#, Ok("true")),
    ("{{typeOf .list}}", Ok("[]interface {}")),
    ("{{typeOf .name}}", Ok("string")),
    ("{{typeOf .n}}", Ok("float64")),
    ("{{typeOf 1}}", Ok("int")),
    ("{{typeOf .map}}", Ok("map[string]interface {}")),
    ("{{typeOf nil}}", Ok("<nil>")),
    (r#"{{env "HOME_NOT_SET_X" "d"}}"#, Ok("d")),
];

const TEXT_FUNCTIONS_WORK: &[Case] = &[
    (r#"{{upper "aé"}}"#, Ok("AÉ")),
    (r#"{{lower "AÉ"}}"#, Ok("aé")),
    (
        r#"{{title "hello wide-world o'neil"}}"#,
        Ok("Hello Wide-World O'Neil"),
    ),
    (r#"{{untitle "Hello World"}}"#, Ok("hello world")),
    (r#"{{trim "  a b \n"}}"#, Ok("a b")),
    (r#"{{trimAll "-_." "-_a-b._"}}"#, Ok("a-b")),
    (r#"{{trimPrefix "a" "aab"}}"#, Ok("ab")),
    (r#"{{trimSuffix "b" "abb"}}"#, Ok("ab")),
    (r#"{{trimPrefix "x" "ab"}}"#, Ok("ab")),
    (r#"{{trunc 3 "abcdef"}}"#, Ok("abc")),
    (r#"{{trunc -2 "abcdef"}}"#, Ok("ef")),
    (r#"{{trunc 9 "abc"}}"#, Ok("abc")),
    (r#"{{trunc 0 "abc"}}"#, Ok("")),
    (r#"{{trunc -9 "abc"}}"#, Ok("abc")),
    ("{{.name | trunc 2 | upper}}", Ok("WE")),
    (r#"{{repeat 3 "ab"}}"#, Ok("ababab")),
    (r#"{{repeat 0 "ab"}}"#, Ok("")),
    (
        r#"{{repeat -1 "ab"}}"#,
        Err(
            r#"1:3: executing "t" at <repeat -1 "ab">: error calling repeat: index out of range: -1"#,
        ),
    ),
    (r#"{{substr 1 3 "abcdef"}}"#, Ok("bc")),
    (r#"{{substr -1 3 "abcdef"}}"#, Ok("abc")),
    (r#"{{substr 2 -1 "abcdef"}}"#, Ok("cdef")),
    (r#"{{substr 2 99 "abcdef"}}"#, Ok("cdef")),
    (
        r#"{{substr 3 1 "abcdef"}}"#,
        Err(
            r#"1:3: executing "t" at <substr 3 1 "abcdef">: error calling substr: invalid slice index: 3 > 1"#,
        ),
    ),
    (
        r#"{{substr -1 -1 "abc"}}"#,
        Err(
            r#"1:3: executing "t" at <substr -1 -1 "abc">: error calling substr: index out of range: -1"#,
        ),
    ),
    (r#"{{nospace " a b\tc "}}"#, Ok("abc")),
    (r#"{{contains "b" "abc"}}"#, Ok("true")),
    (r#"{{contains "/" .name}}"#, Ok("false")),
    (r#"{{hasPrefix "a" "abc"}}"#, Ok("true")),
    (r#"{{hasSuffix "c" "abc"}}"#, Ok("true")),
    (r#"{{replace "a" "bb" "aXa"}}"#, Ok("bbXbb")),
    (r#"{{replace "" "-" "ab"}}"#, Ok("-a-b-")),
    (r#"{{quote "a\"b"}}"#, Ok(r#""a\"b""#)),
    (r#"{{quote .n .missing "x"}}"#, Ok(r#""3" "x""#)),
    ("{{quote .missing}}", Ok("")),
    ("{{quote .quote}}", Ok(r#""say \"hi\"\n""#)),
    (
        r#"{{quote .uni "\u200b\t\u0001"}}"#,
        Ok(r#""žluťoučký" "\u200b\t\x01""#),
    ),
    ("{{quote .list}}", Ok(r#""[a b c]""#)),
    ("{{quote .port}}", Ok(r#""15020""#)),
    (r#"{{squote "a" 1}}"#, Ok("'a' '1'")),
    ("{{squote .missing}}", Ok("")),
    (r#"{{squote "it's"}}"#, Ok("'it's'")),
    (r#"{{cat "a" 1 nil true}}"#, Ok("a 1 true")),
    ("{{cat}}", Ok("")),
    (r#"{{cat " a " "b"}}"#, Ok(" a  b")),
    (r#"{{join "," .list}}"#, Ok("a,b,c")),
    (r#"{{.list | join "-"}}"#, Ok("a-b-c")),
    (r#"{{join "," .nums}}"#, Ok("3,1,2")),
    (r#"{{join "," "x"}}"#, Ok("x")),
    (r#"{{join "," .missing}}"#, Ok("")),
    (r#"{{join "," .nulls}}"#, Ok("1,map[k:<nil>]")),
    (r#"{{join "," .nolist}}"#, Ok("")),
    (r#"{{(split "/" "a/b/c")._1}}"#, Ok("b")),
    (r#"{{split "/" "a/b"}}"#, Ok("map[_0:a _1:b]")),
    (r#"{{splitList "," "a,b,,c"}}"#, Ok("[a b  c]")),
    (r#"{{splitList "" "abé"}}"#, Ok("[a b é]")),
    (r#"{{splitList "," ""}}"#, Ok("[]")),
    ("{{toString 5}}", Ok("5")),
    ("{{toString .list}}", Ok("[a b c]")),
    ("{{toString .port}}", Ok("15020")),
    ("{{toStrings .nums}}", Ok("[3 1 2]")),
    ("{{toStrings 1}}", Ok("[1]")),
    (r#"{{indent 2 "a\nb\n"}}"#, Ok("a\n  b\n  ")),
    (r#"{{nindent 2 "a\nb"}}"#, Ok("\n  a\n  b")),
    (r#"{{"a\nb" | nindent 4}}"#, Ok("\n    a\n    b")),
    (r#"{{indent 0 "a\nb"}}"#, Ok("a\nb")),
    (r#"{{nindent 0 ""}}"#, Ok("\n")),
    (r#"{{toLower "AbC"}}"#, Ok("abc")),
    (r#"{{b64enc "hello"}}"#, Ok("aGVsbG8=")),
    (r#"{{b64dec "aGVsbG8="}}"#, Ok("hello")),
    (
        "{{upper 1}}",
        Err(
            r#"1:3: executing "t" at <upper 1>: error calling upper: wrong type for value; expected string; got int"#,
        ),
    ),
    (
        "{{upper .missing}}",
        Err(
            r#"1:3: executing "t" at <upper .missing>: error calling upper: invalid value; expected string"#,
        ),
    ),
    (
        "{{upper nil}}",
        Err(
            r#"1:3: executing "t" at <upper nil>: error calling upper: invalid value; expected string"#,
        ),
    ),
    (
        r#"{{trunc "a" "b"}}"#,
        Err(
            r#"1:3: executing "t" at <trunc "a" "b">: error calling trunc: wrong type for value; expected int; got string"#,
        ),
    ),
    (
        r#"{{contains 1 "a"}}"#,
        Err(
            r#"1:3: executing "t" at <contains 1 "a">: error calling contains: wrong type for value; expected string; got int"#,
        ),
    ),
    (r#"{{directory "/etc/certs/ca.pem"}}"#, Ok("/etc/certs/")),
    (r#"{{directory "file"}}"#, Ok("")),
    (r#"{{directory "/a/b/"}}"#, Ok("/a/b/")),
    (r#"{{directory ""}}"#, Ok("")),
];

const NUMBER_FUNCTIONS_WORK: &[Case] = &[
    ("{{add 1 2 3}}", Ok("6")),
    ("{{add}}", Ok("0")),
    ("{{add1 5}}", Ok("6")),
    ("{{sub 5 7}}", Ok("-2")),
    ("{{mul 2 3 4}}", Ok("24")),
    ("{{div 7 2}}", Ok("3")),
    ("{{div -7 2}}", Ok("-3")),
    ("{{mod 7 3}}", Ok("1")),
    ("{{mod -7 3}}", Ok("-1")),
    (
        "{{div 1 0}}",
        Err(r#"1:3: executing "t" at <div 1 0>: error calling div: integer divide by zero"#),
    ),
    (
        "{{mod 1 0}}",
        Err(r#"1:3: executing "t" at <mod 1 0>: error calling mod: integer divide by zero"#),
    ),
    ("{{max 1 5 3}}", Ok("5")),
    ("{{min 4 2 8}}", Ok("2")),
    (r#"{{add "1" 2}}"#, Ok("3")),
    ("{{add .n 1}}", Ok("4")),
    (r#"{{add "x" 1}}"#, Ok("1")),
    ("{{add 1.9 1}}", Ok("2")),
    ("{{add true 1}}", Ok("2")),
    ("{{add nil 1}}", Ok("1")),
    (r#"{{int "12"}}"#, Ok("12")),
    (r#"{{int "0x1f"}}"#, Ok("31")),
    (r#"{{int "010"}}"#, Ok("8")),
    (r#"{{int "1.00"}}"#, Ok("1")),
    (r#"{{int "1.5"}}"#, Ok("0")),
    ("{{int 3.99}}", Ok("3")),
    ("{{int -3.99}}", Ok("-3")),
    ("{{int .port}}", Ok("15020")),
    (r#"{{int64 "7"}}"#, Ok("7")),
    (r#"{{float64 "1.5"}}"#, Ok("1.5")),
    ("{{float64 2}}", Ok("2")),
    (r#"{{atoi "42"}}"#, Ok("42")),
    (r#"{{atoi "x"}}"#, Ok("0")),
    (r#"{{atoi "-7"}}"#, Ok("-7")),
    ("{{floor 1.7}}", Ok("1")),
    ("{{ceil 1.2}}", Ok("2")),
    ("{{floor -1.2}}", Ok("-2")),
    ("{{round 1.2345 2}}", Ok("1.23")),
    ("{{round 2.5 0}}", Ok("3")),
    ("{{round 123.5555 3 0.4}}", Ok("123.556")),
    ("{{round -1.5 0}}", Ok("-2")),
    ("{{until 4}}", Ok("[0 1 2 3]")),
    ("{{until -3}}", Ok("[0 -1 -2]")),
    ("{{until 0}}", Ok("[]")),
    ("{{untilStep 1 10 3}}", Ok("[1 4 7]")),
    ("{{untilStep 5 1 -2}}", Ok("[5 3]")),
    ("{{untilStep 1 5 0}}", Ok("[]")),
    ("{{untilStep 5 1 1}}", Ok("[]")),
    ("{{range until 3}}{{.}}{{end}}", Ok("012")),
    ("{{max 1}}", Ok("1")),
    ("{{mul 3}}", Ok("3")),
    ("{{add 9223372036854775807 1}}", Ok("-9223372036854775808")),
    (r#"{{int ""}}"#, Ok("0")),
    ("{{int true}}", Ok("1")),
    ("{{eq (add 1 2) 3}}", Ok("true")),
    ("{{int .list}}", Ok("0")),
];

const LIST_FUNCTIONS_WORK: &[Case] = &[
    (r#"{{list 1 "a" true}}"#, Ok("[1 a true]")),
    ("{{list}}", Ok("[]")),
    ("{{append (list 1) 2}}", Ok("[1 2]")),
    ("{{prepend (list 1) 2}}", Ok("[2 1]")),
    ("{{concat (list 1) (list 2 3)}}", Ok("[1 2 3]")),
    ("{{concat}}", Ok("[]")),
    ("{{first .list}}", Ok("a")),
    ("{{last .list}}", Ok("c")),
    ("{{rest .list}}", Ok("[b c]")),
    ("{{initial .list}}", Ok("[a b]")),
    ("{{first (list)}}", Ok("<no value>")),
    ("{{rest (list)}}", Ok("[]")),
    ("{{last .nolist}}", Ok("<no value>")),
    ("{{uniq (list 1 2 1 3 2)}}", Ok("[1 2 3]")),
    (r#"{{uniq (list "a" 1 "a")}}"#, Ok("[a 1]")),
    (r#"{{without .list "b"}}"#, Ok("[a c]")),
    ("{{without (list 1 2 3) 1 3}}", Ok("[2]")),
    (r#"{{has "b" .list}}"#, Ok("true")),
    (r#"{{has "q" .list}}"#, Ok("false")),
    ("{{has 1 (list 1 2)}}", Ok("true")),
    (r#"{{has "a" .missing}}"#, Ok("false")),
    ("{{has (list 1) (list (list 1) 2)}}", Ok("true")),
    ("{{has 3.0 .nums}}", Ok("true")),
    ("{{has 3 .nums}}", Ok("false")),
    (r#"{{compact (list 0 1 "" "a" nil false)}}"#, Ok("[1 a]")),
    ("{{append .list 1}}", Ok("[a b c 1]")),
    (
        "{{append .missing 1}}",
        Err(
            r#"1:3: executing "t" at <append .missing 1>: error calling append: invalid value; expected slice"#,
        ),
    ),
    (
        r#"{{append "a" 1}}"#,
        Err(
            r#"1:3: executing "t" at <append "a" 1>: error calling append: wrong type for value; expected slice; got string"#,
        ),
    ),
    (
        "{{first 1}}",
        Err(
            r#"1:3: executing "t" at <first 1>: error calling first: wrong type for value; expected slice; got int"#,
        ),
    ),
    ("{{len (list 1 2)}}", Ok("2")),
    (
        "{{$l := list}}{{range .list}}{{$l = append $l (upper .)}}{{end}}{{$l}}",
        Ok("[A B C]"),
    ),
    ("{{index (list 1 2) 1}}", Ok("2")),
    ("{{reverse .list}}", Ok("[c b a]")),
    (r#"{{sortAlpha (list "b" "a" 3)}}"#, Ok("[3 a b]")),
    ("{{tuple 1 2}}", Ok("[1 2]")),
    ("{{list nil 1}}", Ok("[<nil> 1]")),
    (
        "{{range $i, $v := list 5 6}}{{$i}}{{$v}}{{end}}",
        Ok("0516"),
    ),
    ("{{with list}}a{{else}}b{{end}}", Ok("b")),
    (
        "{{concat .list 1}}",
        Err(
            r#"1:3: executing "t" at <concat .list 1>: error calling concat: wrong type for value; expected slice; got int"#,
        ),
    ),
];

const MAP_FUNCTIONS_WORK: &[Case] = &[
    (r#"{{dict "a" 1 "b" 2}}"#, Ok("map[a:1 b:2]")),
    (r#"{{dict "a"}}"#, Ok("map[a:]")),
    ("{{dict}}", Ok("map[]")),
    ("{{dict 1 2}}", Ok("map[1:2]")),
    (r#"{{get (dict "a" 1) "a"}}"#, Ok("1")),
    (r#"{{get (dict "a" 1) "b"}}"#, Ok("")),
    (
        r#"{{$d := dict "a" 1}}{{$_ := set $d "b" 2}}{{$d}}"#,
        Ok("map[a:1 b:2]"),
    ),
    (
        r#"{{$d := dict "a" 1}}{{$_ := unset $d "a"}}{{$d}}"#,
        Ok("map[]"),
    ),
    (r#"{{hasKey .map "a"}}"#, Ok("true")),
    (r#"{{hasKey .map "q"}}"#, Ok("false")),
    (r#"{{keys (dict "a" 1)}}"#, Ok("[a]")),
    (r#"{{values (dict "a" 1)}}"#, Ok("[1]")),
    (r#"{{pick .map "a" "q"}}"#, Ok("map[a:1]")),
    (
        r#"{{$d := dict "a" 1}}{{merge $d (dict "a" 2 "b" 3)}}"#,
        Ok("map[a:1 b:3]"),
    ),
    (r#"{{merge (dict "a" 0) (dict "a" 2)}}"#, Ok("map[a:2]")),
    (
        r#"{{merge (dict "a" (dict "x" 1)) (dict "a" (dict "x" 2 "y" 3))}}"#,
        Ok("map[a:map[x:1 y:3]]"),
    ),
    (
        r#"{{$d := dict}}{{$_ := merge $d (dict "b" 3)}}{{$d}}"#,
        Ok("map[b:3]"),
    ),
    (
        r#"{{mergeOverwrite (dict "a" 1) (dict "a" 2)}}"#,
        Ok("map[a:2]"),
    ),
    (r#"{{(dict "a" (dict "b" 5)).a.b}}"#, Ok("5")),
    (
        r#"{{range $k, $v := dict "z" 1 "y" 2}}{{$k}}{{$v}}{{end}}"#,
        Ok("y2z1"),
    ),
    (r#"{{strdict "a" "b" "c" "d"}}"#, Ok("map[a:b c:d]")),
    (r#"{{strdict "a"}}"#, Ok("map[a:]")),
    (
        r#"{{strdict "a" 1}}"#,
        Err(
            r#"1:3: executing "t" at <strdict "a" 1>: error calling strdict: wrong type for value; expected string; got int"#,
        ),
    ),
    (r#"{{omit (strdict "a" "1" "b" "2") "a"}}"#, Ok("map[b:2]")),
    (
        r#"{{mergeMaps (strdict "a" "1") (strdict "a" "2" "b" "3")}}"#,
        Ok("map[a:2 b:3]"),
    ),
    (
        r#"{{toJsonMap (strdict "a" "1") (strdict "b" "<2>")}}"#,
        Ok(r#"{"a":"1","b":"\u003c2\u003e"}"#),
    ),
    ("{{toJsonMap}}", Ok("null")),
    (r#"{{isset (strdict "a" "") "a"}}"#, Ok("true")),
    (r#"{{isset (strdict "a" "") "b"}}"#, Ok("false")),
    (r#"{{isset .missing "a"}}"#, Ok("false")),
    (r#"{{index (strdict "a" "b") "q"}}"#, Ok("")),
    (r#"{{(strdict "a" "b").q}}"#, Ok("<no value>")),
    ("{{typeOf (strdict)}}", Ok("map[string]string")),
    (r#"{{len (dict "a" 1)}}"#, Ok("1")),
    (r#"{{hasKey .missing "a"}}"#, Ok("false")),
    (
        r#"{{get 1 "a"}}"#,
        Err(
            r#"1:3: executing "t" at <get 1 "a">: error calling get: wrong type for value; expected map; got int"#,
        ),
    ),
    (r#"{{$d := dict "n" (dict)}}{{$d.n.x}}"#, Ok("<no value>")),
];

const JSON_AND_YAML_FUNCTIONS_WORK: &[Case] = &[
    ("{{toJson .map}}", Ok(r#"{"a":1,"b":2,"c":null}"#)),
    (
        r#"{{toJSON (strdict "b" "<x>" "a" "2")}}"#,
        Ok(r#"{"a":"2","b":"\u003cx\u003e"}"#),
    ),
    (
        "{{structToJSON .deep}}",
        Ok(r#"{"x":{"y":{"z":"bottom"}}}"#),
    ),
    ("{{structToJSON nil}}", Ok("{}")),
    ("{{toJSON nil}}", Ok("{}")),
    ("{{structToJSON .list}}", Ok(r#"["a","b","c"]"#)),
    ("{{structToJSON .port}}", Ok("15020")),
    ("{{structToJSON .pi}}", Ok("3.25")),
    (
        "{{structToJSON .html}}",
        Ok(r#""\u003ca href='x'\u003e\u0026\"\u003c/a\u003e""#),
    ),
    ("{{structToJSON .missing}}", Ok("{}")),
    (
        r#"{{structToJSON (list 1 "a" nil true 1.0)}}"#,
        Ok(r#"[1,"a",null,true,1]"#),
    ),
    ("{{structToJSON .quote}}", Ok(r#""say \"hi\"\n""#)),
    (
        r#"{{structToJSON "\u2028\u0001\u007f"}}"#,
        Ok("\"\\u2028\\u0001\u{7f}\""),
    ),
    (
        "{{toPrettyJson .map}}",
        Ok("{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": null\n}"),
    ),
    ("{{toPrettyJson (list)}}", Ok("[]")),
    (
        r#"{{toPrettyJson (dict "a" (list 1))}}"#,
        Ok("{\n  \"a\": [\n    1\n  ]\n}"),
    ),
    (r#"{{(fromJson "{\"a\":[1,2]}").a}}"#, Ok("[1 2]")),
    (r#"{{fromJson "nope"}}"#, Ok("<no value>")),
    (r#"{{fromJSON "nope"}}"#, Ok("{}")),
    (
        r#"{{range $k, $v := fromJSON `{"b":{"x":1},"a":2}`}}{{$k}}={{structToJSON $v}};{{end}}"#,
        Ok(r#"a=2;b={"x":1};"#),
    ),
    (r#"{{fromJSON "[1,2.5,null]"}}"#, Ok("[1 2.5 <nil>]")),
    (r#"{{fromJSON "15020"}}"#, Ok("15020")),
    (r#"{{fromJson "null"}}"#, Ok("<no value>")),
    (
        "{{toYaml .global}}",
        Ok("hub: docker.io/istio\nproxy:\n  cpu: 100m\n  limits:\n    cpu: 2\n    memory: 1Gi\n"),
    ),
    ("{{toYaml .list}}", Ok("- a\n- b\n- c\n")),
    ("{{toYaml .name}}", Ok("web\n")),
    ("{{toYaml .port}}", Ok("15020\n")),
    ("{{toYaml nil}}", Ok("null\n")),
    ("{{toYaml .nomap}}", Ok("{}\n")),
    (
        "{{toYaml .global | indent 2}}",
        Ok(
            "hub: docker.io/istio\n  proxy:\n    cpu: 100m\n    limits:\n      cpu: 2\n      memory: 1Gi\n  ",
        ),
    ),
    (
        "a:\n  {{- toYaml .people | nindent 2}}",
        Ok("a:\n  - name: Ann\n    tags:\n    - x\n    - \"y\"\n  - name: Bob\n    tags: []\n  "),
    ),
    ("{{toYaml (omitNil .nulls)}}", Ok("- 1\n")),
    ("{{toYaml (omitNil .map)}}", Ok("a: 1\nb: 2\n")),
    ("{{omitNil nil}}", Ok("<no value>")),
    (r#"{{omitNil (dict "a" nil)}}"#, Ok("<no value>")),
    (
        r#"{{omitNil (dict "a" (dict "b" nil) "c" 1)}}"#,
        Ok("map[c:1]"),
    ),
    ("{{omitNil (list nil (list nil))}}", Ok("<no value>")),
    (r#"{{omitNil (dict "a" (dict))}}"#, Ok("map[a:map[]]")),
    ("{{omitNil 5}}", Ok("5")),
    (
        r#"{{omitNil (dict "a" (dict) "b" nil)}}"#,
        Ok("map[a:map[]]"),
    ),
    ("{{structToJSON 1e21}}", Ok("1e+21")),
    ("{{structToJSON 1e-7}}", Ok("1e-7")),
    ("{{structToJSON .big}}", Ok("1000000")),
];

const PORT_AND_NETWORK_FUNCTIONS_WORK: &[Case] = &[
    (r#"{{excludeInboundPort 15020 ""}}"#, Ok("15020")),
    (r#"{{excludeInboundPort 15020 "80,90"}}"#, Ok("80,90,15020")),
    (r#"{{excludeInboundPort 15020 "80,15020"}}"#, Ok("80,15020")),
    (r#"{{excludeInboundPort "0" "80"}}"#, Ok("80")),
    (r#"{{excludeInboundPort "" "80"}}"#, Ok("80")),
    (r#"{{excludeInboundPort 0 "80"}}"#, Ok("80")),
    (
        r#"{{excludeInboundPort .port "80 , ,90"}}"#,
        Ok("80,90,15020"),
    ),
    (r#"{{excludeInboundPort " 80 " "90"}}"#, Ok("90,80")),
    (r#"{{excludeInboundPort nil "80"}}"#, Ok("80,<nil>")),
    (
        r#"{{appendMultusNetwork "" "default/istio-cni"}}"#,
        Ok("default/istio-cni"),
    ),
    (
        r#"{{appendMultusNetwork "a" "default/istio-cni"}}"#,
        Ok("a, default/istio-cni"),
    ),
    (
        r#"{{appendMultusNetwork "a, default/istio-cni" "default/istio-cni"}}"#,
        Ok("a, default/istio-cni"),
    ),
    (
        r#"{{appendMultusNetwork `[{"name":"a"}]` "istio-cni"}}"#,
        Ok(r#"[{"name":"a"}, {"name": "istio-cni"}]"#),
    ),
    (
        r#"{{appendMultusNetwork `[{"name": "a"} ] ` "default/istio-cni"}}"#,
        Ok(r#"[{"name": "a"} , {"name": "istio-cni", "namespace": "default"}] "#),
    ),
    (
        r#"{{appendMultusNetwork `[{"name":"istio-cni","namespace":"default"}]` "default/istio-cni"}}"#,
        Ok(r#"[{"name":"istio-cni","namespace":"default"}]"#),
    ),
    (
        r#"{{appendMultusNetwork `[{"name":"istio-cni"}]` "istio-cni"}}"#,
        Ok(r#"[{"name":"istio-cni"}]"#),
    ),
    (
        r#"{{appendMultusNetwork `[broken]` "istio-cni"}}"#,
        Ok("[broken]"),
    ),
    (r#"{{kubevirtInterfaces "net1,net2"}}"#, Ok("net1,net2")),
    (r#"{{excludeInterfaces "eth1"}}"#, Ok("eth1")),
];

const PRINTF_KNOWS_GOS_VERBS: &[Case] = &[
    (r#"{{printf "%d" 5}}"#, Ok("5")),
    (r#"{{printf "%5d|" 5}}"#, Ok("    5|")),
    (r#"{{printf "%-5d|" 5}}"#, Ok("5    |")),
    (r#"{{printf "%05d" 5}}"#, Ok("00005")),
    (r#"{{printf "%+d" 5}}"#, Ok("+5")),
    (r#"{{printf "% d" 5}}"#, Ok(" 5")),
    (r#"{{printf "%x" 255}}"#, Ok("ff")),
    (r#"{{printf "%X" 255}}"#, Ok("FF")),
    (r#"{{printf "%#x" 255}}"#, Ok("0xff")),
    (r#"{{printf "%o" 8}}"#, Ok("10")),
    (r#"{{printf "%#o" 8}}"#, Ok("010")),
    (r#"{{printf "%O" 8}}"#, Ok("0o10")),
    (r#"{{printf "%b" 5}}"#, Ok("101")),
    (r#"{{printf "%#b" 5}}"#, Ok("0b101")),
    (r#"{{printf "%c" 97}}"#, Ok("a")),
    (r#"{{printf "%q" 97}}"#, Ok("'a'")),
    (r#"{{printf "%U" 233}}"#, Ok("U+00E9")),
    (r#"{{printf "%s" "a"}}"#, Ok("a")),
    (r#"{{printf "%5s|" "a"}}"#, Ok("    a|")),
    (r#"{{printf "%-5s|" "a"}}"#, Ok("a    |")),
    (r#"{{printf "%05s|" "a"}}"#, Ok("0000a|")),
    (r#"{{printf "%.2s" "abc"}}"#, Ok("ab")),
    (r#"{{printf "%5.1s|" "abc"}}"#, Ok("    a|")),
    (r#"{{printf "%q" "a\"b\n"}}"#, Ok(r#""a\"b\n""#)),
    (r#"{{printf "%#q" "ab"}}"#, Ok("`ab`")),
    (r#"{{printf "%x" "hi"}}"#, Ok("6869")),
    (r#"{{printf "%X" "hi"}}"#, Ok("6869")),
    (r#"{{printf "%v" "a"}}"#, Ok("a")),
    (r#"{{printf "%v" 1}}"#, Ok("1")),
    (r#"{{printf "%v" 1.5}}"#, Ok("1.5")),
    (r#"{{printf "%v" true}}"#, Ok("true")),
    (r#"{{printf "%v" nil}}"#, Ok("<nil>")),
    (r#"{{printf "%t" true}}"#, Ok("true")),
    (r#"{{printf "%t" 1}}"#, Ok("%!t(int=1)")),
    (r#"{{printf "%d" "a"}}"#, Ok("%!d(string=a)")),
    (r#"{{printf "%s" 1}}"#, Ok("%!s(int=1)")),
    (r#"{{printf "%s" true}}"#, Ok("%!s(bool=true)")),
    (r#"{{printf "%s" nil}}"#, Ok("%!s(<nil>)")),
    (r#"{{printf "%d" nil}}"#, Ok("%!d(<nil>)")),
    (r#"{{printf "%f" 1.5}}"#, Ok("1.500000")),
    (r#"{{printf "%.2f" 1.005}}"#, Ok("1.00")),
    (r#"{{printf "%8.3f|" 3.14159}}"#, Ok("   3.142|")),
    (r#"{{printf "%-8.2f|" 3.14159}}"#, Ok("3.14    |")),
    (r#"{{printf "%+.1f" 2.0}}"#, Ok("+2.0")),
    (r#"{{printf "%e" 123456.789}}"#, Ok("1.234568e+05")),
    (r#"{{printf "%E" 0.00012}}"#, Ok("1.200000E-04")),
    (r#"{{printf "%.3e" 123456.789}}"#, Ok("1.235e+05")),
    (r#"{{printf "%g" 1e6}}"#, Ok("1e+06")),
    (r#"{{printf "%g" 100000.0}}"#, Ok("100000")),
    (r#"{{printf "%.3g" 1234.5}}"#, Ok("1.23e+03")),
    (r#"{{printf "%.3g" 0.00001234}}"#, Ok("1.23e-05")),
    (r#"{{printf "%G" 1e-10}}"#, Ok("1E-10")),
    (r#"{{printf "%08.3f" -3.14159}}"#, Ok("-003.142")),
    (r#"{{printf "%%"}}"#, Ok("%")),
    (r#"{{printf "100%%"}}"#, Ok("100%")),
    (r#"{{printf "%z" 1}}"#, Ok("%!z(int=1)")),
    (r#"{{printf "%"}}"#, Ok("%!(NOVERB)")),
    (r#"{{printf "%d"}}"#, Ok("%!d(MISSING)")),
    (r#"{{printf "a" 1}}"#, Ok("a%!(EXTRA int=1)")),
    (r#"{{printf "%d %d" 1}}"#, Ok("1 %!d(MISSING)")),
    (r#"{{printf "%d" 1 2}}"#, Ok("1%!(EXTRA int=2)")),
    (
        r#"{{printf "%d" 1 "x" nil}}"#,
        Ok("1%!(EXTRA string=x, <nil>)"),
    ),
    (r#"{{printf "%[2]d %[1]d" 1 2}}"#, Ok("2 1")),
    (r#"{{printf "%[3]d" 1}}"#, Ok("%!d(BADINDEX)")),
    (r#"{{printf "%[2]*[1]d" 2 6}}"#, Ok("     2")),
    (r#"{{printf "%*d" 5 42}}"#, Ok("   42")),
    (r#"{{printf "%*d" "a" 42}}"#, Ok("%!(BADWIDTH)42")),
    (r#"{{printf "%-*d|" 5 42}}"#, Ok("42   |")),
    (r#"{{printf "%.*f" 2 3.14159}}"#, Ok("3.14")),
    (r#"{{printf "%T" 1}}"#, Ok("int")),
    (r#"{{printf "%T" "a"}}"#, Ok("string")),
    (r#"{{printf "%T" 1.5}}"#, Ok("float64")),
    (r#"{{printf "%T" true}}"#, Ok("bool")),
    (r#"{{printf "%T" nil}}"#, Ok("<nil>")),
    (r#"{{printf "%T" .list}}"#, Ok("[]interface {}")),
    (r#"{{printf "%T" .map}}"#, Ok("map[string]interface {}")),
    (r#"{{printf "%v" .list}}"#, Ok("[a b c]")),
    (r#"{{printf "%s" .list}}"#, Ok("[a b c]")),
    (
        r#"{{printf "%d" .list}}"#,
        Ok("[%!d(string=a) %!d(string=b) %!d(string=c)]"),
    ),
    (r#"{{printf "%v" .map}}"#, Ok("map[a:1 b:2 c:<nil>]")),
    (
        r#"{{printf "%s" .map}}"#,
        Ok("map[a:%!s(float64=1) b:%!s(float64=2) c:<nil>]"),
    ),
    (r#"{{printf "%q" .list}}"#, Ok(r#"["a" "b" "c"]"#)),
    (r#"{{printf "%v" .nulls}}"#, Ok("[<nil> 1 map[k:<nil>]]")),
    (r#"{{printf "%d" .n}}"#, Ok("%!d(float64=3)")),
    (r#"{{printf "%s" .n}}"#, Ok("%!s(float64=3)")),
    (r#"{{printf "%v" .n}}"#, Ok("3")),
    (r#"{{printf "%v" .port}}"#, Ok("15020")),
    (r#"{{printf "%.0f" .port}}"#, Ok("15020")),
    (r#"{{printf "%3v|" 1}}"#, Ok("  1|")),
    (r#"{{printf "%3v|" true}}"#, Ok("true|")),
    (r#"{{printf "%6v|" 1.5}}"#, Ok("   1.5|")),
    (r#"{{printf "%v" .missing}}"#, Ok("<nil>")),
    (r#"{{printf "%s" .missing}}"#, Ok("%!s(<nil>)")),
    (r#"{{printf "%s|%s" "a" .nil}}"#, Ok("a|%!s(<nil>)")),
    (r#"{{printf "%5t|" true}}"#, Ok(" true|")),
    (r#"{{printf "%-7t|" false}}"#, Ok("false  |")),
    (r#"{{printf "%6q|" "a"}}"#, Ok(r#"   "a"|"#)),
    (r#"{{printf "%+q" "é"}}"#, Ok(r#""\u00e9""#)),
    (r#"{{printf "%c" 233}}"#, Ok("é")),
    (r#"{{printf "%3c|" 97}}"#, Ok("  a|")),
    (r#"{{printf "%x" -255}}"#, Ok("-ff")),
    (r#"{{printf "%d" -5}}"#, Ok("-5")),
    (r#"{{printf "%05d" -5}}"#, Ok("-0005")),
    (r#"{{printf "%+05d" 5}}"#, Ok("+0005")),
    (r#"{{printf "%.3d" 5}}"#, Ok("005")),
    (r#"{{printf "%8.3d|" 5}}"#, Ok("     005|")),
    (r#"{{printf "%x" .list}}"#, Ok("[61 62 63]")),
    (r#"{{printf "%s %d" "a"}}"#, Ok("a %!d(MISSING)")),
    (r#"{{printf "no verbs"}}"#, Ok("no verbs")),
    (r#"{{printf ""}}"#, Ok("")),
    (r#"{{printf "%!"}}"#, Ok("%!!(MISSING)")),
    (r#"{{printf "%5%"}}"#, Ok("%")),
    (r#"{{printf "%v%v" 1 2}}"#, Ok("12")),
    (r#"{{printf "%02d:%02d" 1 2}}"#, Ok("01:02")),
    (r#"{{printf "é%5sé" "ž"}}"#, Ok("é    žé")),
    (
        "{{printf 1}}",
        Err(
            r#"1:3: executing "t" at <printf 1>: error calling printf: wrong type for value; expected string; got int"#,
        ),
    ),
    (
        "{{printf .missing}}",
        Err(
            r#"1:3: executing "t" at <printf .missing>: error calling printf: invalid value; expected string"#,
        ),
    ),
    (
        r#"{{printf .n "x"}}"#,
        Err(
            r#"1:3: executing "t" at <printf .n "x">: error calling printf: wrong type for value; expected string; got float64"#,
        ),
    ),
    (r#"{{printf "%6.2f%%" 12.345}}"#, Ok(" 12.35%")),
    (r#"{{printf "%t" "x"}}"#, Ok("%!t(string=x)")),
    (
        r#"{{printf "%v %v" (len .list) (index .list 0)}}"#,
        Ok("3 a"),
    ),
    (r#"{{printf "%#v" "a"}}"#, Ok(r#""a""#)),
    (r#"{{printf "%+v" 1}}"#, Ok("1")),
    (r#"{{printf "%+v" -1.5}}"#, Ok("-1.5")),
    (r#"{{printf "% x" "hi"}}"#, Ok("68 69")),
    (r#"{{printf "%#x" "hi"}}"#, Ok("0x6869")),
    (r#"{{printf "%d" 1.5}}"#, Ok("%!d(float64=1.5)")),
    (r#"{{printf "%f" 1}}"#, Ok("%!f(int=1)")),
    (r#"{{printf "%s" 1.5}}"#, Ok("%!s(float64=1.5)")),
    (r#"{{printf "%10v|" .name}}"#, Ok("       web|")),
    (r#"{{printf "%[1]v %[1]v" "a"}}"#, Ok("a a")),
    (r#"{{printf "%[0]d" 1}}"#, Ok("%!d(BADINDEX)")),
    (r#"{{printf "%[x]d" 1}}"#, Ok("%!d(BADINDEX)")),
    (r#"{{printf "%d %[1]d" 7}}"#, Ok("7 7")),
    (r#"{{printf "%.f" 2.5}}"#, Ok("2")),
    (r#"{{printf "%5.d|" 0}}"#, Ok("     |")),
];

const PRINT_FUNCTIONS_SPACE_LIKE_GO: &[Case] = &[
    ("{{print 1 2}}", Ok("1 2")),
    (r#"{{print "a" "b"}}"#, Ok("ab")),
    (r#"{{print 1 "b" 2}}"#, Ok("1b2")),
    (r#"{{print "a" 1 2 "b"}}"#, Ok("a1 2b")),
    ("{{print}}", Ok("")),
    (r#"{{println 1 "a"}}"#, Ok("1 a\n")),
    ("{{println}}", Ok("\n")),
    ("{{print nil}}", Ok("<nil>")),
    ("{{print 1 nil}}", Ok("1 <nil>")),
    ("{{print .list .map}}", Ok("[a b c] map[a:1 b:2 c:<nil>]")),
    ("{{print true false}}", Ok("true false")),
    ("{{print 1.5 2}}", Ok("1.5 2")),
    ("{{print .missing}}", Ok("<nil>")),
    (
        r#"{{html "<a&'\"\u0000>"}}"#,
        Ok("&lt;a&amp;&#39;&#34;�&gt;"),
    ),
    (
        "{{.html | html}}",
        Ok("&lt;a href=&#39;x&#39;&gt;&amp;&#34;&lt;/a&gt;"),
    ),
    ("{{html 1 2}}", Ok("1 2")),
    (
        r#"{{js "it's <b> & \"x\" = \n"}}"#,
        Ok(r#"it\'s \u003Cb\u003E \u0026 \"x\" \u003D \u000A"#),
    ),
    ("{{js .uni}}", Ok("žluťoučký")),
    (r#"{{urlquery "a b&c=d/é~"}}"#, Ok("a+b%26c%3Dd%2F%C3%A9~")),
    ("{{urlquery 1 2}}", Ok("1+2")),
    ("{{html .missing}}", Ok("&lt;no value&gt;")),
    ("{{html nil}}", Ok("&lt;no value&gt;")),
    (r#"{{print "" 1}}"#, Ok("1")),
    (r#"{{js "\u2028\u007f"}}"#, Ok("\\u2028\u{7f}")),
];
