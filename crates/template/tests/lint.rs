//! What lint finds, case by case: every code, with its place, and nothing in what is right.

use std::{collections::BTreeSet, fs, path::Path};

use template::{
    Config, Options, Sources, Text,
    lint::{Code, Finding, Severity, lint},
};

/// Code, line and column in the text, and a part of the message.
type Expected = (&'static str, (usize, usize), &'static str);

struct Case {
    name: &'static str,
    config: &'static str,
    values: &'static str,
    mesh: &'static str,
    expected: &'static [Expected],
}

const PLAIN: Case = Case {
    name: "",
    config: "templates:\n  sidecar: |\n    spec: {dnsPolicy: Default}\n",
    values: "",
    mesh: "",
    expected: &[],
};

const CASES: &[Case] = &[
    Case {
        name: "nothing wrong",
        ..PLAIN
    },
    Case {
        name: "a bare template",
        config: "spec:\n  dnsPolicy: {{ .Spec.DNSPolicyy }}\n",
        expected: &[(
            "unknown-field",
            (2, 17),
            "PodSpec has no field \"DNSPolicyy\"; did you mean \"DNSPolicy\"?",
        )],
        ..PLAIN
    },
    Case {
        name: "no YAML in the configuration",
        config: "policy: enabled\ntemplates: {a: [}\n",
        expected: &[("not-yaml", (2, 17), "")],
        ..PLAIN
    },
    Case {
        name: "no YAML in the values",
        values: "global:\n  a: 1\n  a: 2\n",
        expected: &[("not-yaml", (3, 3), "duplicate key \"a\"")],
        ..PLAIN
    },
    Case {
        name: "a key of the wrong type",
        config: "policy: enabled\ntemplates: text\n",
        expected: &[("wrong-type", (2, 1), "templates must be a map of templates")],
        ..PLAIN
    },
    Case {
        name: "no template",
        config: "policy: enabled\n",
        expected: &[("no-templates", (1, 1), "")],
        ..PLAIN
    },
    Case {
        name: "a default that is not there",
        config: "defaultTemplates: [sidecr]\ntemplates:\n  sidecar: |\n    spec: {}\n",
        expected: &[(
            "unknown-template",
            (1, 1),
            "names template \"sidecr\", which is not there; there is sidecar",
        )],
        ..PLAIN
    },
    Case {
        name: "an alias to nothing",
        config: "aliases:\n  web: [siedcar]\ntemplates:\n  sidecar: |\n    spec: {}\n",
        expected: &[("unknown-template", (1, 1), "siedcar")],
        ..PLAIN
    },
    Case {
        name: "no default and no sidecar",
        config: "templates:\n  own: |\n    spec: {}\n",
        expected: &[
            ("unknown-template", (1, 1), "no template \"sidecar\""),
            ("on-demand-template", (2, 3), "own"),
        ],
        ..PLAIN
    },
    Case {
        name: "selectors",
        config: "neverInjectSelector:\n- matchExpressions: [{key: a, operator: Is}]\ntemplates:\n  sidecar: |\n    spec: {}\n",
        expected: &[("bad-selector", (2, 3), "operator Is of label a is unknown")],
        ..PLAIN
    },
    Case {
        name: "selectors that match nothing",
        config: "neverInjectSelector:\n- {}\n- matchLabels: {a: b}\n  matchExpressions: [{key: a, operator: NotIn, values: [b]}]\n- matchLabels: {a: b}\ntemplates:\n  sidecar: |\n    spec: {}\n",
        expected: &[
            ("selector-never-matches", (2, 3), "no requirements"),
            (
                "selector-never-matches",
                (3, 3),
                "label a exclude each other",
            ),
        ],
        ..PLAIN
    },
    Case {
        name: "the mesh's ProxyConfig",
        mesh: "trustDomain: a\ndefaultConfig:\n  statusPort: many\n",
        expected: &[("bad-proxy-config", (2, 1), "statusPort")],
        ..PLAIN
    },
    Case {
        name: "all faults of all templates at once",
        config: "templates:\n  a: |\n    x: {{ unheard 1 }}\n  b: |\n    x: {{ $y }}\n  c: |\n    x: {{ template \"z\" }}\n  d: |\n    x: {{ len 1 2 }}\n  e: '{{ if }}'\n",
        expected: &[
            ("unknown-function", (3, 11), "\"unheard\""),
            ("undefined-variable", (5, 11), "\"$y\""),
            ("undefined-definition", (7, 20), "\"z\""),
            ("wrong-arguments", (9, 11), "len: want 1 got 2"),
            ("template-syntax", (10, 12), "missing value for if"),
        ],
        ..PLAIN
    },
    Case {
        name: "fields that there are not",
        config: "templates:\n  sidecar: |\n    metadata:\n      labels:\n        a: {{ .ObjectMeta.Nmae | quote }}\n        b: {{ .ProxyConfig.StatusPrt | quote }}\n        {{- range .Spec.Containers }}\n        {{- if .Imgae }}\n        {{- end }}\n        {{- end }}\n        c: {{ .Revisoin | quote }}\n",
        expected: &[
            ("unknown-field", (5, 15), "ObjectMeta has no field \"Nmae\""),
            ("unknown-field", (6, 15), "did you mean \"StatusPort\"?"),
            ("unknown-field", (8, 16), "Container has no field \"Imgae\""),
            ("unknown-field", (11, 15), "did you mean \"Revision\"?"),
        ],
        ..PLAIN
    },
    Case {
        name: "clashes of types",
        config: "templates:\n  sidecar: |\n    {{- if eq .Values.switch true }}{{ end }}\n    {{- range .Values.number }}{{ end }}\n    {{- if eq .ObjectMeta.Name 1 }}{{ end }}\n    {{- .Values.switch.inner }}\n    {{- index .NativeSidecars 1 }}\n    {{- range .ProxyImage }}{{ end }}\n",
        values: "switch: \"true\"\nnumber: 3\n",
        expected: &[
            ("type-clash", (3, 12), "eq: incompatible types"),
            (
                "type-clash",
                (4, 15),
                "range can't iterate over a value of type float64",
            ),
            ("type-clash", (5, 12), "eq: incompatible types"),
            (
                "type-clash",
                (6, 9),
                "can't evaluate field inner in type string",
            ),
            ("type-clash", (7, 9), "index"),
            (
                "type-clash",
                (8, 15),
                "range can't iterate over a value of type string",
            ),
        ],
        ..PLAIN
    },
    Case {
        name: "what the values rule out is no problem",
        config: "templates:\n  sidecar: |\n    {{- if .Values.down }}{{ .Spec.Nothing }}{{ else if .Values.up }}{{ else }}{{ index 1 2 }}{{ end }}\n    {{- $x := .Values.down }}{{ range .Values.none }}{{ .Foo | len }}{{ end }}\n    {{- and .Values.down (len 1) }}{{ or .Values.up (len 1) }}\n",
        values: "{down: false, up: true, none: []}",
        expected: &[("rendered-no-pod", (2, 3), "")],
        ..PLAIN
    },
    Case {
        name: "values that are not there",
        config: "templates:\n  sidecar: |\n    metadata:\n      labels:\n        a: {{ .Values.global.hub }}\n        b: {{ .Values.global.imageTagg | default \"x\" }}\n        c: {{ .Values.global.nothing | default \"x\" }}\n",
        values: "global: {imageTag: a}",
        expected: &[
            ("missing-value", (5, 15), "the values have no global.hub"),
            ("missing-value", (6, 15), "did you mean \"imageTag\"?"),
        ],
        ..PLAIN
    },
    Case {
        name: "a text in place of a boolean",
        config: "templates:\n  sidecar: |\n    {{- if .Values.native }}{{ end }}\n    spec: {}\n",
        values: "native: \"false\"\n",
        expected: &[(
            "text-as-boolean",
            (3, 12),
            "native is the text \"false\", which counts as true",
        )],
        ..PLAIN
    },
    Case {
        name: "templates beside the default one",
        config: "templates:\n  sidecar: |\n    spec: {}\n  extra: |\n    spec: {}\n  gate: |\n    spec: {nodeName: {{ .GatewayClass }}}\n",
        expected: &[
            ("on-demand-template", (4, 3), "extra"),
            ("gateway-template", (6, 3), "gate"),
        ],
        ..PLAIN
    },
    Case {
        name: "settings",
        config: "policy: enabeld\nneverInjectSelectors: []\ninjectedAnnotations: {\"a b\": c, example.org/ok: d}\ntemplates:\n  sidecar: |\n    spec: {}\n",
        expected: &[
            ("unknown-policy", (1, 1), "enabeld"),
            (
                "unknown-key",
                (2, 1),
                "did you mean \"neverInjectSelector\"?",
            ),
            ("bad-annotation-key", (3, 23), "\"a b\""),
        ],
        ..PLAIN
    },
    Case {
        name: "values that nothing reads",
        config: "templates:\n  sidecar: |\n    {{- if .Values.global.proxy.privileged }}{{ end }}\n    {{- with .Values.global.proxy.resources }}{{ end }}\n    spec: {}\n",
        values: "global:\n  own: 1\n  proxy:\n    privileged: true\n    priviledged: true\n    resources:\n      limits: {}\n    lifecycle: {}\n",
        expected: &[
            (
                "unread-value",
                (5, 5),
                "no template reads global.proxy.priviledged; did you mean \"privileged\"?",
            ),
            (
                "unread-value",
                (8, 5),
                "no template reads global.proxy.lifecycle",
            ),
        ],
        ..PLAIN
    },
    Case {
        name: "two status ports",
        values: "global: {proxy: {statusPort: 15020}}",
        mesh: "defaultConfig: {statusPort: 15099}",
        expected: &[("ports-disagree", (1, 18), "15020")],
        ..PLAIN
    },
    Case {
        name: "a template that fails for a pod",
        config: "templates:\n  sidecar: |\n    spec: {dnsPolicy: {{ index (splitList \",\" .ObjectMeta.Name) 7 }}}\n",
        expected: &[("fails", (3, 26), "fails for a plain pod")],
        ..PLAIN
    },
    Case {
        name: "a template that refuses on purpose",
        config: "templates:\n  sidecar: |\n    {{ fail \"no\" }}\n",
        ..PLAIN
    },
    Case {
        name: "a result that is not YAML",
        config: "templates:\n  sidecar: |\n    spec: {dnsPolicy: {{ \"[\" }}\n",
        expected: &[("rendered-not-yaml", (2, 3), "")],
        ..PLAIN
    },
    Case {
        name: "a result that is no pod",
        config: "templates:\n  sidecar: |\n    spec: {containers: 7}\n",
        expected: &[("rendered-no-pod", (2, 3), "containers")],
        ..PLAIN
    },
    Case {
        name: "fields that pods do not have",
        config: "templates:\n  sidecar: |\n    spec:\n      dnsPolcy: Default\n      containers: [{name: istio-proxy, image: a, volumeMount: []}]\n",
        expected: &[
            (
                "unknown-pod-field",
                (2, 3),
                "spec.containers[istio-proxy].volumeMount is no field of a Container",
            ),
            (
                "unknown-pod-field",
                (2, 3),
                "spec.dnsPolcy is no field of a PodSpec; did you mean \"dnsPolicy\"?",
            ),
        ],
        ..PLAIN
    },
    Case {
        name: "a pod that the API server refuses",
        config: "templates:\n  sidecar: |\n    spec:\n      containers: [{name: istio-proxy, args: [1], image: a, volumeMounts: [{name: v, mountPath: /v}]}]\n",
        expected: &[
            ("would-be-refused", (2, 3), "mounts volume \"v\""),
            ("would-be-refused", (2, 3), "args[0] must be a string"),
        ],
        ..PLAIN
    },
    Case {
        name: "a template that sees its own work",
        config: "templates:\n  sidecar: |\n    metadata: {annotations: {example.org/n: \"{{ index .ObjectMeta.Annotations `example.org/n` }}x\"}}\n",
        expected: &[("not-idempotent", (2, 3), "metadata.annotations")],
        ..PLAIN
    },
    Case {
        name: "the first format may read what was there in its days",
        config: "policy: enabled\ntemplate: |\n  containers: [{name: istio-proxy, image: a, workingDir: \"[[ .ProxyConfig.ConnectTimeout ]]\"}]\n",
        expected: &[("unknown-field", (3, 62), "ConnectTimeout")],
        ..PLAIN
    },
];

