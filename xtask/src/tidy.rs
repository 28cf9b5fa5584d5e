//! `cargo xtask tidy`: rules of the tree that no compiler holds.
//!
//! Called by `cargo xtask test`; reads the sources and what cargo knows of the dependencies.
//! All findings are reported together, each with the file and what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::project;

/// Which of our crates each crate may depend on, tests aside. An edge that is not here is an architectural change.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("agent", &["contract", "identity", "runtime", "wire"]),
    ("cluster", &["runtime"]),
    ("contract", &[]),
    ("e2e", &["contract"]),
    ("identity", &["contract"]),
    (
        "injector",
        &[
            "cluster", "contract", "identity", "runtime", "template", "wire",
        ],
    ),
    ("istio-init", &["contract"]),
    ("minimesh", &["cluster", "contract", "template"]),
    ("runtime", &["contract"]),
    ("template", &["contract"]),
    ("testkit", &["contract"]),
    ("wire", &[]),
    ("xtask", &["contract", "template", "testkit"]),
];

/// Crates that must never be part of a program, with the reason.
const BANNED: [(&str, &str); 3] = [
    ("ring", "aws-lc-rs is the one crypto provider"),
    ("openssl", "rustls is the one TLS stack"),
    ("native-tls", "rustls is the one TLS stack"),
];

/// What a crate must not pull in, directly or not.
const ABSENT: [(&str, &[&str]); 4] = [
    ("contract", &["serde", "tokio"]),
    ("identity", &["tokio", "hyper", "kube"]),
    ("istio-init", &["tokio", "rustls", "hyper", "tracing"]),
    ("template", &["tokio", "hyper", "rustls", "kube"]),
];

/// Code lines of a file, its inline tests aside.
const LONGEST_FILE: usize = 400;

pub(crate) fn run() -> anyhow::Result<()> {
    let mut findings = Vec::new();
    check_dependencies(&mut findings)?;
    check_sources(&mut findings)?;
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("{} findings", findings.len())
}

fn check_dependencies(findings: &mut Vec<String>) -> anyhow::Result<()> {
    let metadata = project::metadata(&["--no-deps"])?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let ours: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = allowed.get(name) else {
            findings.push(format!(
                "crate {name}: add it to ALLOWED in xtask/src/tidy.rs"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"].is_null() && ours.contains(to) && !allowed.contains(&to) {
                findings.push(format!("crate {name} must not depend on {to}"));
            }
        }
    }
    let everything = dependency_names(&["--workspace", "--edges=normal,build,dev"])?;
    for (name, reason) in BANNED {
        if everything.contains(name) {
            findings.push(format!("dependency {name} is banned: {reason}; `cargo tree --workspace -i {name}` tells who brings it"));
        }
    }
    for (package, absent) in ABSENT {
        let names = dependency_names(&["--package", package, "--edges=normal"])?;
        for name in absent.iter().filter(|name| names.contains(**name)) {
            findings.push(format!(
                "crate {package} must not depend on {name}, not even through another crate"
            ));
        }
    }
    Ok(())
}

fn dependency_names(args: &[&str]) -> anyhow::Result<BTreeSet<String>> {
    let output = project::cargo()
        .args(["tree", "--locked", "--prefix=none", "--format={p}"])
        .args(args)
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!(
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

fn check_sources(findings: &mut Vec<String>) -> anyhow::Result<()> {
    let root = project::root();
    let mut files = Vec::new();
    for folder in ["crates", "e2e", "fuzz", "xtask"] {
        rust_files(&root.join(folder), &mut files)?;
    }
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let shown = file
            .strip_prefix(&root)
            .unwrap_or(&file)
            .display()
            .to_string();
        check_source(&shown, &text, findings);
    }
    Ok(())
}

fn check_source(shown: &str, text: &str, findings: &mut Vec<String>) {
    let is_test = shown.contains("/tests/") || shown.ends_with("/tests.rs");
    if !is_test && !text.starts_with("//!") {
        findings.push(format!(
            "{shown}: a file opens with a //! comment that says what it holds"
        ));
    }
    let n_lines = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count();
    if !is_test && n_lines > LONGEST_FILE {
        findings.push(format!(
            "{shown}: {n_lines} lines; a file that passes {LONGEST_FILE} is split"
        ));
    }
    for (idx, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("fn test_") {
            findings.push(format!(
                "{shown}:{}: a test's name is a sentence, without test_",
                idx + 1
            ));
        }
        if line.starts_with("//")
            && ["TODO", "FIXME", "XXX", "HACK"]
                .iter()
                .any(|word| line.contains(word))
        {
            findings.push(format!("{shown}:{}: finish it, or open an issue", idx + 1));
        }
    }
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        // `fuzz` is a workspace of its own, with a target folder of its own; generated code has its rules where it comes from.
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("generated") {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, n_findings: usize) {
        let mut findings = Vec::new();
        check_source("crates/x/src/lib.rs", text, &mut findings);
        assert_eq!(findings.len(), n_findings, "{findings:?}");
    }

    #[test]
    fn a_tidy_file_has_no_finding() {
        check("//! Holds nothing.\n", 0);
    }

    #[test]
    fn each_offence_is_found() {
        check("fn main() {}\n", 1);
        check("//! Header.\nfn test_it() {}\n", 1);
        check(concat!("//! Header.\n// TO", "DO later\n"), 1);
        check(
            &format!("//! Header.\n{}", "const A: u8 = 1;\n".repeat(LONGEST_FILE)),
            1,
        );
    }
}
