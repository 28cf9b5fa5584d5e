//! Policies made of small configurations, read as text; what they do is tested on an API server.

use super::*;
use crate::{NativeSidecars, Options, Sources, Text};

/// A configuration whose template is `template`, indented for a pod's `spec`.
fn config(template: &str, extra: &str, options: Options) -> Config {
    let template = template.replace('\n', "\n    ");
    let config = format!("{extra}\ntemplates:\n  sidecar: |\n    {template}\n");
    let text = |name, text| Text { name, text };
    let sources = Sources {
        config: text("config", &config),
        values: text("values", "global: {hub: \"h\\\"+object+\\\"\"}"),
        mesh: text("mesh", "enablePrometheusMerge: false"),
    };
    Config::load(&sources, options).unwrap()
}

/// A template with a sidecar of which one variable is `value`.
fn with_variable(value: &str) -> String {
    format!(
        "spec:\n  containers:\n  - name: istio-proxy\n    env:\n    - name: V\n      value: {value}"
    )
}

fn compiled(template: &str) -> Result<Policy, PolicyError> {
    compile(
        &config(template, "policy: enabled", Options::default()),
        &Settings::default(),
    )
}

fn of_kind<'p>(policy: &'p Policy, kind: &str) -> &'p Value {
    let mut manifests = policy.manifests.iter();
    manifests.find(|object| object["kind"] == kind).unwrap()
}

/// The expression of the change, with variables put in.
fn mutation(policy: &Policy) -> String {
    let spec = &of_kind(policy, "MutatingAdmissionPolicy")["spec"];
    let mut text = spec["mutations"][0]["jsonPatch"]["expression"]
        .as_str()
        .unwrap()
        .to_owned();
    for variable in spec["variables"].as_array().unwrap().iter().rev() {
        let name = variable["name"].as_str().unwrap();
        if name.starts_with("shared") || name == "labels" || name == "annotations" {
            let value = format!("({})", variable["expression"].as_str().unwrap());
            let place = format!("variables.{name}");
            // A longer name may begin with this one.
            text = text.split(&place).reduce_with_ends(&place, &value);
        }
    }
    squeezed(&text)
}

/// Without spaces, which depend on the length of lines.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Joins pieces with `value` in place of `name`, unless a digit goes on with the name.
trait ReduceWithEnds {
    fn reduce_with_ends(self, name: &str, value: &str) -> String;
}

impl<'a, I: Iterator<Item = &'a str>> ReduceWithEnds for I {
    fn reduce_with_ends(mut self, name: &str, value: &str) -> String {
        let mut whole = self.next().unwrap_or_default().to_owned();
        for piece in self {
            let goes_on = piece.starts_with(|next: char| next.is_ascii_digit());
            whole += if goes_on { name } else { value };
            whole += piece;
        }
        whole
    }
}

#[track_caller]
fn check_variable(value: &str, expected: &str) {
    let policy = compiled(&with_variable(value)).unwrap();
    let mutation = mutation(&policy);
    let start = squeezed("env: [Object.spec.containers.env{name: \"V\", value: ");
    let start = mutation
        .find(&start)
        .map(|at| at + start.len())
        .unwrap_or_else(|| panic!("{mutation}"));
    assert!(
        mutation[start..].starts_with(&squeezed(expected)),
        "{}",
        &mutation[start..]
    );
}

#[test]
fn what_depends_on_the_pod_becomes_an_expression() {
    for (value, expected) in [
        (
            "{{ .Spec.ServiceAccountName | quote }}",
            "object.spec.?serviceAccountName.orValue(\"\")}",
        ),
        (
            "{{ with .Spec.TerminationGracePeriodSeconds }}{{ structToJSON . | quote }}{{ end }}",
            "string(object.spec.terminationGracePeriodSeconds)}",
        ),
        (
            "a-{{ .ObjectMeta.Name }}-{{ .ObjectMeta.Namespace }}",
            "\"a-\" + object.metadata.?name.orValue(\"\") + \"-\" + request.namespace}",
        ),
        (
            "{{ index .ObjectMeta.Annotations `a` | default `b` | quote }}",
            "(object.metadata.?annotations.orValue({})[?\"a\"].orValue(\"\")) != \"\" ?",
        ),
        (
            "{{ annotation .ObjectMeta `a` 7 | quote }}",
            "object.metadata.?annotations.orValue({})[?\"a\"].orValue(\"7\")}",
        ),
        (
            "{{ printf `%s/%v%%` (toLower .TypeMeta.Kind) 3 | quote }}",
            "variables.owner.kind.lowerAscii() + \"/3%\"}",
        ),
        (
            "{{ .ObjectMeta.Name | trimAll `-_.` | quote }}",
            "object.metadata.?name.orValue(\"\").find(\"(?s)[^\\\\-\\\\_\\\\.](.*[^\\\\-\\\\_\\\\.])?\")}",
        ),
        // A text of the configuration is never read as an expression.
        ("{{ .Values.global.hub | quote }}", "\"h\\\"+object+\\\"\"}"),
    ] {
        check_variable(value, expected);
    }
}

