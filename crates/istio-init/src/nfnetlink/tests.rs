use proptest::{collection::vec, prelude::*};

use super::{
    expression::Expression,
    read,
    ruleset::{Base, Chain, Element, Set},
    *,
};
use crate::netlink::{Message, Packet, tests::read_messages};

fn expressions() -> impl Strategy<Value = Expression> {
    let bytes = || vec(any::<u8>(), 1..16);
    prop_oneof![
        any::<u32>().prop_map(|key| Expression::Meta { key }),
        any::<u32>().prop_map(|key| Expression::SetMeta { key }),
        any::<u32>().prop_map(|key| Expression::Tracking { key }),
        (any::<u32>(), any::<bool>())
            .prop_map(|(key, is_original)| Expression::SetTracking { key, is_original }),
        any::<u32>().prop_map(|family| Expression::Tproxy { family }),
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(base, offset, length)| {
            Expression::Payload {
                base,
                offset,
                length,
            }
        }),
        bytes().prop_map(|mask| Expression::Mask { mask }),
        (any::<bool>(), bytes())
            .prop_map(|(negated, value)| Expression::Compare { negated, value }),
        (any::<bool>(), bytes(), bytes()).prop_map(|(negated, from, to)| Expression::Range {
            negated,
            from,
            to
        }),
        (any::<bool>(), "[a-z_]{1,20}")
            .prop_map(|(negated, set)| Expression::Lookup { negated, set }),
        Just(Expression::Counter),
        bytes().prop_map(|value| Expression::Value { value }),
        Just(Expression::Redirect),
        (any::<u32>(), prop::option::of("[A-Z_]{1,20}"))
            .prop_map(|(code, chain)| Expression::Verdict { code, chain }),
    ]
}

fn rulesets() -> impl Strategy<Value = Ruleset> {
    let element =
        (vec(any::<u8>(), 1..16), any::<bool>()).prop_map(|(key, is_end)| Element { key, is_end });
    let set = (
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        vec(element, 0..40),
    );
    let base = ("[a-z]{1,9}", any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(kind, hook, priority, policy)| Base {
            kind,
            hook,
            priority,
            policy,
        },
    );
    let chain = (prop::option::of(base), vec(vec(expressions(), 0..6), 0..5));
    (vec(set, 0..3), vec(chain, 0..4)).prop_map(|(sets, chains)| Ruleset {
        flags: 0,
        sets: sets
            .into_iter()
            .enumerate()
            .map(|(position, (flags, key_type, key_length, mut elements))| {
                elements.sort_unstable();
                let name = format!("set{position}");
                Set {
                    name,
                    flags,
                    key_type,
                    key_length,
                    elements,
                }
            })
            .collect(),
        chains: chains
            .into_iter()
            .enumerate()
            .map(|(position, (base, rules))| Chain {
                name: format!("chain{position}"),
                base,
                rules,
            })
            .collect(),
    })
}

/// What a kernel would have after the transaction, as it would report it: its messages have the
/// shape of the requests.
fn carried_out(transaction: &Transaction) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for message in read_messages(transaction.packet()) {
        match message.kind {
            uapi::message::NEW_CHAIN => ruleset
                .chains
                .extend(read::decode_chain(&message).expect("it is well formed")),
            uapi::message::NEW_SET => ruleset
                .sets
                .extend(read::decode_set(&message).expect("it is well formed")),
            uapi::message::NEW_ELEMENTS => {
                let set = ruleset.sets.last_mut().expect("elements follow their set");
                read::decode_elements(&message, &mut set.elements).expect("they are well formed");
            }
            uapi::message::NEW_RULE => {
                let (name, rule) = read::decode_rule(&message)
                    .expect("it is well formed")
                    .expect("it is of our table");
                let chain = ruleset.chains.iter_mut().find(|chain| chain.name == name);
                chain.expect("rules follow their chain").rules.push(rule);
            }
            _ => {}
        }
    }
    ruleset
}

