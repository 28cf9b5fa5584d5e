//! What happens to a packet: a walk through the rules of a plan, with the rules that it met.
//!
//! Called by `explain` and by the tests that hold the plans for both back ends against each other
//! and against the kernel; pure. It reads rules as the kernel does: tables one after the other in
//! the order of their priorities, chains from the top, address translation only for the first packet
//! of a connection, and what leaves by the loopback interface unredirected comes in by it.

use std::{net::IpAddr, num::NonZeroU16};

use crate::{
    capture::Interface,
    plan::{
        Action, Addresses, Backend, Chain, Families, Family, Match, OneOf, Plan, Protocol, Rule,
        Table,
    },
};

/// What rules can know of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which way it goes.
    pub direction: Direction,
    /// The interface that it came in by or leaves by, `eth0`.
    pub interface: String,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it is meant to go; of the same family as `source`.
    pub destination: IpAddr,
    /// Its transport protocol; nothing if it is neither TCP nor UDP.
    pub protocol: Option<Protocol>,
    /// Port that it comes from; 0 if its protocol has none.
    pub source_port: u16,
    /// Port that it is meant for; 0 if its protocol has none.
    pub destination_port: u16,
    /// Who sent it, if a socket of this namespace did.
    pub owner: Option<Owner>,
    /// What connection tracking makes of it.
    pub state: State,
    /// Its mark, 0 unless the socket or a rule before these gave it one.
    pub mark: u32,
    /// The mark of its connection.
    pub connection_mark: u32,
    /// Whether the proxy listens, with a transparent socket.
    pub proxy_listens: bool,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the namespace, or back to it through `lo`.
    Incoming,
    /// From a socket of the namespace.
    Outgoing,
}

/// Whose socket sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Number of the user.
    pub user: u32,
    /// Number of the group.
    pub group: u32,
}

/// What connection tracking makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is the first one of its connection.
    New,
    /// Its connection is known, and so is what happens to its addresses.
    Established,
    /// It makes no sense.
    Invalid,
}

/// How a walk ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// Its mark, by which it is routed.
    pub mark: u32,
    /// The mark of its connection, by which later packets are marked.
    pub connection_mark: u32,
    /// The zone in which connection tracking looks for its connection.
    pub zone: u16,
    /// The rules that matched, in the order in which they were met.
    pub trace: Vec<&'a Rule>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes where it is meant to go.
    Pass,
    /// It goes to this port of the pod itself.
    Redirect(NonZeroU16),
    /// It goes to the socket that listens on this port of the pod itself, its addresses unchanged.
    Tproxy(NonZeroU16),
    /// It goes nowhere.
    Drop,
}

/// A packet on its way.
struct Walk<'a> {
    plan: &'a Plan,
    backend: Backend,
    packet: &'a Packet,
    /// Where it is now.
    direction: Direction,
    mark: u32,
    connection_mark: u32,
    zone: Option<u16>,
    trace: Vec<&'a Rule>,
}

/// The interface by which a namespace reaches itself.
const LOOPBACK: &str = "lo";

/// How a chain was left.
enum Left {
    /// By its end, or by a rule that returns.
    Through,
    /// By a rule that lets the packet pass the whole table.
    Accepted,
    /// By a decision.
    With(Verdict),
}