#[test]
fn a_loop_over_containers_becomes_a_comprehension() {
    let names = "{{ $l := list }}{{ range .Spec.Containers }}{{ if ne .Name `istio-proxy` }}{{ $l = append $l .Name }}{{ end }}{{ end }}";
    let template = |rest: &str| format!("{names}{}", with_variable(rest));
    let policy = compiled(&template("{{ join `,` $l | quote }}")).unwrap();
    let text = mutation(&policy);
    assert!(
        text.contains(&squeezed(
            "value: object.spec.containers.map(c, c.name).join(\",\")}"
        )),
        "{text}"
    );
    let policy = compiled(&template("{{ if $l }}{{ index $l 0 | quote }}{{ end }}")).unwrap();
    let text = mutation(&policy);
    assert!(
        text.contains(&squeezed(
            "value: object.spec.containers.map(c, c.name)[0]}"
        )),
        "{text}"
    );
    let ports = "{{ $p := list }}{{ range .Spec.Containers }}{{ range .Ports }}{{ $p = append $p (structToJSON .) }}{{ end }}{{ end }}";
    let template = format!("{ports}{}", with_variable("{{ join `,` $p | quote }}"));
    let text = mutation(&compiled(&template).unwrap());
    assert!(
        text.contains(&squeezed(".filter(s, s != \"\").join(\",\")}")),
        "{text}"
    );
}

#[test]
fn what_is_there_for_some_pods_only_has_a_condition() {
    let template = "metadata:\n  annotations:\n    {{ if not (isset .ObjectMeta.Annotations `mine`) }}mine: x{{ end }}\n    other: z\nspec:\n  containers:\n  - name: istio-proxy\n    args:\n    - first\n    {{ if index .ObjectMeta.Labels `app` }}\n    - second\n    {{ end }}\n    - third";
    let text = mutation(&compiled(template).unwrap());
    for part in [
        "\"mine\" in object.metadata.?annotations.orValue({}))",
        "[JSONPatch{op: \"add\", path: \"/metadata/annotations/mine\", value: \"x\"}] : [])",
        "[\"first\"] + (object.metadata.?labels.orValue({})[?\"app\"].orValue(\"\") != \"\" ? [\"second\"] : []) + [\"third\"]",
    ] {
        assert!(text.contains(&squeezed(part)), "{part}\n{text}");
    }
}

#[test]
fn an_annotation_of_which_cel_cannot_say_the_use_keeps_the_pod_out() {
    let policy = compiled(&with_variable(
        "{{ index .ObjectMeta.Annotations `odd` | b64enc | quote }}",
    ))
    .unwrap();
    let unsaid: Vec<String> = policy.unsaid.iter().map(ToString::to_string).collect();
    let expected = "annotations: not for a pod that has annotation odd: template sidecar, line 6: gives b64enc what depends on the pod";
    assert!(unsaid.contains(&expected.to_owned()), "{unsaid:#?}");
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        assert!(of_kind(&policy, kind).to_string().contains("odd"), "{kind}");
    }
}