fn sources<'a>(config: &'a str, values: &'a str, mesh: &'a str) -> Sources<'a> {
    let text = |name, text| Text { name, text };
    Sources {
        config: text("config", config),
        values: text("values", values),
        mesh: text("mesh", mesh),
    }
}

fn check(case: &Case) -> Vec<Finding> {
    lint(
        &sources(case.config, case.values, case.mesh),
        &Options::default(),
    )
}

#[test]
fn each_case_has_its_findings_and_no_others() {
    let mut wrong = Vec::new();
    for case in CASES {
        let findings = check(case);
        let shown: Vec<_> = findings
            .iter()
            .map(|finding| {
                let place = finding.place.as_ref();
                let place = place.map_or((0, 0), |place| (place.line, place.column));
                (finding.code.as_str(), place, finding.message.as_str())
            })
            .collect();
        let fits = shown.len() == case.expected.len()
            && shown.iter().zip(case.expected).all(|(found, expected)| {
                found.0 == expected.0 && found.1 == expected.1 && found.2.contains(expected.2)
            });
        if !fits {
            wrong.push(format!("{}: {shown:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_is_found_in_some_case() {
    let found: BTreeSet<_> = CASES
        .iter()
        .flat_map(check)
        .map(|finding| finding.code)
        .collect();
    let missing: Vec<_> = Code::all().filter(|code| !found.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_same_texts_always_give_the_same_findings() {
    for case in CASES {
        assert_eq!(check(case), check(case), "{}", case.name);
    }
}

#[test]
fn what_is_certain_to_fail_is_not_loaded() {
    let load = |config: &str, values: &str| {
        let config = format!("templates:\n  sidecar: |\n    spec: {{}}\n    {config}\n");
        Config::load(&sources(&config, values, ""), Options::default())
            .map(drop)
            .map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                format!("{error}: {}", cause.unwrap_or_default())
            })
    };
    for (config, part) in [
        (
            "{{ .Nothing }}",
            "config: templates.sidecar cannot work: template: sidecar:2:4: executing \"sidecar\" at <.Nothing>: can't evaluate field Nothing in type SidecarTemplateData",
        ),
        (
            "{{ if .Spec.HostNetwork }}{{ .Spec.Contianers }}{{ end }}",
            "did you mean .Containers?",
        ),
        (
            "{{ eq .Revision true }}",
            "incompatible types for comparison",
        ),
        (
            "{{ define \"a\" }}{{ .x }}{{ end }}{{ template \"a\" .Values.number }}",
            "executing \"a\" at <.x>",
        ),
    ] {
        let error = load(config, "number: 1").unwrap_err();
        assert!(error.contains(part), "{config}: {error}");
    }
    for config in [
        // It may never come to it.
        "{{ if .Spec.HostNetwork }}{{ eq .Revision true }}{{ end }}",
        "{{ if .Spec.HostNetwork }}{{ index .Values.list 3 }}{{ end }}",
        "{{ if .Values.off }}{{ .Nothing }}{{ end }}",
        "{{ fail \"not here\" }}",
        "{{ range .Spec.Containers }}{{ range .Ports }}{{ .ContainerPort }}{{ end }}{{ end }}",
        "{{ .ProxyConfig.GetTracing.GetTlsSettings.GetMode.String }}",
        "{{ .MeshConfig.GetEnableAutoMtls.GetValue }}{{ .MeshConfig.DefaultConfig.Image.ImageType }}",
        "{{ $x := dict `a` (list 1 2) }}{{ index $x `a` 1 }}{{ (fromJSON `{\"a\": {\"b\": 1}}`).a.b }}",
        "{{ with .Spec.SecurityContext }}{{ .RunAsUser | default 1 | toString }}{{ end }}",
        "{{ $n := 0 }}{{ range .Spec.Containers }}{{ $n = add $n 1 }}{{ end }}{{ if eq $n 1 }}{{ end }}",
        "{{ $n := `` }}{{ range .Spec.Containers }}{{ $n = 1 }}{{ end }}{{ if eq $n 1 }}{{ end }}",
    ] {
        assert_eq!(load(config, "list: [1]"), Ok(()), "{config}");
    }
}

#[test]
fn the_shipped_configuration_is_clean() {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    let read = |path: &str| fs::read_to_string(chart.join(path)).unwrap();
    let (config, values, mesh) = (
        read("files/config"),
        read("values.yaml"),
        read("files/mesh"),
    );
    let findings = lint(&sources(&config, &values, &mesh), &Options::default());
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity == Severity::Note),
        "{findings:#?}"
    );
}
