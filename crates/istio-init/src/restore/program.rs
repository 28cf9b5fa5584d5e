//! The programs `iptables-save` and `iptables-restore`: which there are, and running them.
//!
//! Called by [`restore`](super). Programs are looked for in the folders of `PATH`, run without a
//! shell, and never asked to try something out.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::saved::{Tables, Unreadable};
use crate::plan::Family;

/// Which of the kernel's interfaces a program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The one of iptables' own, `ip_tables`; needs NET_RAW besides NET_ADMIN.
    Legacy,
    /// nf_tables.
    Nft,
}

/// The programs of one family and variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    /// What they are for.
    pub(super) variant: Variant,
    save: PathBuf,
    restore: PathBuf,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It does not run.
    #[error("cannot run {}", program.display())]
    Start {
        /// Which one.
        program: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It says that it failed.
    #[error("{} ended with {}: {said}", program.display(), reason(*code))]
    Failed {
        /// Which one.
        program: PathBuf,
        /// Its exit code, if it was not killed.
        code: Option<i32>,
        /// What it wrote to standard error.
        said: String,
    },
    /// It prints something else than rules.
    #[error("{} does not print rules", program.display())]
    Unreadable {
        /// Which one.
        program: PathBuf,
        /// Where it stops making sense.
        source: Unreadable,
    },
}

/// Where to look if nobody says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Another program may be changing rules of the node's; Istio waits as long.
const LOCK_WAIT: &str = "--wait=30";
/// More of what a program says is not shown.
const SAID: usize = 500;

// === impl Programs ===

impl Programs {
    /// All that there are for a family, those that name their variant first.
    pub(super) fn find(family: Family, path: Option<&OsStr>) -> Vec<Self> {
        let stem = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
        let pair = |infix: &str| {
            let find = |what: &str| {
                let mut folders = std::env::split_paths(path);
                let name = format!("{stem}{infix}-{what}");
                folders.find_map(|folder| Some(folder.join(&name)).filter(|file| file.is_file()))
            };
            find("save").zip(find("restore"))
        };
        let named = [("-nft", Variant::Nft), ("-legacy", Variant::Legacy)].into_iter();
        let mut found: Vec<Self> = named
            .filter_map(|(infix, variant)| {
                let (save, restore) = pair(infix)?;
                Some(Self {
                    variant,
                    save,
                    restore,
                })
            })
            .collect();
        if let Some((save, restore)) = pair("").filter(|_| found.is_empty()) {
            // Programs older than variants (1.8) print a bare number, and are what is legacy today.
            let version = Command::new(&save).arg("--version").output();
            let is_nft =
                |output: Output| String::from_utf8_lossy(&output.stdout).contains("nf_tables");
            let variant = match version.is_ok_and(is_nft) {
                true => Variant::Nft,
                false => Variant::Legacy,
            };
            found.push(Self {
                variant,
                save,
                restore,
            });
        }
        found
    }

    /// The rules that there are.
    pub(super) fn save(&self) -> Result<Tables, ProgramError> {
        let program = || self.save.clone();
        let text = run(&self.save, &[], "")?;
        Tables::parse(&text).map_err(|source| ProgramError::Unreadable {
            program: program(),
            source,
        })
    }

    /// Changes the rules.
    pub(super) fn restore(&self, script: &str) -> Result<(), ProgramError> {
        run(&self.restore, &["--noflush", LOCK_WAIT], script).map(drop)
    }
}

fn run(program: &Path, arguments: &[&str], input: &str) -> Result<String, ProgramError> {
    let start = |source| ProgramError::Start {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever stops reading has something to say, and an exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = said.split_whitespace().collect();
    Err(ProgramError::Failed {
        program: program.to_owned(),
        code: output.status.code(),
        said: words.join(" ").chars().take(SAID).collect(),
    })
}

/// What an exit code of iptables means (its `include/xtables.h`).
fn reason(code: Option<i32>) -> String {
    let name = match code {
        Some(1) => "another problem",
        Some(2) => "a parameter problem",
        Some(3) => "a version problem",
        Some(4) => "a resource problem, such as a lock that somebody holds",
        Some(_) => "an unknown problem",
        None => return "a signal".to_owned(),
    };
    format!("{name} (exit code {})", code.unwrap_or_default())
}

// === impl Variant ===

/// `legacy` or `nft`, as in the programs' names and in `--force-iptables-binary`.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        })
    }
}
