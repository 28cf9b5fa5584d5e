//! Rules that somebody tampers with, and rules of others.

use crate::{
    cases,
    lab::{Lab, generation, run, tool, tool_reading},
};

const TABLE: &str = "inet istio-proxy-nat";

/// Every way in which our table can stop being the one that was made.
const TAMPERINGS: [&str; 8] = [
    "insert rule TABLE ISTIO_OUTPUT return",
    "add rule TABLE prerouting-mangle meta mark set 7",
    "flush chain TABLE ISTIO_TPROXY",
    "flush table TABLE",
    "add chain TABLE of-somebody",
    "add set TABLE of-somebody { type mark; }",
    "add chain TABLE output { policy drop; }",
    "add table TABLE { flags dormant; }",
];

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn whatever_is_tampered_with_is_put_right_in_one_transaction() {
    let lab = Lab::captured(cases::TPROXY);
    for tampering in TAMPERINGS {
        let script = tampering.replace("TABLE", TABLE);
        tool_reading(&lab.pod, "nft -f -", &script).expect(tampering);
        for (flags, said) in [
            (cases::TPROXY.to_owned(), "in the place of others"),
            (
                format!("{} --reconcile", cases::TPROXY),
                "rules unchanged\n",
            ),
        ] {
            let before = generation(&lab.pod);
            run(&lab.pod, &flags, &[]).succeeds_saying(said);
            let written = u32::from(said != "rules unchanged\n");
            assert_eq!(generation(&lab.pod), before + written, "{tampering}");
        }
    }
}

#[test]
#[ignore = "needs network namespaces: run cargo xtask test"]
fn tables_of_others_stay_whatever_is_done_to_ours() {
    let lab = Lab::new();
    let script = "add table inet of-somebody\nadd chain inet of-somebody output { type filter hook output priority 0; }\n\
                  add rule inet of-somebody output tcp dport 7777 counter accept\nadd table ip nat-of-somebody\n";
    tool_reading(&lab.pod, "nft -f -", script).expect("nft takes it");
    let others = tool(&lab.pod, "nft -a list ruleset");
    for flags in [cases::INJECTED, cases::TPROXY, "--cleanup-only"] {
        run(&lab.pod, flags, &[]).succeeds();
        let after = tool(&lab.pod, "nft -a list ruleset");
        assert!(after.starts_with(&others), "{flags}: {after}");
    }
    assert_eq!(tool(&lab.pod, "nft -a list ruleset"), others);
}
