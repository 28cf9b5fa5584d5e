//! The corpora of the fuzz targets, replayed: what once broke a promise or shows a reader's corners is
//! tried at every test.

use testkit::corpus::replay;

#[expect(unreachable_pub, reason = "the fuzz targets reach them as a crate")]
#[path = "../../../fuzz/src/interception.rs"]
mod interception;

#[test]
fn flags_are_refused_by_name_or_mean_the_same_to_both_back_ends() {
    replay("flags", interception::flags);
}

#[test]
fn answers_of_the_kernel_are_read_to_an_end() {
    replay("netlink", interception::netlink);
}
