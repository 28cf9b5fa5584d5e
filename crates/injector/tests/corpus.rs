//! The corpora of the fuzz targets, replayed: what once broke a promise or shows a reader's corners is tried at every test.

use injector::webhook::review;
use testkit::corpus::replay;

#[expect(unreachable_pub, reason = "the fuzz targets reach them as a crate")]
#[path = "../../../fuzz/src/bodies.rs"]
mod bodies;

#[test]
fn reviews_are_answered_whole_and_pods_injected_once() {
    replay("review", bodies::review);
}

#[test]
fn templates_are_refused_or_bounded() {
    replay("template", bodies::template);
}

#[test]
fn merges_end_and_nothing_changes_nothing() {
    replay("merge", bodies::merge);
}

#[test]
fn yaml_reads_as_it_is_written() {
    replay("yaml", bodies::yaml);
}

#[test]
fn paths_give_named_variables() {
    replay("path", bodies::path);
}
