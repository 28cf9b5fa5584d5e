use proptest::prelude::*;

use super::*;
use crate::{
    accounts::SystemAccounts,
    args::{self, Invocation},
    plan::Families,
    rules,
    walk::Direction,
};

fn read(words: &[&str]) -> Result<Request, ExplainError> {
    Request::read(words.iter().map(OsString::from).collect())
}

fn answer(words: &[&str]) -> String {
    let request = read(words).expect("the words are right");
    let Ok(Invocation::Run(config)) =
        args::parse(request.flags.clone(), &|_| None, &SystemAccounts).1
    else {
        panic!("{:?}", request.flags);
    };
    let plan = rules::plan(&config.capture, Families::V4AndV6, config.backend);
    request.answer(&plan, config.backend)
}

#[test]
fn the_answer_names_the_rules_and_what_becomes_of_the_packet() {
    let packet = "tcp out 10.0.0.1:80 uid 1000";
    assert_eq!(
        answer(&["--packet", packet, "-i", "*", "-u", "1337"]),
        "tcp out 10.0.0.1:80 uid 1000\n  output-raw: meta l4proto tcp jump ISTIO_OUTPUT-raw\n  output: jump ISTIO_OUTPUT\n  ISTIO_OUTPUT: jump ISTIO_REDIRECT\n  \
         ISTIO_REDIRECT: meta l4proto tcp counter redirect to :15001\n  => captured: redirected to port 15001 of the pod itself\n"
    );
    assert_eq!(
        answer(&[
            "--packet=tcp in 10.0.0.1:22",
            "-b",
            "80",
            "--backend=iptables"
        ]),
        "tcp in 10.0.0.1:22\n  PREROUTING: -p tcp -j ISTIO_INBOUND\n  => passes: it goes where it is meant to go\n"
    );
    assert_eq!(
        answer(&["--packet=udp out [fd00::1]:443"]),
        "udp out [fd00::1]:443\n  output: jump ISTIO_OUTPUT\n  => passes: it goes where it is meant to go\n"
    );
}

#[test]
fn for_programs_there_is_an_object_a_line() {
    let words = [
        "--packet",
        "tcp out 10.0.0.1:80",
        "--packet",
        "tcp out 10.0.0.1:22",
        "-o",
        "json",
        "-o",
        "22",
        "-i",
        "*",
    ];
    let text = answer(&words);
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an object"))
        .collect();
    assert_eq!(answers[0]["verdict"], "redirect");
    assert_eq!(answers[0]["port"], 15001);
    assert_eq!(answers[0]["rules"][2]["chain"], "ISTIO_OUTPUT");
    assert_eq!(answers[1]["verdict"], "pass");
    assert_eq!(answers[1]["rules"][2]["rule"], "tcp dport 22 return");
}

#[test]
fn facts_are_given_by_name_and_else_those_of_an_ordinary_connection() {
    let packet = parse("tcp out 10.0.0.1:80").expect("a packet");
    assert_eq!(
        (packet.interface.as_str(), packet.destination_port),
        ("eth0", 80)
    );
    assert_eq!(
        packet.owner.map(|owner| (owner.user, owner.group)),
        Some((1000, 1000))
    );
    let packet = parse("tcp out 127.0.0.1:80 uid 1337").expect("a packet");
    assert_eq!(
        (
            packet.interface.as_str(),
            packet.source.to_string().as_str()
        ),
        ("lo", "127.0.0.1")
    );
    assert_eq!(packet.owner.map(|owner| owner.group), Some(1337));
    let packet =
        parse("udp in ::1 from [::6]:53 dev eth9 state established mark 7 connmark 8 proxy down");
    let packet = packet.expect("a packet");
    assert_eq!(
        (packet.direction, packet.owner),
        (Direction::Incoming, None)
    );
    assert_eq!(
        (packet.source_port, packet.mark, packet.connection_mark),
        (53, 7, 8)
    );
    assert!(!packet.proxy_listens && packet.interface == "eth9");
}

#[test]
fn an_error_names_the_word_and_what_it_should_be() {
    for (words, named) in [
        ("", "a protocol: tcp, udp or other is missing"),
        ("sctp out 1.2.3.4:1", "\"sctp\": expected a protocol"),
        ("tcp up 1.2.3.4:1", "\"up\": expected a direction"),
        (
            "tcp out nowhere:80",
            "\"nowhere:80\": expected a destination",
        ),
        (
            "tcp out 1.2.3.4:99999",
            "\"1.2.3.4:99999\": expected a destination",
        ),
        (
            "tcp out 1.2.3.4:1 uid root",
            "\"root\": expected the number of a user",
        ),
        ("tcp out 1.2.3.4:1 uid", "the number of a user is missing"),
        (
            "tcp out 1.2.3.4:1 frobnicate",
            "\"frobnicate\": expected from, dev",
        ),
        ("tcp in 1.2.3.4:1 uid 7", "what comes in has no user here"),
        (
            "tcp out 1.2.3.4:1 from ::1",
            "\"::1\": source and destination are of the same family",
        ),
        ("tcp out 1.2.3.4:1 state odd", "\"odd\": expected a state"),
    ] {
        let error = read(&["--packet", words])
            .expect_err("the packet is wrong")
            .to_string();
        assert!(error.contains(named), "{error}");
    }
    assert_eq!(read(&["-i", "*"]), Err(ExplainError::NoPacket));
    assert_eq!(read(&["--packet"]), Err(ExplainError::NoPacket));
}

proptest! {
    #[test]
    fn any_words_are_read_to_a_packet_or_an_error(words in "(tcp|udp|other)? ?(in|out)? ?[0-9.:\\[\\]a-f]{0,20} ?(from|dev|uid|gid|state|mark)? ?\\PC{0,20}") {
        if let Ok(packet) = parse(&words) {
            prop_assert_eq!(packet.source.is_ipv4(), packet.destination.is_ipv4());
        }
    }
}
