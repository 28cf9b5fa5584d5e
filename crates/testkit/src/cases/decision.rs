//! Cases of the decision whether to inject.

use super::Case;

pub(super) fn cases() -> Vec<Case> {
    let case = |name| Case::new("small", name);
    let selective = |name| Case::new("selective", name);
    vec![
        case("host-network"),
        case("windows"),
        case("protected-namespace").namespace("kube-system"),
        case("label-false"),
        case("annotation-false"),
        case("label-beats-annotation"),
        case("inject-junk"),
        selective("selector-never"),
        selective("selector-always"),
        selective("selector-none"),
        selective("selector-never-but-asked"),
        Case::new("policy-odd", "policy-unknown"),
    ]
}