#[test]
fn what_cel_cannot_say_for_any_pod_is_an_error_with_its_place() {
    for (value, expected) in [
        (
            "{{ .ObjectMeta.Name | b64enc }}",
            "template: sidecar:6:36: the action <b64enc> gives b64enc what depends on the pod",
        ),
        (
            "{{ toYaml .ObjectMeta.Labels }}",
            "template: sidecar:6:17: the action <toYaml .ObjectMeta.Labels> gives toYaml what depends on the pod",
        ),
        (
            "x{{ range .Spec.Containers }}{{ .Name }}{{ end }}",
            "prints something for each container",
        ),
        ("{{ .Spec.Volumes }}", "asks for Volumes of the pod"),
        (
            "{{ range .Spec.Containers }}{{ if eq .Name `a` }}{{ end }}{{ end }}",
            "depends on each container by itself",
        ),
    ] {
        let error = compiled(&with_variable(value)).unwrap_err().to_string();
        assert!(error.contains(expected), "{value}: {error}");
        assert!(error.contains("which CEL cannot say"), "{error}");
    }
    for (template, field) in [
        ("spec:\n  hostAliases: [{ip: 1.2.3.4}]", "spec.hostAliases"),
        (
            "spec:\n  containers: [{$patch: replace}]",
            "the directive $patch",
        ),
        ("metadata:\n  name: x", "metadata.name"),
    ] {
        let error = compiled(template).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn openshift_and_a_policy_without_meaning_are_refused() {
    let template = with_variable("x");
    let open_shift = Options {
        platform: Platform::OpenShift,
        ..Options::default()
    };
    let config_of = |extra, options| config(&template, extra, options);
    for (config, part) in [
        (config_of("policy: enabled", open_shift), "OpenShift"),
        (
            config_of("policy: sometimes", Options::default()),
            "nothing is ever injected",
        ),
    ] {
        let error = compile(&config, &Settings::default()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn too_many_cases_are_refused() {
    let questions: String = (0..10)
        .map(|label| format!("{{{{ if index .ObjectMeta.Labels `l{label}` }}}}{{{{ end }}}}"))
        .collect();
    let error = compiled(&format!("{questions}{}", with_variable("x"))).unwrap_err();
    assert!(matches!(error, PolicyError::Cases { .. }), "{error}");
}

/// Kubernetes' API server does not survive a variable that needs itself.
#[test]
fn each_variable_has_its_own_name_and_needs_earlier_ones_only() {
    let options = Options {
        native_sidecars: NativeSidecars::Always,
        ..Options::default()
    };
    let template = with_variable(
        "{{ index .ObjectMeta.Labels `a-long-label-of-the-pod` | default .DeploymentMeta.Name | trunc 63 | quote }}",
    );
    let values = "policy: enabled";
    let config = config(&template, values, options);
    let policy = compile(&config, &Settings::default()).unwrap();
    let spec = &of_kind(&policy, "MutatingAdmissionPolicy")["spec"];
    let variables = spec["variables"].as_array().unwrap();
    let names: Vec<&str> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    for (variable_idx, variable) in variables.iter().enumerate() {
        let (known, rest) = names.split_at(variable_idx);
        assert!(!known.contains(&rest[0]), "{names:?}");
        let value = variable["expression"].as_str().unwrap();
        for used in value.split("variables.").skip(1) {
            let end = used.find(|letter: char| !letter.is_ascii_alphanumeric());
            let used = &used[..end.unwrap_or(used.len())];
            assert!(known.contains(&used), "{used} in {}", rest[0]);
        }
    }
}

#[test]
fn the_rules_of_the_configuration_are_conditions() {
    let rules = "policy: disabled\nalwaysInjectSelector: [{matchLabels: {app: web}}]\nneverInjectSelector: [{matchExpressions: [{key: batch, operator: Exists}]}]";
    let config = config(&with_variable("x"), rules, Options::default());
    let policy = compile(&config, &Settings::default()).unwrap();
    for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
        let conditions = of_kind(&policy, kind)["spec"]["matchConditions"]
            .as_array()
            .unwrap();
        let wanted = conditions
            .iter()
            .find(|known| known["name"] == "wanted")
            .unwrap();
        let text = wanted["expression"].as_str().unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.ends_with("!(\"batch\" in object.metadata.?labels.orValue({})) && \"app\" in object.metadata.?labels.orValue({}) && object.metadata.?labels.orValue({})[\"app\"] in [\"web\"]"),
            "{text}"
        );
    }
}

#[test]
fn bindings_choose_as_the_webhook_does() {
    let names = |revision: &str, settings: Settings| -> Vec<String> {
        let options = Options {
            revision: revision.to_owned(),
            ..Options::default()
        };
        let config = config(&with_variable("x"), "policy: enabled", options);
        let policy = compile(&config, &settings).unwrap();
        policy
            .manifests
            .iter()
            .map(|object| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let kind = text(&object["kind"]).replace("AdmissionPolicy", "");
                format!(
                    "{kind} {} {}",
                    text(&object["metadata"]["name"]),
                    text(&object["apiVersion"]).rsplit_once('/').unwrap().1
                )
            })
            .collect()
    };
    let allowing = Settings {
        allows_unsupported: true,
        api_version: ApiVersion::V1,
        ..Settings::default()
    };
    assert_eq!(
        names("", allowing.clone()),
        [
            "Mutating istio-sidecar-injector v1",
            "MutatingBinding istio-sidecar-injector-rev-namespace v1",
            "MutatingBinding istio-sidecar-injector-rev-object v1",
            "MutatingBinding istio-sidecar-injector-namespace v1",
            "MutatingBinding istio-sidecar-injector-object v1",
        ]
    );
    let selected = Settings {
        selection: Selection::Namespaces("mesh".to_owned(), "policy".to_owned()),
        ..Settings::default()
    };
    assert_eq!(
        names("canary", selected),
        [
            "Mutating istio-sidecar-injector-canary v1beta1",
            "MutatingBinding istio-sidecar-injector-canary-selected v1beta1",
            "Validating istio-sidecar-injector-canary v1",
            "ValidatingBinding istio-sidecar-injector-canary-selected v1",
        ]
    );
    let unlabelled = Settings {
        selection: Selection::WebhookAndUnlabelled,
        ..allowing
    };
    assert_eq!(names("", unlabelled).len(), 6);
    let error = "v2".parse::<ApiVersion>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"v2\" is none of v1alpha1, v1beta1 and v1"
    );
}
