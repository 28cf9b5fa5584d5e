//! `--run-validation`: rules that are in force are found so by whoever asks, others are not.

use std::{
    os::unix::process::CommandExt as _,
    process::Command,
    time::{Duration, Instant},
};

use contract::{ids::PROXY_UID, ports};
use testkit::netns::Capability;

use crate::{
    cases::{self, INJECTED},
    lab::{Lab, Listener, run},
};

/// Who validates: a user, and what he may do.
struct Who {
    user: u32,
    capabilities: &'static [Capability],
}

/// As an init container that set the rules itself.
const INIT: Who = Who {
    user: 0,
    capabilities: &[Capability::CAP_NET_ADMIN],
};
/// As a person who looks after it, with every right that matters.
const PERSON: Who = Who {
    user: 0,
    capabilities: &[
        Capability::CAP_NET_ADMIN,
        Capability::CAP_SETUID,
        Capability::CAP_SETGID,
    ],
};
const ROOT: Who = Who {
    user: 0,
    capabilities: &[],
};
/// As the container `istio-validation`.
const PROXY: Who = Who {
    user: PROXY_UID,
    capabilities: &[],
};
const APPLICATION: Who = Who {
    user: 1000,
    capabilities: &[],
};

fn validate(lab: &Lab, who: &Who, flags: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_istio-init"));
    let flags = format!("{flags} --skip-rule-apply --run-validation --probe-timeout 1s");
    command
        .args(cases::words(&flags))
        .env_clear()
        .uid(who.user)
        .gid(who.user);
    let start = Instant::now();
    let output = lab
        .pod
        .output_with(who.capabilities, &mut command)
        .expect("the program starts");
    assert!(start.elapsed() < Duration::from_secs(3), "{flags}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn rules_in_force_are_found_so_by_every_user() {
    let lab = Lab::captured(INJECTED);
    let both = "IPv4 and IPv6";
    for (who, outbound, inbound) in [
        (PERSON, both, both),
        (INIT, both, "not shown"),
        (ROOT, both, "not shown"),
        (APPLICATION, both, "not shown"),
        (PROXY, "not shown", both),
    ] {
        let (status, said) = validate(&lab, &who, INJECTED);
        assert_eq!(status, Some(0), "{said}");
        let shown = format!("capture outbound: {outbound}, inbound: {inbound}\n");
        assert!(said.ends_with(&shown), "{}: {said}", who.user);
    }
}

/// Under TPROXY nobody but a transparent socket gets what comes in, and this program has none.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn rules_of_tproxy_and_for_dns_are_found_to_be_in_force_by_every_user() {
    for flags in [
        cases::TPROXY,
        "-m TPROXY -i * -b 80,443 --redirect-dns --capture-all-dns",
        "-i * -b * --redirect-dns --capture-all-dns",
    ] {
        let lab = Lab::captured(flags);
        for who in [PERSON, INIT, ROOT, APPLICATION, PROXY] {
            let (status, said) = validate(&lab, &who, flags);
            assert_eq!(status, Some(0), "{flags} as {}: {said}", who.user);
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn the_program_validates_what_it_has_just_set() {
    let lab = Lab::new();
    let flags = format!("{INJECTED} --run-validation");
    for _ in 0..2 {
        run(&lab.pod, &flags, &[]).succeeds_saying("as read back and by");
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn rules_that_are_missing_or_others_exit_with_126_and_name_direction_family_and_rule() {
    let lab = Lab::new();
    let check = |who: &Who, named: &[&str]| {
        let (status, said) = validate(&lab, who, INJECTED);
        assert_eq!(status, Some(126), "{said}");
        for name in named {
            assert!(said.contains(name), "{name}: {said}");
        }
    };
    let (outbound, inbound) = ("outbound IPv4 from user", "inbound IPv4 from user 1337");
    check(
        &INIT,
        &[outbound, "15001", "it left the pod", "ISTIO_REDIRECT"],
    );
    check(&APPLICATION, &[outbound, "outbound IPv6 from user 1000"]);
    check(
        &PROXY,
        &[inbound, "15006", "inbound IPv6", "ISTIO_IN_REDIRECT"],
    );

    run(
        &lab.pod,
        "-p 25001 -z 25006 -i * -b * -d 15090,15021,15020",
        &[],
    )
    .succeeds();
    check(
        &INIT,
        &["ISTIO_REDIRECT: meta l4proto tcp counter redirect to :15001"],
    );
    check(
        &ROOT,
        &[outbound, "nobody accepted it", "redirect to :15001"],
    );
    check(
        &PROXY,
        &[inbound, "nobody accepted it", "redirect to :15006"],
    );

    run(&lab.pod, "-i '' -b * -d 15090,15021,15020", &[]).succeeds();
    check(
        &INIT,
        &["outbound IPv4 and IPv6 ISTIO_OUTPUT: jump ISTIO_REDIRECT"],
    );
    check(&APPLICATION, &[outbound, "it left the pod"]);

    run(&lab.pod, "-i * -b ''", &[]).succeeds();
    check(&INIT, &["inbound IPv4 and IPv6 ISTIO_INBOUND: "]);
}

/// The proxy's own calls would come back to it for ever.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_proxy_that_is_captured_itself_is_found() {
    let lab = Lab::captured("-i * -b * -u 2000 -g 2000");
    let (status, said) = validate(&lab, &PROXY, INJECTED);
    assert_eq!(status, Some(126), "{said}");
    assert!(
        said.contains("must not be captured, but it arrived at port 15001"),
        "{said}"
    );
}

/// Whoever answers for an address that nobody has is no proof that connections are captured.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_stranger_who_accepts_is_not_taken_for_the_proxy() {
    let lab = Lab::new();
    let stranger = Listener::any(&lab.peer, 15002);
    let flags = format!("-i {}/32 -b *", lab.peer.ip4());
    let (status, said) = validate(&lab, &APPLICATION, &flags);
    assert_eq!(status, Some(126), "{said}");
    assert!(said.contains("somebody else accepted it"), "{said}");
    assert!(stranger.was_reached());
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn a_proxy_that_runs_already_is_no_fault_of_the_rules() {
    let lab = Lab::captured(INJECTED);
    let proxies = [ports::OUTBOUND, ports::INBOUND].map(|port| Listener::any(&lab.pod, port));
    for who in [PERSON, INIT, PROXY, APPLICATION] {
        let (status, said) = validate(&lab, &who, INJECTED);
        assert_eq!(status, Some(0), "{}: {said}", who.user);
    }
    assert!(proxies.iter().all(Listener::was_reached));
    run(&lab.pod, "--cleanup-only", &[]).succeeds();
    for who in [INIT, PROXY, APPLICATION] {
        let (status, said) = validate(&lab, &who, INJECTED);
        assert_eq!(status, Some(126), "{}: {said}", who.user);
    }
}

/// What TPROXY does to packets that come in shows even to who may not listen as the proxy does.
#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn tproxy_and_capture_of_dns_are_validated_too() {
    let lab = Lab::new();
    let (tproxy, dns) = (
        format!("{} -m TPROXY", INJECTED.replace("-m REDIRECT ", "")),
        format!("{INJECTED} --redirect-dns --capture-all-dns"),
    );
    for flags in [&tproxy, &dns] {
        run(&lab.pod, flags, &[]).succeeds();
        for who in [PERSON, INIT, PROXY, APPLICATION] {
            let (status, said) = validate(&lab, &who, flags);
            assert_eq!(status, Some(0), "{flags} {}: {said}", who.user);
        }
    }
    let (status, said) = validate(&lab, &PROXY, &tproxy);
    assert_eq!(status, Some(126), "{said}");
    assert!(said.contains("ISTIO_TPROXY"), "{said}");
    run(&lab.pod, INJECTED, &[]).succeeds();
    let (status, said) = validate(&lab, &APPLICATION, &dns);
    assert_eq!(status, Some(126), "{said}");
    assert!(
        said.contains(":53 must arrive at port 15053, but it arrived at port 15001"),
        "{said}"
    );
}
