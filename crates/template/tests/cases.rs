//! The table of cases through the library: each gives its golden, and injecting again changes nothing.
//!
//! The table is `testkit::cases`, which the command line's and the webhook's tests run as well; each case is `data/NAME.yaml`, what is expected of it
//! `data/NAME.injected.yaml`: the manifest with remarks above it, or why there is none.
//! Most run under `data/small.config`, so that a golden shows little but what the case is about.

use std::collections::BTreeSet;

use template::{Reason, Warning, decide::Code};
use testkit::cases::{self, End};

#[path = "cases/support.rs"]
mod support;

#[test]
fn every_case_gives_its_golden_and_injecting_again_changes_nothing() {
    let mut reports = Vec::new();
    for case in cases::all() {
        let seen = support::run(&case);
        let compared = testkit::golden::compare(&case.golden(), &seen.expected.to_string());
        reports.extend(compared.err());
        reports.extend(support::check_laws(&case, &seen).err());
    }
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

#[test]
fn every_reason_and_every_surprise_is_shown_by_a_case() {
    let mut shown = BTreeSet::new();
    for case in cases::all() {
        let expected = case.expected();
        shown.extend(expected.remarks.into_iter().map(|remark| remark.code));
        if let End::Skipped { code, .. } = expected.end {
            shown.insert(code);
        }
    }
    let reasons = Reason::all().map(|reason| reason.code());
    let warnings = Warning::all().map(|warning| warning.code());
    let surprises = Code::ALL.map(Code::as_str);
    let codes = reasons.iter().chain(&warnings).chain(&surprises);
    let missing: Vec<_> = codes.filter(|code| !shown.contains(**code)).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}
