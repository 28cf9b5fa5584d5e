use serde_json::json;

use super::*;

const V1: &str = "admission.k8s.io/v1";
const V1BETA1: &str = "admission.k8s.io/v1beta1";

fn review(request: &Value) -> Value {
    json!({"apiVersion": V1, "kind": KIND, "request": request})
}

fn decode_value(review: &Value) -> Result<Admission, Box<Answer>> {
    decode(review.to_string().as_bytes())
}

fn refusal(bytes: &[u8]) -> (Envelope, String) {
    let answer = decode(bytes).expect_err("the review must be refused");
    match answer.verdict {
        Verdict::Deny(denial) => {
            assert_eq!(denial.blame, Blame::Review);
            let mut envelope = answer.envelope;
            envelope.subject.clear();
            (envelope, denial.message)
        }
        other => panic!("{other:?}"),
    }
}

fn envelope(api_version: &'static str, uid: &str) -> Envelope {
    Envelope {
        api_version,
        uid: uid.to_owned(),
        subject: String::new(),
    }
}

#[test]
fn a_review_of_a_pod_is_read_in_both_versions() {
    for version in [V1, V1BETA1] {
        let admission = decode_value(&json!({
            "apiVersion": version,
            "kind": KIND,
            "request": {
                "uid": "u-1",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "operation": "CREATE",
                "namespace": "shop",
                "dryRun": true,
                "userInfo": {"username": "me"},
                "object": {"kind": "Pod", "metadata": {"generateName": "web-"}, "futureField": [1.50, "x"]},
            },
        }))
        .unwrap();
        assert_eq!(admission.envelope.api_version, version);
        assert_eq!(admission.envelope.uid(), "u-1");
        assert_eq!(admission.envelope.subject(), "shop/web-");
        assert_eq!(admission.namespace, "shop");
        assert_eq!(admission.pod["futureField"], json!([1.5, "x"]));
    }
}

#[test]
fn kinds_may_be_left_out_but_not_be_wrong() {
    assert!(decode_value(&review(&json!({"uid": "u", "object": {}}))).is_ok());
    for request in [
        json!({"uid": "u", "object": {"kind": "Deployment"}}),
        json!({"uid": "u", "kind": {"kind": "Deployment"}, "object": {}}),
    ] {
        let (_, message) = refusal(review(&request).to_string().as_bytes());
        assert!(message.contains("not a Pod"), "{message}");
    }
}

#[track_caller]
fn check_refusals(table: &[(String, Envelope, &str)]) {
    for (bytes, expected, text) in table {
        let (found, message) = refusal(bytes.as_bytes());
        let bytes = bytes.get(..120).unwrap_or(bytes);
        assert_eq!(found, *expected, "{bytes}");
        assert!(message.contains(text), "{bytes}: {message}");
    }
}

#[test]
fn reviews_that_ask_nothing_are_refused() {
    let uid = || envelope(V1, "u");
    let request = |request: Value| review(&request).to_string();
    let of_kind = |version: &str, kind: &str| {
        json!({"apiVersion": version, "kind": kind, "request": {"uid": "u"}}).to_string()
    };
    check_refusals(&[
        ("{}".to_owned(), envelope(V1, ""), "kind is ``"),
        (
            json!({"kind": KIND}).to_string(),
            envelope(V1, ""),
            "apiVersion is ``",
        ),
        (
            json!({"apiVersion": V1BETA1, "kind": KIND}).to_string(),
            envelope(V1BETA1, ""),
            "no request",
        ),
        (request(Value::Null), envelope(V1, ""), "no request"),
        (request(json!({"object": {}})), envelope(V1, ""), "no uid"),
        (request(json!({"uid": "u"})), uid(), "no object"),
        (
            request(json!({"uid": "u", "object": null})),
            uid(),
            "no object",
        ),
        (
            request(json!({"uid": "u", "object": "pod"})),
            uid(),
            "not a JSON object",
        ),
        (
            of_kind("admission.k8s.io/v9", KIND),
            uid(),
            "send one of admission.k8s.io/v1, admission.k8s.io/v1beta1",
        ),
        (of_kind(V1, "Pod"), uid(), "kind is `Pod`"),
    ]);
}

