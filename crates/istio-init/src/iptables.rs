//! The plan as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
//!
//! Called for `--dry-run --output iptables` with a plan that was made for
//! [`Backend::Iptables`](crate::plan::Backend); pure. A list in the plan becomes one rule for each
//! value, because iptables has one value a rule.

use std::fmt::{Display, Write as _};

use contract::ids;

use crate::{
    capture::PortRange,
    plan::{
        Action, Addresses, Families, Family, MarkRoute, Match, OneOf, Plan, Protocol, Rule, Table,
    },
};

/// IPv4's text, then, if the plan has IPv6, a comment line that says so and IPv6's text; each with
/// comments on what is needed beside the rules.
pub fn render(plan: &Plan) -> String {
    let mut text = family(plan, Family::V4);
    text.push_str(&route_comments(plan, Family::V4));
    if plan.families == Families::V4AndV6 {
        text.push_str("# IPv6, for ip6tables-restore:\n");
        text.push_str(&family(plan, Family::V6));
        text.push_str(&route_comments(plan, Family::V6));
        for address in &plan.loopback_addresses {
            text.push_str(&format!(
                "# The interface lo also needs the address {address}.\n"
            ));
        }
    }
    text
}

/// One rule without its chain, for messages: of a list only the first value and how many follow.
pub fn rule_text(rule: &Rule) -> String {
    let lines = lines(rule);
    let first = lines.first().map_or("", |line| line.trim_end());
    let chain = format!("-A {}", rule.chain.iptables_name());
    let first = first.strip_prefix(&chain).unwrap_or(first).trim_start();
    match lines.len() {
        0 | 1 => first.to_owned(),
        n_lines => format!("{first} (and {} more like it)", n_lines - 1),
    }
}

/// Comments with the commands for the family's routes; nf_tables' text has them too.
pub fn route_comments(plan: &Plan, family: Family) -> String {
    let routes = plan.mark_routes.iter();
    routes
        .filter(|route| route.family == family)
        .map(route_comment)
        .collect()
}

/// As [`family`] prints it, the input of one restore program.
pub fn family(plan: &Plan, family: Family) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let chains = plan
            .chains()
            .into_iter()
            .filter(|entry| entry.table == table);
        let own = chains.filter(|entry| entry.chain.hook().is_none());
        let declarations: String = own
            .map(|entry| format!("-N {}\n", entry.chain.iptables_name()))
            .collect();
        let rules = plan.rules.iter().filter(|rule| rule.table == table);
        let rules = rules.filter(|rule| rule.family().is_none_or(|bound| bound == family));
        let rules: String = rules.flat_map(lines).collect();
        if !rules.is_empty() {
            // The blank after the asterisk is how Istio writes it; iptables-restore skips it.
            text.push_str(&format!(
                "* {}\n{declarations}{rules}COMMIT\n",
                table.iptables_name()
            ));
        }
    }
    text
}

/// The rule once for each combination of its lists' values, the first list varying slowest.
fn lines(rule: &Rule) -> Vec<String> {
    let mut lines = vec![format!("-A {}", rule.chain.iptables_name())];
    for condition in &rule.matches {
        let alternatives = alternatives(condition);
        lines = lines
            .iter()
            .flat_map(|line| alternatives.iter().map(move |text| format!("{line}{text}")))
            .collect();
    }
    for line in &mut lines {
        // Writing to a string cannot fail.
        let _ = writeln!(line, " -j {}", target(rule.action));
    }
    lines
}

fn target(action: Action) -> String {
    match action {
        Action::Return => "RETURN".to_owned(),
        Action::Accept => "ACCEPT".to_owned(),
        Action::Jump(chain) => chain.iptables_name().to_owned(),
        Action::Redirect(port) => format!("REDIRECT --to-ports {port}"),
        Action::Tproxy { port, mark } => {
            format!("TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}")
        }
        Action::Mark(mark) => format!("MARK --set-mark {mark}"),
        Action::SaveMark => "CONNMARK --save-mark".to_owned(),
        Action::RestoreMark => "CONNMARK --restore-mark".to_owned(),
        Action::Zone(zone) => format!("CT --zone {zone}"),
        Action::OriginalZone(zone) => format!("CT --zone-orig {zone}"),
        Action::Drop => "DROP".to_owned(),
    }
}

