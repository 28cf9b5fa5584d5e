use proptest::prelude::*;

use super::*;

const KIND: u16 = 0x0a06;

fn attribute_of(packet: &Packet, header: usize) -> Vec<(u16, Vec<u8>)> {
    let message = messages(packet.bytes())
        .next()
        .expect("there is a message")
        .expect("it is whole");
    let attributes = message
        .attributes(header)
        .map(|attribute| attribute.expect("it is whole"));
    attributes
        .map(|attribute| (attribute.kind, attribute.value.to_vec()))
        .collect()
}

#[test]
fn an_acknowledgement_is_asked_for_by_a_flag_of_the_last_message() {
    let mut packet = Packet::default();
    packet.message(KIND, flags::CREATE, &[], |packet| packet.name(1, "first"));
    packet.message(KIND, flags::CREATE, &[], |packet| packet.name(1, "second"));
    packet.acknowledge_last();
    let flags: Vec<u16> = messages(packet.bytes())
        .map(|message| message.expect("it is whole").flags)
        .collect();
    let plain = flags::REQUEST | flags::CREATE;
    assert_eq!(flags, [plain, plain | flags::ACKNOWLEDGE]);
}

#[test]
fn an_outcome_is_read_from_errors_and_ends_of_lists() {
    let check = |kind: u16, payload: &[u8], outcome: Result<Outcome, Malformed>| {
        let message = Message {
            kind,
            flags: 0,
            sequence: 1,
            payload,
        };
        assert_eq!(message.outcome(), outcome, "{kind} {payload:?}");
    };
    check(2, &0i32.to_ne_bytes(), Ok(Outcome::Done));
    check(
        2,
        &(-1i32).to_ne_bytes(),
        Ok(Outcome::Refused(Errno::EPERM)),
    );
    check(
        2,
        &i32::MIN.to_ne_bytes(),
        Ok(Outcome::Refused(Errno::UnknownErrno)),
    );
    check(2, &[0, 0], Err(Malformed::Length));
    check(3, &[], Ok(Outcome::Done));
    check(
        3,
        &(-2i32).to_ne_bytes(),
        Ok(Outcome::Refused(Errno::ENOENT)),
    );
    check(KIND, &[], Ok(Outcome::Data));
}

#[test]
fn numbers_and_names_of_another_shape_are_refused() {
    let attribute = |value| Attribute { kind: 7, value };
    assert_eq!(attribute(&[0, 0, 1, 2]).number(), Ok(258));
    assert_eq!(
        attribute(&[1, 2]).number(),
        Err(Malformed::Number { kind: 7, size: 4 })
    );
    assert_eq!(attribute(b"lo\0").name(), Ok("lo"));
    for name in [&b"lo"[..], b"", b"\xff\0"] {
        assert_eq!(
            attribute(name).name(),
            Err(Malformed::Name { kind: 7 }),
            "{name:?}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(values in prop::collection::vec((1u16..0x3fff, prop::collection::vec(any::<u8>(), 0..40)), 0..10), header in 0usize..3) {
        let mut packet = Packet::default();
        let header = vec![0; header * 4];
        packet.message(KIND, 0, &header, |packet| {
            for (kind, value) in &values {
                packet.bytes_attribute(*kind, value);
            }
        });
        prop_assert_eq!(attribute_of(&packet, header.len()), values);
    }

    #[test]
    fn nested_attributes_are_read(numbers in prop::collection::vec(any::<u32>(), 0..10)) {
        let mut packet = Packet::default();
        packet.message(KIND, 0, &[], |packet| {
            packet.nest(4, |packet| numbers.iter().for_each(|number| packet.number(1, *number)));
        });
        let list = attribute_of(&packet, 0);
        let list = Attribute { kind: list[0].0, value: &list[0].1 };
        let read: Vec<u32> = list.nested().map(|number| number.and_then(|number| number.number()).expect("it is whole")).collect();
        prop_assert_eq!(list.kind, 4);
        prop_assert_eq!(read, numbers);
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), header in 0usize..20) {
        let read = messages(&bytes).take(1000).collect::<Vec<_>>();
        prop_assert!(read.len() < 1000);
        for message in read.into_iter().flatten() {
            let _ = message.outcome();
            prop_assert!(message.attributes(header).take(1000).count() < 1000);
        }
    }

    /// A kernel would never do this, which is why nobody would notice.
    #[test]
    fn a_message_that_is_cut_off_is_an_error(keep in 0usize..40) {
        let mut packet = Packet::default();
        packet.message(KIND, 0, &[], |packet| packet.bytes_attribute(1, &[7; 20]));
        let cut = packet.bytes().get(..keep).expect("the message is longer");
        let outcome: Result<Vec<_>, _> = messages(cut).collect();
        prop_assert_eq!(outcome.is_err(), keep > 0);
    }
}

/// The messages of a packet, for tests of those who write them.
pub(crate) fn read_messages(packet: &Packet) -> Vec<Message<'_>> {
    messages(packet.bytes())
        .collect::<Result<_, _>>()
        .expect("what we write is whole")
}
