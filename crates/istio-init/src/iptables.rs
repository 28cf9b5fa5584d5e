//! The plan as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
//!
//! Called for `--dry-run --output iptables` with a plan that was made for
//! [`Backend::Iptables`](crate::plan::Backend); pure. A list in the plan becomes one rule for each
//! value, because iptables has one value a rule.

use std::fmt::{Display, Write as _};

use crate::{
    capture::PortRange,
    plan::{Action, Addresses, Families, Family, Match, OneOf, Plan, Protocol, Rule, Table},
};

/// IPv4's text, then, if the plan has IPv6, a comment line that says so and IPv6's text.
pub fn render(plan: &Plan) -> String {
    let mut text = family(plan, Family::V4);
    if plan.families == Families::V4AndV6 {
        text.push_str("# IPv6, for ip6tables-restore:\n");
        text.push_str(&family(plan, Family::V6));
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

fn family(plan: &Plan, family: Family) -> String {
    let mut text = String::new();
    for table in [Table::Mangle, Table::Nat] {
        let chains = plan
            .chains()
            .into_iter()
            .filter(|entry| entry.table == table);
        let own = chains.filter(|entry| !entry.chain.is_base());
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
        let _ = match rule.action {
            Action::Return => writeln!(line, " -j RETURN"),
            Action::Jump(chain) => writeln!(line, " -j {}", chain.iptables_name()),
            Action::Redirect(port) => writeln!(line, " -j REDIRECT --to-ports {port}"),
            Action::Drop => writeln!(line, " -j DROP"),
        };
    }
    lines
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
        Match::DestinationPort(ports) => {
            let values = ports.values.iter().map(|port| range(*port)).collect();
            let negated = ports.negated;
            one_of(
                "",
                "--dport",
                &OneOf {
                    name: "",
                    values,
                    negated,
                },
            )
        }
        Match::User(users) => one_of(" -m owner", "--uid-owner", users),
        Match::Group(groups) => one_of(" -m owner", "--gid-owner", groups),
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

fn range(ports: PortRange) -> String {
    if ports.is_single() {
        ports.first().to_string()
    } else {
        format!("{}:{}", ports.first(), ports.last())
    }
}