#[test]
fn what_no_rule_of_ours_has_equals_nothing_of_ours() {
    let mut packet = Packet::default();
    packet.message(
        uapi::message::NEW_RULE,
        0,
        &[uapi::FAMILY_INET, 0, 0, 0],
        |packet| {
            packet.name(uapi::rule::TABLE, contract::chains::TABLE);
            packet.name(uapi::rule::CHAIN, "c");
            packet.nest(uapi::rule::EXPRESSIONS, |packet| {
                packet.nest(uapi::LIST_ELEMENT, |packet| {
                    packet.name(uapi::expression::NAME, "masq")
                });
            });
        },
    );
    let [message] = read_messages(&packet)
        .try_into()
        .expect("there is one message");
    let (_, rule) = read::decode_rule(&message)
        .expect("it is well formed")
        .expect("it is of our table");
    assert_eq!(rule, [Expression::Foreign]);
}

#[test]
fn a_set_that_fills_several_messages_arrives_whole() {
    let element = |number: u32| Element {
        key: number.to_be_bytes().to_vec(),
        is_end: false,
    };
    let set = Set {
        name: "s".to_owned(),
        flags: 0,
        key_type: 0,
        key_length: 4,
        elements: (0..5000).map(element).collect(),
    };
    let ruleset = Ruleset {
        sets: vec![set],
        ..Ruleset::default()
    };
    assert_eq!(
        carried_out(&Transaction::install(
            Generation(1),
            &ruleset,
            &[],
            &Strays::default()
        )),
        ruleset
    );
}

#[test]
fn a_refused_part_is_named_by_its_number() {
    let ruleset = Ruleset {
        chains: vec![Chain {
            name: "output".to_owned(),
            base: Some(Base {
                kind: "nat".to_owned(),
                hook: 3,
                priority: 0,
                policy: 1,
            }),
            rules: vec![
                vec![Expression::Redirect],
                vec![Expression::Tracking { key: 0 }],
                vec![Expression::Tproxy { family: 2 }],
                vec![Expression::Counter],
            ],
        }],
        ..Ruleset::default()
    };
    let transaction = Transaction::install(Generation(7), &ruleset, &[], &Strays::default());
    let parts: Vec<Part> = (1..=8).map(|sequence| transaction.part(sequence)).collect();
    let expected = [
        Part::Transaction,
        Part::Table,
        Part::NatChain,
        Part::RedirectRule,
        Part::TrackingRule,
        Part::TproxyRule,
        Part::Rule,
        Part::Transaction,
    ];
    assert_eq!(parts, expected);
    assert_eq!(transaction.last(), 7);
}

proptest! {
    #[test]
    fn a_transaction_says_all_that_is_wanted(ruleset in rulesets(), replaces in any::<bool>()) {
        let doomed = if replaces { &["a", "b"][..] } else { &[] };
        let transaction = Transaction::install(Generation(1), &ruleset, doomed, &Strays::default());
        prop_assert_eq!(carried_out(&transaction), ruleset);
    }

    #[test]
    fn rulesets_differ_if_anything_in_them_does(ruleset in rulesets(), step in expressions()) {
        let mut other = ruleset.clone();
        other.chains.reverse();
        other.sets.reverse();
        prop_assert_eq!(&other, &ruleset);
        other.flags = 1;
        prop_assert_ne!(&other, &ruleset);
        other.flags = 0;
        if let Some(chain) = other.chains.first_mut() {
            chain.rules.push(vec![step]);
            prop_assert_ne!(&other, &ruleset);
        }
    }

    /// The kernel is trusted, its version is not: whatever it sends is read to an end.
    #[test]
    fn any_answer_is_read_without_a_panic(mut payload in vec(any::<u8>(), 0..200), ruleset in rulesets(), place in any::<prop::sample::Index>(), byte: u8) {
        let decode = |payload: &[u8]| {
            let message = Message { kind: 0, flags: 0, sequence: 0, payload };
            let _ = read::decode_chain(&message);
            let _ = read::decode_set(&message);
            let _ = read::decode_elements(&message, &mut Vec::new());
            let _ = read::decode_rule(&message);
        };
        decode(&payload);
        let transaction = Transaction::install(Generation(1), &ruleset, &["t"], &Strays::default());
        for message in read_messages(transaction.packet()).into_iter().take(20) {
            payload = message.payload.to_vec();
            let place = place.index(payload.len());
            payload[place] = byte;
            decode(&payload);
            payload.truncate(place);
            decode(&payload);
        }
    }
}
