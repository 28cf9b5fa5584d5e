//! Cases of the decision whether to inject.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    [of_the_pod(), of_the_configuration()].concat()
}

/// What the pod is and asks for.
fn of_the_pod() -> Vec<Case> {
    let case = |name| Case::new("small", name);
    // The policy is `disabled`, so the wish is what counts.
    let wish = |name| Case::new("selective", name);
    vec![
        case("host-network"),
        case("host-network-asked"),
        case("windows"),
        case("windows-os"),
        case("mirror-pod"),
        case("protected-namespace").namespace("kube-system"),
        case("namespace-kube-public").namespace("kube-public"),
        case("namespace-kube-node-lease").namespace("kube-node-lease"),
        case("namespace-local-path-storage").namespace("local-path-storage"),
        wish("label-true"),
        wish("annotation-true"),
        case("label-false"),
        case("annotation-false"),
        case("label-beats-annotation"),
        case("label-empty"),
        wish("label-capital"),
        wish("label-false-always"),
        case("inject-junk"),
        case("annotation-odd"),
        case("namespace-label"),
    ]
}

/// Policy and selectors.
fn of_the_configuration() -> Vec<Case> {
    let selective = |name| Case::new("selective", name);
    let expressions = |name| Case::new("expressions", name);
    vec![
        selective("selector-never"),
        selective("selector-always"),
        selective("selector-none"),
        selective("selector-never-but-asked"),
        expressions("selector-in"),
        expressions("selector-not-in"),
        expressions("selector-does-not-exist"),
        expressions("selector-no-match"),
        selective("selector-empty"),
        Case::new("policy-odd", "policy-unknown"),
    ]
}