/// Walks a packet through a plan that was made for `backend`.
pub fn walk<'a>(plan: &'a Plan, backend: Backend, packet: &'a Packet) -> Outcome<'a> {
    let mut walk = Walk {
        plan,
        backend,
        packet,
        direction: packet.direction,
        mark: packet.mark,
        connection_mark: packet.connection_mark,
        zone: None,
        trace: Vec::new(),
    };
    let verdict = walk.verdict();
    Outcome {
        verdict,
        mark: walk.mark,
        connection_mark: walk.connection_mark,
        zone: walk.zone.unwrap_or_default(),
        trace: walk.trace,
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn verdict(&mut self) -> Verdict {
        let packet = self.packet;
        let is_v4 = packet.destination.is_ipv4();
        if self.backend == Backend::Iptables && !is_v4 && self.plan.families == Families::V4 {
            // There is no file for ip6tables.
            return Verdict::Pass;
        }
        // What connection tracking cannot place is not translated, and what it knows already is.
        let is_first = packet.state == State::New;
        let nat = is_first.then_some(Table::Nat);
        let (tables, hook) = ([Table::Raw, Table::Mangle], self.hook());
        let verdict = self.tables(tables.into_iter().chain(nat), hook);
        let is_loop = packet.direction == Direction::Outgoing && packet.interface == LOOPBACK;
        if !is_loop || verdict != Verdict::Pass {
            return verdict;
        }
        // What leaves by this interface comes in by it, without its socket; whether to translate it
        // was decided on the way out.
        self.direction = Direction::Incoming;
        let hook = self.hook();
        self.tables(tables.into_iter(), hook)
    }

    fn hook(&self) -> Chain {
        match self.direction {
            Direction::Incoming => Chain::Prerouting,
            Direction::Outgoing => Chain::Output,
        }
    }

    fn tables(&mut self, tables: impl Iterator<Item = Table>, hook: Chain) -> Verdict {
        let mut verdict = Verdict::Pass;
        for table in tables {
            match self.chain(table, hook) {
                Left::With(Verdict::Drop) => return Verdict::Drop,
                Left::With(decided) => verdict = decided,
                Left::Accepted | Left::Through => {}
            }
        }
        verdict
    }

    fn chain(&mut self, table: Table, chain: Chain) -> Left {
        let plan = self.plan;
        let rules = plan.rules.iter();
        for rule in rules.filter(|rule| rule.table == table && rule.chain == chain) {
            if !self.applies(rule) {
                continue;
            }
            self.trace.push(rule);
            let left = match rule.action {
                Action::Return => return Left::Through,
                Action::Accept => Left::Accepted,
                Action::Redirect(port) => Left::With(Verdict::Redirect(port)),
                Action::Tproxy { port, mark } => self.tproxy(port, mark.get()),
                Action::Drop => Left::With(Verdict::Drop),
                Action::Jump(target) => self.chain(table, target),
                Action::Mark(_)
                | Action::SaveMark
                | Action::RestoreMark
                | Action::Zone(_)
                | Action::OriginalZone(_) => {
                    self.note(rule.action);
                    Left::Through
                }
            };
            if !matches!(left, Left::Through) {
                return left;
            }
        }
        Left::Through
    }

    /// Without a socket for the packet iptables drops it, and nf_tables goes on behind the rule.
    fn tproxy(&mut self, port: NonZeroU16, mark: u32) -> Left {
        match (self.packet.proxy_listens, self.backend) {
            (true, _) => {
                self.mark = mark;
                Left::With(Verdict::Tproxy(port))
            }
            (false, Backend::Iptables) => Left::With(Verdict::Drop),
            (false, Backend::Nftables) => Left::Through,
        }
    }

    /// Carries out an action that leaves the packet where it is. A packet that connection tracking
    /// cannot place has no connection to take a mark from or to give one to.
    fn note(&mut self, action: Action) {
        let is_tracked = self.packet.state != State::Invalid;
        match action {
            Action::Mark(mark) => self.mark = mark,
            Action::SaveMark if is_tracked => self.connection_mark = self.mark,
            Action::RestoreMark if is_tracked => self.mark = self.connection_mark,
            // Whose connection is known by now, on the way back in through `lo`, keeps its zone.
            Action::Zone(zone) | Action::OriginalZone(zone)
                if self.direction == self.packet.direction =>
            {
                self.zone = self.zone.or(Some(zone));
            }
            _ => {}
        }
    }

    fn applies(&self, rule: &Rule) -> bool {
        rule.matches.iter().all(|condition| self.holds(condition))
    }

    fn holds(&self, condition: &Match) -> bool {
        let packet = self.packet;
        let is_incoming = self.direction == Direction::Incoming;
        match condition {
            Match::Family(Family::V4) => packet.destination.is_ipv4(),
            Match::Family(Family::V6) => packet.destination.is_ipv6(),
            Match::InInterface(names) => {
                is_incoming && one_of(names, |name| is_named(name, &packet.interface))
            }
            Match::OutInterface(names) => {
                !is_incoming && one_of(names, |name| is_named(name, &packet.interface))
            }
            Match::Source(addresses) => contains(addresses, packet.source),
            Match::Destination(addresses) => contains(addresses, packet.destination),
            Match::Protocol(protocol) => packet.protocol == Some(*protocol),
            Match::SourcePort(ports) => one_of(ports, |range| range.contains(packet.source_port)),
            Match::DestinationPort(ports) => {
                one_of(ports, |range| range.contains(packet.destination_port))
            }
            Match::User(users) => self.is_owned(users, |owner| owner.user),
            Match::Group(groups) => self.is_owned(groups, |owner| owner.group),
            Match::Mark { mark, negated } => (self.mark == *mark) != *negated,
            Match::ConnectionMark(mark) => {
                packet.state != State::Invalid && self.connection_mark == *mark
            }
            Match::Established => packet.state == State::Established,
            Match::Invalid => packet.state == State::Invalid,
        }
    }

    /// Without an owner a negated match holds in iptables and no match at all in nf_tables.
    fn is_owned(&self, owners: &OneOf<u32>, number: impl Fn(Owner) -> u32) -> bool {
        let owner = self
            .packet
            .owner
            .filter(|_| self.direction == Direction::Outgoing);
        match owner {
            Some(owner) => one_of(owners, |known| *known == number(owner)),
            None => owners.negated && self.backend == Backend::Iptables,
        }
    }
}

fn one_of<T>(list: &OneOf<T>, is: impl Fn(&T) -> bool) -> bool {
    list.values.iter().any(is) != list.negated
}

fn is_named(name: &Interface, interface: &str) -> bool {
    if name.is_prefix() {
        interface.starts_with(name.stem())
    } else {
        interface == name.stem()
    }
}

fn contains(addresses: &Addresses, address: IpAddr) -> bool {
    match (addresses, address) {
        (Addresses::V4(networks), IpAddr::V4(address)) => {
            one_of(networks, |network| network.contains(&address))
        }
        (Addresses::V6(networks), IpAddr::V6(address)) => {
            one_of(networks, |network| network.contains(&address))
        }
        (Addresses::V4(_), IpAddr::V6(_)) | (Addresses::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::plan::Rule;

    fn rule(table: Table, chain: Chain, matches: Vec<Match>, action: Action) -> Rule {
        Rule {
            table,
            chain,
            matches,
            action,
        }
    }

    fn packet(state: State) -> Packet {
        Packet {
            direction: Direction::Outgoing,
            interface: "eth0".to_owned(),
            source: Ipv4Addr::new(10, 0, 0, 1).into(),
            destination: Ipv4Addr::new(10, 0, 0, 2).into(),
            protocol: Some(Protocol::Tcp),
            source_port: 40000,
            destination_port: 80,
            owner: None,
            state,
            mark: 0,
            connection_mark: 0,
            proxy_listens: true,
        }
    }

    #[test]
    fn the_trace_names_the_rules_that_matched_and_no_others() {
        let port = NonZeroU16::new(15001).expect("not zero");
        let jump = Action::Jump(Chain::IstioOutput);
        let udp = vec![Match::Protocol(Protocol::Udp)];
        let plan = Plan {
            families: Families::V4,
            rules: vec![
                rule(Table::Nat, Chain::Output, Vec::new(), jump),
                rule(Table::Nat, Chain::IstioOutput, udp, Action::Return),
                rule(
                    Table::Nat,
                    Chain::IstioOutput,
                    Vec::new(),
                    Action::Redirect(port),
                ),
                rule(Table::Nat, Chain::Output, Vec::new(), Action::Drop),
            ],
            loopback_addresses: Vec::new(),
            mark_routes: Vec::new(),
        };
        let first = packet(State::New);
        let outcome = walk(&plan, Backend::Nftables, &first);
        assert_eq!(outcome.verdict, Verdict::Redirect(port));
        assert_eq!(outcome.trace, [&plan.rules[0], &plan.rules[2]]);
        for state in [State::Established, State::Invalid] {
            let later = packet(state);
            let outcome = walk(&plan, Backend::Nftables, &later);
            assert_eq!(
                (outcome.verdict, outcome.trace),
                (Verdict::Pass, Vec::new())
            );
        }
    }
}
