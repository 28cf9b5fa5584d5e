//! The program as a CNI plugin and as its installer, as far as neither needs a privilege.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cni/installer.rs"]
mod installer;

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use contract::cni::PLUGIN;
use serde_json::{Value, json};

/// Runs the plugin with these variables and this input; returns exit code and standard output.
fn plugin(variables: &[(&str, &str)], input: &[u8]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_istio-init"))
        .arg("cni")
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("it has an input");
    // It may have read enough before the end.
    let _ = pipe.write_all(input);
    drop(pipe);
    let output = child.wait_with_output().expect("the program ends");
    let text = String::from_utf8(output.stdout).expect("the answer is text");
    (output.status.code(), text)
}

const ADD: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c0ffee"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_NETNS", "/var/run/netns/none"),
];

#[track_caller]
fn refused(variables: &[(&str, &str)], input: &[u8], code: u32, part: &str) {
    let (status, text) = plugin(variables, input);
    assert_eq!(status, Some(1), "{text}");
    let error: Value = serde_json::from_str(&text).expect("an error is one JSON document");
    assert_eq!(error["code"], code, "{error}");
    assert!(
        error["msg"]
            .as_str()
            .is_some_and(|text| text.contains(part)),
        "{part}: {error}"
    );
    assert!(error["cniVersion"].is_string(), "{error}");
}

#[test]
fn versions_are_told_in_the_version_that_was_asked_in() {
    for (input, version) in [
        (r#"{"cniVersion": "0.4.0"}"#, "0.4.0"),
        (r#"{"cniVersion": "9.0.0"}"#, "1.1.0"),
        ("", "1.1.0"),
    ] {
        let (status, text) = plugin(&[("CNI_COMMAND", "VERSION")], input.as_bytes());
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let expected = json!({"cniVersion": version, "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]});
        assert_eq!((status, answer), (Some(0), expected), "{input}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_by_the_codes_of_the_specification() {
    let configuration = |more: &Value| {
        let mut configuration =
            json!({"cniVersion": "1.0.0", "name": "pods", "type": PLUGIN, "prevResult": {}});
        for (key, value) in more.as_object().unwrap() {
            configuration[key] = value.clone();
        }
        configuration.to_string().into_bytes()
    };
    let good = configuration(&json!({}));
    refused(
        &ADD,
        &configuration(&json!({"cniVersion": "0.2.0"})),
        1,
        "0.2.0",
    );
    refused(
        &ADD,
        &configuration(&json!({"cniVersion": null})),
        1,
        "cniVersion",
    );
    refused(&[], &good, 4, "CNI_COMMAND");
    refused(&[("CNI_COMMAND", "FROB")], &good, 4, "FROB");
    for (absent, (name, _)) in ADD.into_iter().enumerate().skip(1) {
        let mut variables = ADD.to_vec();
        variables.remove(absent);
        refused(&variables, &good, 4, name);
    }
    for input in ["", "{", "[]", "\"text\"", "\u{0}", &"[".repeat(100_000)] {
        refused(&ADD, input.as_bytes(), 6, "JSON");
    }
    refused(&ADD, &vec![b' '; 5 << 20], 7, "bytes");
    refused(
        &ADD,
        &configuration(&json!({"prevResult": null})),
        7,
        "prevResult",
    );
    // The result is there, the annotations are not.
    refused(&ADD, &good, 100, "annotations");
}

#[test]
fn the_end_of_a_pod_is_never_refused() {
    for input in [
        "",
        "{",
        r#"{"cniVersion": "9.9.9"}"#,
        r#"{"cniVersion": "1.0.0", "runtimeConfig": 7}"#,
    ] {
        let (status, text) = plugin(&[("CNI_COMMAND", "DEL")], input.as_bytes());
        assert_eq!((status, text.as_str()), (Some(0), ""), "{input}");
    }
}

#[test]
fn under_its_own_name_the_program_is_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(PLUGIN);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_istio-init"), &program).unwrap();
    let output = Command::new(program)
        .env_clear()
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("supportedVersions"));
}
