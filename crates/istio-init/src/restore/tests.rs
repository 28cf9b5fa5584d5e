use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use proptest::prelude::*;

use super::{saved::Table, *};
use crate::{
    accounts::SystemAccounts,
    args::{Invocation, parse},
    plan::{Action, Backend, Chain, Families, Match, Protocol, Rule},
};

fn tables(text: &str) -> Tables {
    Tables::parse(text).expect("the text is in the form of iptables-save")
}

fn nat(rules: &str) -> Table {
    tables(&format!("*nat\n:ISTIO_A - [0:0]\n{rules}\nCOMMIT\n"))
        .tables
        .remove(0)
}

#[test]
fn a_rule_is_the_same_however_the_program_writes_it() {
    for (given, saved) in [
        (
            "-p tcp --dport 80 -j RETURN",
            "-p tcp -m tcp --dport 80 -j RETURN",
        ),
        (
            "-o lo -s 127.0.0.6/32 -j RETURN",
            "-s 127.0.0.6/32 -o lo -j RETURN",
        ),
        ("-d 127.0.0.1/8 -j RETURN", "-d 127.0.0.0/8 -j RETURN"),
        ("-d 0.0.0.0/0 -j X", "-j X"),
        ("-d ::/0 -j X", "-j X"),
        ("-d fd00:0::1/128 -j X", "-d fd00::1/128 -j X"),
        (
            "-m owner ! --gid-owner 7 -m owner ! --gid-owner 8 -j X",
            "-m owner ! --gid-owner 7 -m owner ! --gid-owner 8 -j X",
        ),
        (
            "-m mark --mark 1337 -j CONNMARK --save-mark",
            "-m mark --mark 0x539 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        ),
        (
            "-j MARK --set-mark 1338",
            "-j MARK --set-xmark 0x53a/0xffffffff",
        ),
        (
            "-j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
            "-j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff",
        ),
        (
            "-j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
            "-j TPROXY --on-port 15006 --on-ip :: --tproxy-mark 0x539/0xffffffff",
        ),
        (
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        ),
        (
            "-m comment --comment minimesh/istio-init -j X",
            "-m comment --comment \"minimesh/istio-init\" -j X",
        ),
    ] {
        let (given, saved) = (format!("-A ISTIO_A {given}"), format!("-A ISTIO_A {saved}"));
        assert!(nat(&given).is_same(&nat(&saved)), "{given}");
    }
}

#[test]
fn rules_that_differ_in_any_option_chain_or_order_are_not_the_same() {
    let rule = "-A ISTIO_A -d 10.0.0.0/8 -p tcp -m mark --mark 1 -j X";
    for other in [
        "-A ISTIO_A -d 10.0.0.0/9 -p tcp -m mark --mark 1 -j X",
        "-A ISTIO_A ! -d 10.0.0.0/8 -p tcp -m mark --mark 1 -j X",
        "-A ISTIO_A -s 10.0.0.0/8 -p tcp -m mark --mark 1 -j X",
        "-A ISTIO_A -d 10.0.0.0/8 -p udp -m mark --mark 1 -j X",
        "-A ISTIO_A -d 10.0.0.0/8 -p tcp -m mark --mark 1/1 -j X",
        "-A ISTIO_A -d 10.0.0.0/8 -p tcp -m mark --mark 1 -j Y",
        "-A ISTIO_B -d 10.0.0.0/8 -p tcp -m mark --mark 1 -j X",
        "-A ISTIO_A -d 10.0.0.0/8 -m mark --mark 1 -j X",
        "",
    ] {
        assert!(!nat(rule).is_same(&nat(other)), "{other}");
    }
    let (first, second) = ("-A ISTIO_A -j X\n", "-A ISTIO_A -j Y\n");
    assert!(!nat(&format!("{first}{second}")).is_same(&nat(&format!("{second}{first}"))));
    assert!(!nat(first).is_same(&nat(&format!("{first}{first}"))));
}

const WANTED: &str = "*nat\n-N ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n";
const OTHERS: &str = "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE - [0:0]\n-A OUTPUT -j KUBE\n-A KUBE -p tcp -j RETURN\nCOMMIT\n";

#[test]
fn one_commit_takes_the_old_away_and_leaves_what_others_have() {
    let found = tables(
        "# Generated\n*nat\n:OUTPUT ACCEPT [5:300]\n:ISTIO_OLD - [0:0]\n:ISTIO_OUTPUT - [0:0]\n:KUBE - [0:0]\n\
         -A OUTPUT -j KUBE\n-A OUTPUT -m comment --comment minimesh/istio-init -j ISTIO_OUTPUT\n-A OUTPUT -o eth1 -m comment --comment minimesh/istio-init -j RETURN\n\
         -A ISTIO_OUTPUT -j ISTIO_OLD\n-A KUBE -p tcp -j RETURN\nCOMMIT\n",
    );
    assert_eq!(
        script::change(&found, &tables(WANTED).tagged()).as_deref(),
        Some(
            "*nat\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OLD - [0:0]\n\
             -D OUTPUT -m comment --comment minimesh/istio-init -j ISTIO_OUTPUT\n\
             -D OUTPUT -o eth1 -m comment --comment minimesh/istio-init -j RETURN\n\
             -A OUTPUT -m comment --comment minimesh/istio-init -j ISTIO_OUTPUT\n\
             -A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001\n-X ISTIO_OLD\nCOMMIT\n"
        )
    );
    let wanted = tables(WANTED).tagged();
    assert_eq!(script::change(&wanted, &wanted), None);
    assert_eq!(script::removal(&tables(OTHERS), Whose::OursAndIstios), None);
}

#[test]
fn what_istio_left_goes_only_if_that_is_asked_for() {
    let istios = tables(
        "*mangle\n:ISTIO_TPROXY - [0:0]\n-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark\n-A PREROUTING -p tcp -m mark --mark 0x1 -j ACCEPT\n-A ISTIO_TPROXY -j X\nCOMMIT\n\
         *nat\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n",
    );
    assert_eq!(script::removal(&istios, Whose::Ours), None);
    assert_eq!(
        script::removal(&istios, Whose::OursAndIstios).as_deref(),
        Some(
            "*mangle\n:ISTIO_TPROXY - [0:0]\n-D PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark\n-X ISTIO_TPROXY\nCOMMIT\n\
             *nat\n:ISTIO_OUTPUT - [0:0]\n-D OUTPUT -j ISTIO_OUTPUT\n-X ISTIO_OUTPUT\nCOMMIT\n"
        )
    );
    let ours = Tables {
        tables: istios.tables,
    }
    .tagged();
    assert!(script::removal(&ours, Whose::Ours).is_some());
}

/// Inbound connections are captured by another table afterwards, and are captured in between.
#[test]
fn the_table_that_captures_from_now_on_changes_first() {
    let tproxy = "*mangle\n-N ISTIO_INBOUND\n-A PREROUTING -j ISTIO_INBOUND\nCOMMIT\n";
    let found = tables(WANTED).tagged();
    let positions = |script: &str| (script.find("*mangle"), script.find("*nat"));
    let (mangle, nat) =
        positions(&script::change(&found, &tables(tproxy).tagged()).expect("they differ"));
    assert!(mangle < nat);
    let (mangle, nat) =
        positions(&script::change(&tables(tproxy).tagged(), &found).expect("they differ"));
    assert!(nat < mangle);
}

#[test]
fn the_variant_in_use_is_chosen_and_nft_where_none_is() {
    let sight = |variant, [works, has_rules, has_ours]: [bool; 3]| Sight {
        variant,
        works,
        has_rules,
        has_ours,
    };
    let (yes, no) = (true, false);
    for (nft, legacy, chosen) in [
        ([yes, no, no], [yes, no, no], Variant::Nft),
        ([no, no, no], [yes, no, no], Variant::Legacy),
        ([yes, no, no], [yes, yes, no], Variant::Legacy),
        ([yes, yes, no], [yes, yes, no], Variant::Nft),
        ([yes, yes, no], [yes, yes, yes], Variant::Legacy),
        ([no, no, no], [no, no, no], Variant::Nft),
    ] {
        let seen = [sight(Variant::Legacy, legacy), sight(Variant::Nft, nft)];
        assert_eq!(choice(&seen), Some(chosen), "{seen:?}");
    }
    assert_eq!(choice(&[]), None);
}

fn plan() -> Plan {
    let rule = |chain, matches, action| Rule {
        table: crate::plan::Table::Nat,
        chain,
        matches,
        action,
    };
    let rules = vec![
        rule(Chain::Output, Vec::new(), Action::Jump(Chain::IstioOutput)),
        rule(
            Chain::IstioOutput,
            vec![Match::Protocol(Protocol::Tcp)],
            Action::Return,
        ),
    ];
    let capture = parse(Vec::new(), &|_| None, &SystemAccounts).1;
    let Ok(Invocation::Run(config)) = capture else {
        panic!("no flags at all are fine: {capture:?}");
    };
    Plan {
        rules,
        ..crate::rules::plan(&config.capture, Families::V4AndV6, Backend::Iptables)
    }
}

/// Programs that keep their rules in a file beside them; the restoring one of IPv6 fails with this
/// code, if there is one.
fn programs(folder: &Path, failure: Option<u8>) {
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("the folder is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    };
    for stem in ["iptables", "ip6tables"] {
        let rules = folder.join(format!("{stem}.rules"));
        let rules = rules.display();
        write(
            &format!("{stem}-nft-save"),
            &format!("cat {rules} 2>/dev/null; exit 0"),
        );
        let fails = failure.filter(|_| stem == "ip6tables");
        let restore = match fails {
            Some(code) => format!("echo something is wrong >&2; exit {code}"),
            None => format!(
                "grep -v '^-[DX]' > {rules}.new; mv {rules}.new {rules}; echo x >> {rules}.log"
            ),
        };
        write(&format!("{stem}-nft-restore"), &restore);
    }
}

#[test]
fn rules_are_set_once_and_a_failure_of_one_family_takes_the_other_back() {
    let folder = tempfile::tempdir().expect("there is room");
    let n_changes = |stem: &str| {
        let log = fs::read_to_string(folder.path().join(format!("{stem}.rules.log")));
        log.unwrap_or_default().lines().count()
    };
    programs(folder.path(), Some(4));
    let toolbox = Toolbox::find(Some(folder.path().as_os_str()));
    let error = toolbox.apply(&plan(), None).expect_err("IPv6 fails");
    let cause = std::error::Error::source(&error)
        .expect("the program's words")
        .to_string();
    assert!(cause.contains("a resource problem"), "{cause}");
    assert!(
        cause.ends_with("(exit code 4): something is wrong"),
        "{cause}"
    );
    assert_eq!(n_changes("iptables"), 2);

    let folder = tempfile::tempdir().expect("there is room");
    programs(folder.path(), None);
    let toolbox = Toolbox::find(Some(folder.path().as_os_str()));
    let outcome = toolbox.apply(&plan(), None).expect("nothing fails");
    assert_eq!(outcome, Restored::Changed(Variant::Nft));
    assert!(toolbox.is_in_force(&plan()).expect("the rules can be read"));
    let outcome = toolbox.apply(&plan(), None).expect("nothing fails");
    assert_eq!(outcome, Restored::Unchanged);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("there is room");
    let toolbox = Toolbox::find(Some(folder.path().as_os_str()));
    for (forced, name) in [
        (None, "iptables-restore"),
        (Some(Variant::Legacy), "iptables-legacy-restore"),
    ] {
        let error = toolbox
            .apply(&plan(), forced)
            .expect_err("the folder is empty")
            .to_string();
        assert!(
            error.starts_with(&format!("there is no {name} in PATH; ")),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_by_its_line(lines in prop::collection::vec("[*:#-]?[A-Z-]{0,3} ?\\PC{0,20}", 0..10)) {
        let text = lines.join("\n");
        match Tables::parse(&text) {
            Ok(found) => {
                let wanted = tables(WANTED).tagged();
                // A change that was carried out leaves nothing to change.
                if script::change(&found, &wanted).is_none() {
                    prop_assert!(script::is_in_force(&found, &wanted));
                }
            }
            Err(error) => prop_assert!(error.number <= lines.len()),
        }
    }
}
