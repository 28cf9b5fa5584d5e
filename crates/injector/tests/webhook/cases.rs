//! The table of injection cases through the webhook: a review over TLS to the real program, its patch applied strictly to the pod as it was sent.
//!
//! One program runs for each configuration of the table. The patches are applied by another implementation of RFC 6902 than the one that made them.
//! Each pod is sent a second time as it became, as `reinvocationPolicy: IfNeeded` does, and nothing may change then.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    process::{Command, Output, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde_json::{Value, json};
use template::yaml;
use testkit::{
    cases::{self, Case, End, Expected, Switches, Texts, workload},
    process::{Process, eventually},
};

use crate::{
    client::{Client, HTTP_1},
    fixture::{Files, LIMIT, review_of},
};

/// A running injector.
struct Program {
    _process: Process,
    address: SocketAddr,
}

/// A warning's length in an answer.
const MAX_WARNING_BYTES: usize = 256;

#[tokio::test]
async fn the_webhook_gives_what_the_library_gives() {
    let mut groups: BTreeMap<(Texts, Switches), Vec<Case>> = BTreeMap::new();
    for case in cases::all().into_iter().filter(Case::suits_webhook) {
        let texts = case.texts(|text| yaml::parse("overlay", text).expect("YAML"));
        groups.entry((texts, case.switches)).or_default().push(case);
    }
    let mut reports = Vec::new();
    let mut files = Files::new();
    let certificate = files.renew_certificate();
    for ((texts, switches), cases) in groups {
        files.swap(&texts.config, &texts.values);
        files.write("mesh", &texts.mesh);
        let expected = cases.iter().map(Case::expected).next();
        if let Some(Expected {
            end: End::BadConfiguration(message),
            ..
        }) = expected
        {
            reports.extend(refuses_to_start(&files, &switches, &message));
            continue;
        }
        let program = Program::start(&files, &switches);
        let mut client = Client::connect(program.address, &certificate, HTTP_1)
            .await
            .expect("a connection");
        for case in &cases {
            let report = run(case, &mut client).await.err();
            reports.extend(report.map(|report| format!("{}: {report}", case.name)));
        }
    }
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

/// Sends the case's pod twice: as it was written, and as it became.
async fn run(case: &Case, client: &mut Client) -> Result<(), String> {
    // What is no YAML cannot be sent at all.
    let Ok(manifest) = yaml::parse(&case.file(), &case.input()) else {
        return Ok(());
    };
    let workload = workload(&manifest);
    let pod = match workload {
        Some(workload) => workload.created(&manifest, case.namespace),
        None => manifest.clone(),
    };
    let expected = case.expected();
    let answer = send(case, client, &pod).await?;
    check_warnings(&expected, &answer)?;
    match &expected.end {
        End::Injected(text) => {
            let once = patched(&pod, &answer)?;
            let mut shown = once.clone();
            if let Some(workload) = workload {
                workload.forget_creation(&mut shown, &manifest);
                shown = workload.with_template(&manifest, shown);
            }
            let golden = yaml::parse("golden", text).map_err(|error| error.to_string())?;
            if shown != golden {
                return Err(format!(
                    "it is injected otherwise:\n{}",
                    yaml::to_string(&shown)
                ));
            }
            let answer = send(case, client, &once).await?;
            if patched(&once, &answer)? != once {
                return Err(format!("injecting again changes it: {answer}"));
            }
        }
        End::Skipped { .. } if answer["allowed"] != true || answer.get("patch").is_some() => {
            return Err(format!("it does not pass: {answer}"));
        }
        End::Refused(message)
            if answer["allowed"] != false || answer["status"]["message"] != **message =>
        {
            return Err(format!("it is not refused with {message}: {answer}"));
        }
        _ => {}
    }
    Ok(())
}

async fn send(case: &Case, client: &mut Client, pod: &Value) -> Result<Value, String> {
    let mut review = review_of(pod);
    review["request"]["namespace"] = json!(case.namespace);
    let (status, mut answer) = client.review(case.path, &review).await;
    if status != StatusCode::OK {
        return Err(format!("status {status}"));
    }
    Ok(answer["response"].take())
}

fn patched(pod: &Value, answer: &Value) -> Result<Value, String> {
    if answer["allowed"] != true {
        return Err(format!("it is refused: {answer}"));
    }
    let mut pod = pod.clone();
    if let Some(text) = answer["patch"].as_str() {
        let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
        let patch: json_patch::Patch =
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        json_patch::patch(&mut pod, &patch).map_err(|error| error.to_string())?;
    }
    Ok(pod)
}

/// Compares the warnings with the golden's; an answer cuts long ones.
fn check_warnings(expected: &Expected, answer: &Value) -> Result<(), String> {
    let mut wanted: Vec<String> = expected
        .remarks
        .iter()
        .map(|remark| format!("{}: {}", remark.code, remark.text))
        .collect();
    if let End::Skipped { code, reason, fix } = &expected.end
        && !code.starts_with("opted-out")
    {
        wanted.insert(0, format!("not injected, {code}: {reason}; {fix}"));
    }
    let none = Vec::new();
    let said = answer["warnings"].as_array().unwrap_or(&none);
    let is_same = |(said, wanted): (&Value, &String)| {
        let said = said.as_str().unwrap_or_default();
        let shown = said.strip_suffix('…').unwrap_or(said);
        wanted.starts_with(shown) && (shown == wanted || wanted.len() > MAX_WARNING_BYTES)
    };
    if said.len() != wanted.len() || !said.iter().zip(&wanted).all(is_same) {
        return Err(format!("its warnings are {said:?} instead of {wanted:?}"));
    }
    Ok(())
}

/// The program's answer to a configuration that it cannot use.
fn refuses_to_start(files: &Files, switches: &Switches, message: &str) -> Option<String> {
    let output = command(files, switches).output();
    let Output { status, stderr, .. } = output.expect("the program runs");
    // The library was given the files' names without a folder.
    let folder = format!("{}/", files.path("inject").display());
    let stderr = String::from_utf8_lossy(&stderr).replace(&folder, "");
    (status.success() || !stderr.contains(message))
        .then(|| format!("it does not refuse to start with {message}: {stderr}"))
}

fn command(files: &Files, switches: &Switches) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_injector"));
    command
        .args(files.flags())
        .args(switches.flags())
        .env_clear()
        .stdin(Stdio::null());
    command
}

// === impl Program ===

impl Program {
    fn start(files: &Files, switches: &Switches) -> Self {
        let log = files.path("log");
        let output = File::create(&log).expect("a file");
        let child = command(files, switches).stderr(output).spawn();
        let process = Process::new("injector", child.expect("the program runs"));
        let mut address = None;
        eventually(LIMIT, || {
            let log = std::fs::read_to_string(&log).expect("the log");
            address = log.lines().find_map(webhook_address);
            address.is_some()
        });
        Self {
            _process: process,
            address: address.expect("the webhook listens"),
        }
    }
}

/// The address in the log's line about the webhook's listener.
fn webhook_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening")?;
    let fields = rest.split_whitespace();
    fields
        .filter_map(|field| field.strip_prefix("address="))
        .find_map(|address| address.parse().ok())
}
