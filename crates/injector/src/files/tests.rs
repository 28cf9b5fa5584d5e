use std::{fs, io, os::unix::fs::symlink, string::FromUtf8Error};

use prometheus_client::registry::Registry;
use runtime::readiness::Readiness;
use tempfile::TempDir;
use testkit::mount::Mount;

use super::*;
use crate::{cluster::events::Events, metrics::Files as Metrics};

struct Fixture {
    reloader: Reloader<String, FromUtf8Error>,
    readiness: Readiness,
    registry: Registry,
}

fn sources(mount: &Mount, names: &[&str]) -> Vec<Source> {
    names
        .iter()
        .map(|name| Source {
            flag: "--dir",
            path: mount.path(name),
        })
        .collect()
}

fn start(sources: Vec<Source>) -> Result<Fixture, LoadError<FromUtf8Error>> {
    let readiness = Readiness::new();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let parse = |contents: &[Vec<u8>]| String::from_utf8(contents.concat());
    let voice = Voice::of_configuration(&readiness, metrics, Events::silent());
    let reloader = Reloader::start(sources, Box::new(parse), voice)?;
    Ok(Fixture {
        reloader,
        readiness,
        registry,
    })
}

impl Fixture {
    fn value(&self) -> String {
        self.reloader.live().load().to_string()
    }

    fn metric(&self, line: &str) -> bool {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page.lines().any(|known| known == line)
    }
}

#[test]
fn a_swap_of_the_mounted_directory_is_seen() {
    let mut mount = Mount::new(&[("a", "1"), ("b", "2")]);
    let mut fixture = start(sources(&mount, &["a", "b"])).unwrap();
    assert_eq!(fixture.value(), "12");
    assert_eq!(fixture.reloader.poll(), Change::None);
    mount.swap(&[("a", "3"), ("b", "4")]);
    assert_eq!(fixture.reloader.poll(), Change::Accepted);
    assert_eq!(fixture.value(), "34");
    assert_eq!(fixture.reloader.poll(), Change::None);
    mount.swap(&[("a", "3"), ("b", "4")]);
    assert_eq!(fixture.reloader.poll(), Change::None, "the same contents");
}

#[test]
fn files_written_in_place_and_renamed_are_seen() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "1").unwrap();
    let source = Source {
        flag: "--file",
        path: path.clone(),
    };
    let mut fixture = start(vec![source]).unwrap();
    fs::write(&path, "2").unwrap();
    assert_eq!(fixture.reloader.poll(), Change::Accepted);
    fs::write(dir.path().join("new"), "3").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(fixture.reloader.poll(), Change::Accepted);
    assert_eq!(fixture.value(), "3");
}

#[test]
fn refused_contents_leave_the_last_good_value_and_are_said_once() {
    let mut mount = Mount::new(&[("a", "good")]);
    let mut fixture = start(sources(&mount, &["a"])).unwrap();
    fs::write(mount.path("a"), b"\xff").unwrap();
    assert_eq!(fixture.reloader.poll(), Change::Refused);
    assert_eq!(fixture.reloader.poll(), Change::None);
    assert_eq!(fixture.value(), "good");
    let report = fixture.readiness.report();
    assert!(report.ready);
    let detail = &report.details["configuration"];
    assert!(
        detail.contains("last good") && detail.contains("utf-8"),
        "{detail}"
    );
    assert!(fixture.metric("minimesh_injector_files_refused{files=\"configuration\"} 1"));
    assert!(fixture.metric(
        "minimesh_injector_files_loads_total{files=\"configuration\",result=\"refused\"} 1"
    ));
    mount.swap(&[("a", "good")]);
    assert_eq!(fixture.reloader.poll(), Change::Accepted);
    assert!(fixture.readiness.report().details.is_empty());
    assert!(fixture.metric("minimesh_injector_files_refused{files=\"configuration\"} 0"));
}

#[test]
fn deleted_files_leave_the_last_good_value() {
    let mut mount = Mount::new(&[("a", "good"), ("b", "!")]);
    let mut fixture = start(sources(&mount, &["a", "b"])).unwrap();
    fs::remove_file(mount.path("b")).unwrap();
    assert_eq!(fixture.reloader.poll(), Change::Refused);
    assert_eq!(fixture.value(), "good!");
    let detail = fixture.readiness.report().details["configuration"].clone();
    assert!(detail.contains("/b (--dir)"), "{detail}");
    symlink("..data/b", mount.path("b")).unwrap();
    mount.swap(&[("a", "new"), ("b", "!")]);
    assert_eq!(fixture.reloader.poll(), Change::Accepted);
    assert_eq!(fixture.value(), "new!");
}

#[test]
fn at_the_start_there_is_no_last_good_value() {
    let dir = TempDir::new().unwrap();
    let missing = Source {
        flag: "--file",
        path: dir.path().join("missing"),
    };
    let error = start(vec![missing.clone()]).err().unwrap();
    assert!(
        matches!(&error, LoadError::Read(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound),
        "{error}"
    );
    assert!(error.to_string().contains("missing (--file)"), "{error}");
    let directory = Source {
        path: dir.path().to_owned(),
        ..missing
    };
    let error = start(vec![directory]).err().unwrap();
    assert!(error.to_string().ends_with("is not a file"), "{error}");
}

#[test]
fn a_file_without_end_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("large");
    fs::File::create(&path).unwrap().set_len(9 << 20).unwrap();
    let error = start(vec![Source {
        flag: "--file",
        path,
    }])
    .err()
    .unwrap();
    assert!(
        error.to_string().ends_with("is larger than 8 MiB"),
        "{error}"
    );
}

#[test]
fn what_is_beside_the_files_is_kept_in_step_too() {
    let mut mount = Mount::new(&[("a", "1")]);
    let mut fixture = start(sources(&mount, &["a"])).unwrap();
    // Stands for something that the program learns by itself.
    let wanted = Live::new("+".to_owned());
    let seen = wanted.clone();
    fixture.reloader = fixture.reloader.amended(Box::new(move |value| {
        let suffix = seen.load();
        (!value.ends_with(suffix.as_str())).then(|| format!("{}{suffix}", &value[..1]))
    }));
    fixture.reloader.poll();
    assert_eq!(fixture.value(), "1+");
    wanted.0.store(Arc::new("-".to_owned()));
    mount.swap(&[("a", "2")]);
    fixture.reloader.poll();
    assert_eq!(fixture.value(), "2-");
}
