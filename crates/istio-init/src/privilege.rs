//! The capability that the image's file gives, raised by the program itself.
//!
//! Called first by [`app`](crate::app). A file capability without the effective bit makes a program
//! permitted to have it, and still lets the program start where it is not to be had, as in the
//! container that only validates. Without any such capability nothing is changed.

use caps::{CapSet, Capability};
use nix::unistd::geteuid;

/// Makes NET_ADMIN effective for a user other than root who is permitted to have it.
///
/// What comes of it is seen when the rules are set: then an error names the capability.
pub fn raise() {
    if geteuid().is_root() {
        return;
    }
    let is_permitted = caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_ADMIN);
    if is_permitted.unwrap_or(false) {
        let _ = caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN);
    }
}
