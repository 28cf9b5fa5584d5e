//! `minimesh template lint` as a program: what it prints, and its exit status.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use template::lint::Code;

fn shipped(file: &str) -> PathBuf {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/minimesh");
    match file {
        "values" => chart.join("values.yaml"),
        file => chart.join("files").join(file),
    }
}

/// Checks the shipped values and mesh with this configuration, or the shipped one.
fn lint(config: Option<&str>, args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let path = match config {
        None => shipped("config"),
        Some(text) => {
            let path = home.path().join("config");
            fs::write(&path, text).unwrap();
            path
        }
    };
    Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["template", "lint", "--injectConfigFile"])
        .arg(path)
        .arg("--valuesFile")
        .arg(shipped("values"))
        .arg("--meshConfigFile")
        .arg(shipped("mesh"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const UNKNOWN_FUNCTION: &str =
    "templates:\n  sidecar: |\n    spec:\n      dnsPolicy: {{ unheard .Spec }}\n";

#[test]
fn the_shipped_configuration_has_no_errors() {
    let output = lint(None, &[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(text(&output.stdout).contains("0 errors"));
}

#[test]
fn an_error_is_shown_with_its_line_and_ends_with_status_3() {
    let output = lint(Some(UNKNOWN_FUNCTION), &[]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{stdout}");
    for part in [
        "config:4:21: error: function \"unheard\" not defined [unknown-function] (templates.sidecar:2:17)\n",
        "          dnsPolicy: {{ unheard .Spec }}\n",
        "                        ^^^^^^^\n",
        "1 error,",
    ] {
        assert!(stdout.contains(part), "{part:?} is not in:\n{stdout}");
    }
}

#[test]
fn programs_get_the_same_as_json() {
    let output = lint(Some(UNKNOWN_FUNCTION), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &findings[0];
    assert_eq!(finding["code"], "unknown-function");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["key"], "templates.sidecar");
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&4.into(), &21.into())
    );
    assert_eq!(
        (&finding["templateLine"], &finding["templateColumn"]),
        (&2.into(), &17.into())
    );
}

#[test]
fn a_switch_that_cannot_be_is_a_failure_and_no_finding() {
    let output = lint(
        None,
        &[
            "--namespace",
            "x",
            "--node-versions",
            "v1.34.0",
            "--platform",
            "mars",
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("--platform"));
}

#[test]
fn strict_counts_warnings() {
    let config = "templates:\n  sidecar: |\n    spec: {}\npolicyy: enabled\n";
    assert_eq!(lint(Some(config), &[]).status.code(), Some(0));
    assert_eq!(lint(Some(config), &["--strict"]).status.code(), Some(3));
}

#[test]
fn values_that_are_no_yaml_are_a_finding() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("values");
    fs::write(&path, "global: [\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["template", "lint", "--injectConfigFile"])
        .arg(shipped("config"))
        .arg("--valuesFile")
        .arg(&path)
        .arg("--meshConfigFile")
        .arg(shipped("mesh"))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("[not-yaml]"));
}

#[test]
fn the_reference_page_has_every_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/lint.md");
    let page = fs::read_to_string(page).unwrap();
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let line = line.replace("\\|", "\u{0}");
            let cells: Vec<_> = line
                .split('|')
                .map(|cell| cell.trim().replace('\u{0}', "|"))
                .collect();
            (
                cells[1].trim_matches('`').to_owned(),
                cells[2].clone(),
                cells[4].clone(),
            )
        })
        .collect();
    let codes: Vec<_> = Code::all()
        .map(|code| {
            (
                code.to_string(),
                code.severity().to_string(),
                code.help().to_owned(),
            )
        })
        .collect();
    assert_eq!(rows, codes);
}
