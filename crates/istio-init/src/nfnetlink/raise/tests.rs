use super::*;
use crate::{
    accounts::SystemAccounts,
    args::{Invocation, parse},
    nfnetlink::lower,
    plan::Backend,
    rules,
};

#[test]
fn what_is_lowered_is_raised_and_lowered_again_to_the_same() {
    for flags in [
        "-i * -b * -d 15090,15021,15020",
        "-m TPROXY -i * -b 80,443,6000-8000 --drop-invalid",
        "-m TPROXY -i * -b * -d 22 -u 1337,2000 -g 1,2",
        "-i 10.0.0.0/9,10.200.0.0/16,12.0.0.0/7,fd00::/8,2001:db8::1/128 -x 10.1.2.3/32,255.255.255.0/24,ff00::/9 -b *",
        "-i 10.1.2.3/13 -x fd00::/15 -q 1,5000-5010 -o 1-2,22 -b *",
        "-i * -b * -c eth1,net0,veth+ -k tap0,tap1 --redirect-dns --capture-all-dns",
        "-i 127.1.2.3/32,10.0.0.0/8 -b * --redirect-dns --capture-all-dns",
        "-i 0.0.0.0/0,::/0 -q 65000-65535,1",
    ] {
        let words = flags.split(' ').map(Into::into).collect();
        let Ok(Invocation::Run(config)) = parse(words, &|_| None, &SystemAccounts).1 else {
            panic!("{flags}");
        };
        for families in [Families::V4, Families::V4AndV6] {
            let plan = rules::plan(&config.capture, families, Backend::Nftables);
            let lowered = lower(&plan);
            let raised = raise(&lowered).expect("it is ours");
            assert_eq!(lower(&raised), lowered, "{flags}");
        }
    }
}

#[test]
fn a_rule_that_is_not_ours_is_named() {
    let mut ruleset = lower(&Plan {
        families: Families::V4,
        rules: vec![Rule {
            table: Table::Nat,
            chain: Chain::Output,
            matches: Vec::new(),
            action: Action::Return,
        }],
        loopback_addresses: Vec::new(),
        mark_routes: Vec::new(),
    });
    ruleset.chains[0].rules.push(vec![Expression::Foreign]);
    let foreign = Foreign {
        chain: "output".to_owned(),
        position: 2,
    };
    assert_eq!(raise(&ruleset), Err(foreign));
}