#[test]
fn broken_reviews_are_refused_with_what_can_be_recovered() {
    let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
    let nobody = || envelope(V1, "");
    check_refusals(&[
        ("nonsense".to_owned(), nobody(), "cannot be decoded"),
        ("{".to_owned(), nobody(), "cannot be decoded"),
        ("[]".to_owned(), nobody(), "cannot be decoded"),
        ("null".to_owned(), nobody(), "cannot be decoded"),
        (
            review(&json!([])).to_string(),
            nobody(),
            "cannot be decoded",
        ),
        (
            review(&json!({"uid": "u", "namespace": 7, "object": {}})).to_string(),
            envelope(V1, "u"),
            "line 1 column",
        ),
        (
            format!(r#"{{"apiVersion":"{V1BETA1}","request":{{"object":{{}},"uid":"u","x":"#),
            envelope(V1BETA1, "u"),
            "cannot be decoded",
        ),
        (
            format!(
                r#"{{"request":{{"object":{open}{close},"uid":"u"}},"apiVersion":"{V1BETA1}"}}"#
            ),
            envelope(V1BETA1, "u"),
            "recursion limit",
        ),
        (
            format!(r#"{{"apiVersion":"{V1}","request":{{"uid":"u","object":{open}"#),
            envelope(V1, "u"),
            "recursion limit",
        ),
    ]);
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    let (found, _) = refusal(b"{\"apiVersion\":\"admission.k8s.io/v1beta1\",\"x\":\"\xff\"}");
    assert_eq!(found, envelope(V1BETA1, ""));
}

#[test]
fn what_is_no_creation_of_a_pod_passes() {
    let table = [
        (
            json!({"uid": "u", "operation": "UPDATE", "object": {}}),
            "not-created",
        ),
        (
            json!({"uid": "u", "operation": "DELETE", "object": null}),
            "not-created",
        ),
        (
            json!({"uid": "u", "operation": "CREATE", "subResource": "eviction", "object": {}}),
            "subresource",
        ),
    ];
    for (request, reason) in table {
        let answer = decode_value(&review(&request)).expect_err("nothing to inject");
        assert_eq!(answer.verdict, Verdict::Pass(reason));
    }
}

#[test]
fn warnings_are_as_short_and_as_few_as_the_api_server_passes_on() {
    let warnings = |texts: Vec<String>| {
        let answer = Answer {
            envelope: envelope(V1BETA1, "u"),
            verdict: Verdict::Pass("policy-disabled"),
            warnings: texts,
        };
        let review: Value = serde_json::from_slice(&answer.to_json()).unwrap();
        serde_json::from_value::<Vec<String>>(review["response"]["warnings"].clone()).unwrap()
    };
    for letter in ["x", "ä", "\u{1F980}", "x\n"] {
        let long = warnings(vec![letter.repeat(1000)]).remove(0);
        assert!(long.len() <= 256 && long.ends_with('…'), "{long}");
        assert!(
            long.len() > 240 && !long.contains(char::is_control),
            "{long}"
        );
    }
    let exact = "x".repeat(256);
    assert_eq!(warnings(vec![exact.clone()]), [exact]);
    let many = warnings(vec!["x".to_owned(); 40]);
    assert_eq!((many.len(), many[15].split(' ').next()), (16, Some("25")));
    assert_eq!(warnings(vec!["x".to_owned(); 16]), vec!["x"; 16]);
}

#[test]
fn answers_are_whole_reviews() {
    let answer = |verdict, warnings| Answer {
        envelope: envelope(V1BETA1, "u"),
        verdict,
        warnings,
    };
    let table = [
        (
            answer(Verdict::Patch(b"[]".to_vec()), Vec::new()),
            json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}),
        ),
        (
            answer(
                Verdict::Pass("policy-disabled"),
                vec!["two\nlines".to_owned()],
            ),
            json!({"uid": "u", "allowed": true, "warnings": ["two lines"]}),
        ),
        (
            answer(
                Verdict::Deny(Denial {
                    blame: Blame::Object,
                    message: "no".to_owned(),
                }),
                Vec::new(),
            ),
            json!({
                "uid": "u",
                "allowed": false,
                "status": {"status": "Failure", "message": "no", "reason": "Invalid", "code": 422},
            }),
        ),
    ];
    for (answer, response) in table {
        assert_eq!(
            serde_json::from_slice::<Value>(&answer.to_json()).unwrap(),
            json!({"apiVersion": V1BETA1, "kind": KIND, "response": response})
        );
    }
}
