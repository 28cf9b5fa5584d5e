//! Names of users and groups, from the image's own `/etc/passwd` and `/etc/group`.
//!
//! Called by [`args`](crate::args) for an owner that is not a number. The files are read without
//! libc's name service, which a static program cannot load and which may ask the network; lines
//! that make no sense are passed over, as everybody does.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Finds the number of a user or a group by its name.
pub trait Accounts {
    /// The user's number, or nothing if there is no such user.
    fn user(&self, name: &str) -> Option<u32>;
    /// The group's number, or nothing if there is no such group.
    fn group(&self, name: &str) -> Option<u32>;
}

/// The accounts of the file system that the program runs in.
#[derive(Clone, Copy, Debug)]
pub struct SystemAccounts;

/// More than this of a file is not read: ten thousand users and more.
const FILE_LIMIT: u64 = 1 << 20;

// === impl SystemAccounts ===

impl Accounts for SystemAccounts {
    fn user(&self, name: &str) -> Option<u32> {
        find(&read(Path::new("/etc/passwd")).ok()?, name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        find(&read(Path::new("/etc/group")).ok()?, name)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Both files have the name in the first field and the number in the third: `name:x:1337:…`, see
/// passwd(5) and group(5). The highest number means "nobody" to the kernel and is nobody's.
fn find(file: &str, name: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
            .filter(|number| *number != u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_name_and_odd_lines_are_passed_over() {
        let file = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nshort:x\nword:x:many:1\nhigh:x:4294967295:1\nistio-proxy:x:1337:1337::/:\n";
        assert_eq!(find(file, "istio-proxy"), Some(1337));
        assert_eq!(find(file, "root"), Some(0));
        for name in ["", "broken", "short", "word", "high", "istio", "x"] {
            assert_eq!(find(file, name), None, "{name:?}");
        }
    }
}
