use std::collections::BTreeSet;

use super::*;

#[test]
fn every_file_belongs_to_a_case_and_every_case_has_its_files() {
    let cases = all();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for case in &cases {
        named.extend([case.file(), format!("{}.injected.yaml", case.name)]);
        if !case.config.is_empty() {
            named.insert(format!("{}.config", case.config));
        }
    }
    let present: BTreeSet<String> = fs::read_dir(data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(named, present);
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name is there twice");
}

#[test]
fn a_golden_reads_as_it_is_written() {
    for case in all() {
        let written = text(&case.golden());
        assert_eq!(
            Expected::parse(&written).to_string(),
            written,
            "{}",
            case.name
        );
    }
}

#[test]
fn overlays_go_map_by_map() {
    let base = json!({"a": {"b": 1, "c": [1]}, "d": 1});
    let overlay = json!({"a": {"c": [2], "e": {}}});
    let expected = json!({"a": {"b": 1, "c": [2], "e": {}}, "d": 1});
    assert_eq!(overlaid(base, overlay), expected);
}

#[test]
fn the_page_of_cases_names_every_case_and_no_other() {
    let page = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cases.md"));
    let mut named = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cases = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        if cases == "cases" {
            continue;
        }
        let names: Vec<_> = cases.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing shows this: {row}");
        named.extend(names);
    }
    let cases = all();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(named, names);
}
