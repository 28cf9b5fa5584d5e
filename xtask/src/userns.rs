//! Rights to make network namespaces, found for who has none.
//!
//! Called by the commands that run pods; root has the rights, another user gets them in a user namespace where the machine
//! allows that. Such a namespace maps a range of ids, because the rules tell the proxy from the application by its user.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;

/// How network namespaces can be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// This process may.
    Own,
    /// A process in a user namespace may.
    UserNamespace,
    /// Nobody but root may.
    None,
}

/// Finds out by trying.
pub(crate) fn rights() -> Rights {
    if testkit::netns::Node::new().is_ok() {
        return Rights::Own;
    }
    let works = inside(Path::new("true"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if works {
        Rights::UserNamespace
    } else {
        Rights::None
    }
}

/// A command that runs `program` as root of a new user namespace with a range of ids.
pub(crate) fn inside(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--map-auto", "--"])
        .arg(program);
    command
}

/// Runs this program again inside a user namespace, with `args`.
pub(crate) fn again(args: &[&str]) -> anyhow::Result<()> {
    let this = env::current_exe().context("cannot find this program's own path")?;
    super::project::run(inside(&this).args(args))
}
