//! The table of injection cases through `minimesh kube-inject`: the built program, files in and out, what it says and how it ends.
//!
//! The table and its goldens are the library's (`testkit::cases`), so the command line gives what the library and the webhook give.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use template::yaml;
use testkit::cases::{self, Case, End, Expected};

/// What the program gave.
struct Seen {
    success: bool,
    stdout: String,
    stderr: String,
}

/// More would only wait for each other.
const N_THREADS: usize = 4;

#[test]
fn the_command_line_gives_what_the_library_gives() {
    let cases: Vec<_> = cases::all()
        .into_iter()
        .filter(Case::suits_command_line)
        .collect();
    let reports: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = cases
            .chunks(cases.len().div_ceil(N_THREADS))
            .map(|share| scope.spawn(|| share.iter().filter_map(report).collect::<Vec<_>>()))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(reports.is_empty(), "{}", reports.join("\n"));
}

/// What is wrong with the case, if anything is.
fn report(case: &Case) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    write_files(case, folder.path());
    let seen = kube_inject(case, folder.path());
    let wrong = difference(case, &case.expected(), &seen)?;
    Some(format!(
        "{}: {wrong}\nstdout: {}\nstderr: {}",
        case.name, seen.stdout, seen.stderr
    ))
}

fn write_files(case: &Case, folder: &Path) {
    let texts = case.texts(|text| yaml::parse("overlay", text).unwrap());
    for (name, text) in [
        ("config", texts.config),
        ("values", texts.values),
        ("mesh", texts.mesh),
        ("namespace", case.namespace_object().to_string()),
        (&case.file(), case.input()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// Runs the program in the folder, so that it calls the files as the library does.
fn kube_inject(case: &Case, folder: &Path) -> Seen {
    let output = Command::new(env!("CARGO_BIN_EXE_minimesh"))
        .args(["kube-inject", "-f", &case.file()])
        .args(["--injectConfigFile=config", "--valuesFile=values"])
        .args(["--meshConfigFile=mesh", "--namespace-object=namespace"])
        .args(case.switches.flags())
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Seen {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn difference(case: &Case, expected: &Expected, seen: &Seen) -> Option<String> {
    match &expected.end {
        End::Injected(manifest)
            if !seen.success || seen.stdout != format!("{}{manifest}", head(&case.input())) =>
        {
            Some("it is injected otherwise".to_owned())
        }
        End::Skipped { .. } if !seen.success || seen.stdout != case.input() => {
            Some("it does not pass through".to_owned())
        }
        // Two reasons are said in the words of `istioctl`, which are also the end of our own.
        End::Skipped { reason, .. }
            if !seen.stderr.contains(reason.trim_start_matches("the pod ")) =>
        {
            Some(format!("it does not say that {reason}"))
        }
        End::Refused(message) | End::BadConfiguration(message)
            if seen.success || !seen.stdout.is_empty() || !seen.stderr.contains(message) =>
        {
            Some(format!("it is not refused with {message}"))
        }
        _ => {
            let said = seen
                .stderr
                .lines()
                .filter_map(|line| line.strip_prefix("warning: "));
            let texts = expected.remarks.iter().map(|remark| remark.text.as_str());
            let is_said = said
                .clone()
                .zip(texts.clone())
                .all(|(line, text)| line.ends_with(text));
            (!is_said || said.count() != texts.count()).then(|| "its warnings differ".to_owned())
        }
    }
}

/// The comment above a manifest, which stays.
fn head(manifest: &str) -> &str {
    let lines = manifest.split_inclusive('\n');
    let length = lines.take_while(|line| line.starts_with('#')).map(str::len);
    &manifest[..length.sum()]
}
