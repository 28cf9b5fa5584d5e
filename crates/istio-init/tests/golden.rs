//! Every case as text: for nft and for iptables-restore.

#[path = "shared/cases.rs"]
mod cases;

use std::path::Path;

use cases::{Case, capture};
use istio_init::{
    iptables, nft,
    plan::{Backend, Families, Plan},
    rules,
};

/// The differences of all cases together, so that one change is one look.
fn check(backend: Backend, extension: &str, render: impl Fn(&Plan) -> String) {
    let differences: Vec<String> = cases::CASES
        .iter()
        .filter_map(|case| {
            let plan = rules::plan(&case.capture(), case.families, backend);
            testkit::golden::compare(&Case::path(case.name, extension), &render(&plan)).err()
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn each_case_gives_its_nft_script() {
    check(Backend::Nftables, "nft", |plan| nft::render(plan, false));
}

#[test]
fn each_case_gives_its_iptables_restore_files() {
    check(Backend::Iptables, "iptables", iptables::render);
}

#[test]
fn there_is_no_golden_file_without_a_case() {
    let known: Vec<&str> = cases::CASES.iter().map(|case| case.name).collect();
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"))
        .expect("the folder is there");
    for file in files {
        let path = file.expect("the folder can be listed").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("names are ASCII");
        assert!(
            known.contains(&name),
            "{} belongs to no case",
            path.display()
        );
    }
}

/// The page explains each rule; of those that come once for each family or owner, one.
#[test]
fn the_reference_page_has_each_rule_of_an_injected_pod() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/interception.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    for (flags, twins) in [
        (cases::INJECTED, &[][..]),
        (cases::TPROXY, &["ip6 ", "skgid"]),
    ] {
        let plan = rules::plan(&capture(flags, &[]), Families::V4AndV6, Backend::Nftables);
        for text in plan.rules.iter().map(nft::rule_text) {
            let is_twin = twins.iter().any(|twin| text.contains(twin));
            assert!(is_twin || page.contains(&format!("`{text}`")), "{text}");
        }
    }
}

/// Long lists must not cost packets anything, nor make the rules unreadable.
#[test]
fn the_number_of_rules_does_not_grow_with_a_list() {
    let n_rules = |flags: &str| {
        rules::plan(&capture(flags, &[]), Families::V4AndV6, Backend::Nftables)
            .rules
            .len()
    };
    let list = |count: u32, item: &dyn Fn(u32) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(",")
    };
    let flags = |count| {
        let ports = list(count, &|i| (1000 + 2 * i).to_string());
        let networks = list(count, &|i| {
            format!("10.{}.{}.0/24,fd00:{i:x}::/32", i / 100, i % 100)
        });
        let names = list(count, &|i| format!("eth{i}"));
        format!(
            "-i {networks} -x {networks} -b {ports} -q {ports} -o {ports} -c {names} -k {names} -u {ports} -g {ports}"
        )
    };
    assert_eq!(n_rules(&flags(2)), n_rules(&flags(500)));
}
