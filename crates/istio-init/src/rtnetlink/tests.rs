use std::num::NonZeroU32;

use proptest::{collection::vec, prelude::*};

use super::routes::{LocalRoute, RoutingRule, decode_route, decode_rule};
use crate::{
    netlink::{Message, Packet, tests::read_messages},
    plan::{Family, MarkRoute},
};

fn routes() -> impl Strategy<Value = MarkRoute> {
    (any::<bool>(), 1u32.., 1u32..).prop_map(|(is_v4, mark, table)| MarkRoute {
        family: if is_v4 { Family::V4 } else { Family::V6 },
        mark: NonZeroU32::new(mark).expect("it is not zero"),
        table: NonZeroU32::new(table).expect("it is not zero"),
    })
}

proptest! {
    /// The kernel reports what it has in the form of the request that made it.
    #[test]
    fn what_is_asked_for_is_recognised_when_it_is_there(route in routes()) {
        let (rule, local) = (RoutingRule::wanted(&route), LocalRoute::wanted(&route));
        let mut packet = Packet::default();
        packet.message(0, 0, &rule.header(), |packet| rule.encode(packet));
        packet.message(0, 0, &local.header(), |packet| local.encode(packet));
        let messages = read_messages(&packet);
        prop_assert_eq!(decode_rule(&messages[0]), Ok(Some(rule)));
        prop_assert_eq!(decode_route(&messages[1]), Ok(Some(local)));
        prop_assert!(rule.is_ours() && local.is_ours());
    }

    #[test]
    fn any_answer_is_read_without_a_panic(payload in vec(any::<u8>(), 0..80)) {
        let message = Message { kind: 0, flags: 0, sequence: 0, payload: &payload };
        let _ = decode_rule(&message);
        let _ = decode_route(&message);
    }
}