fn route_comment(route: &MarkRoute) -> String {
    let MarkRoute {
        family,
        mark,
        table,
    } = route;
    let (option, all) = match family {
        Family::V4 => ("-4", "0.0.0.0/0"),
        Family::V6 => ("-6", "::/0"),
    };
    let (priority, protocol) = (ids::TPROXY_RULE_PRIORITY, ids::ROUTE_PROTOCOL);
    format!(
        "# Packets with the mark {mark} also need:\n\
         #   ip {option} rule add fwmark {mark:#x} lookup {table} priority {priority} protocol {protocol}\n\
         #   ip {option} route add local {all} dev lo table {table} protocol {protocol}\n"
    )
}

/// What the condition adds to a line, in one of several ways.
fn alternatives(condition: &Match) -> Vec<String> {
    match condition {
        // Each family has a file of its own.
        Match::Family(_) => vec![String::new()],
        Match::InInterface(names) => one_of("", "-i", names),
        Match::OutInterface(names) => one_of("", "-o", names),
        Match::Source(Addresses::V4(networks)) => one_of("", "-s", networks),
        Match::Source(Addresses::V6(networks)) => one_of("", "-s", networks),
        Match::Destination(Addresses::V4(networks)) => one_of("", "-d", networks),
        Match::Destination(Addresses::V6(networks)) => one_of("", "-d", networks),
        Match::Protocol(Protocol::Tcp) => vec![" -p tcp".to_owned()],
        Match::Protocol(Protocol::Udp) => vec![" -p udp".to_owned()],
        Match::SourcePort(list) => ports("sport", list),
        Match::DestinationPort(list) => ports("dport", list),
        Match::User(users) => one_of(" -m owner", "--uid-owner", users),
        Match::Group(groups) => one_of(" -m owner", "--gid-owner", groups),
        Match::Mark { mark, negated } => {
            vec![format!(" -m mark{} --mark {mark}", not(*negated))]
        }
        Match::ConnectionMark(mark) => vec![format!(" -m connmark --mark {mark}")],
        Match::Established => vec![" -m conntrack --ctstate RELATED,ESTABLISHED".to_owned()],
        Match::Invalid => vec![" -m conntrack --ctstate INVALID".to_owned()],
    }
}

/// One alternative for each value; if the list is negated, a single one in which each value is
/// excluded in turn.
fn one_of<T: Display>(module: &str, option: &str, list: &OneOf<T>) -> Vec<String> {
    if list.negated {
        let each = list
            .values
            .iter()
            .map(|value| format!("{module} ! {option} {value}"));
        vec![each.collect()]
    } else {
        let each = list
            .values
            .iter()
            .map(|value| format!("{module} {option} {value}"));
        each.collect()
    }
}

/// A rule has one `--dport`, so where several are negated another module takes them all.
fn ports(option: &str, list: &OneOf<PortRange>) -> Vec<String> {
    let values: Vec<String> = list.values.iter().map(|port| range(*port)).collect();
    match values.as_slice() {
        [_, _, ..] if list.negated => {
            vec![format!(" -m multiport ! --{option}s {}", values.join(","))]
        }
        _ => values
            .iter()
            .map(|value| format!("{} --{option} {value}", not(list.negated)))
            .collect(),
    }
}

fn not(negated: bool) -> &'static str {
    if negated { " !" } else { "" }
}

fn range(ports: PortRange) -> String {
    if ports.is_single() {
        ports.first().to_string()
    } else {
        format!("{}:{}", ports.first(), ports.last())
    }
}
