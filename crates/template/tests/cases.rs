//! The table of cases through the library: each gives its golden, and injecting again changes nothing.
//!
//! The table is `testkit::cases`, which the command line's and the webhook's tests run as well; each case is `data/NAME.yaml`, what is expected of it
//! `data/NAME.injected.yaml`: the manifest with remarks above it, or why there is none.
//! Most run under `data/small.config`, so that a golden shows little but what the case is about.

use testkit::cases;

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
