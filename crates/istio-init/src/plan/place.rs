//! Where a rule stands: tables and chains, with their names in either kernel interface.
//!
//! Part of the [plan](super); pure. iptables spreads the rules over tables that may have chains of
//! the same name; nf_tables has one table of ours, so there the chains' names tell them apart.

use contract::chains;

/// iptables' tables, in the order in which its output lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Before address translation, all packets.
    Mangle,
    /// Address translation: the first packet of each connection.
    Nat,
    /// Before connection tracking, all packets.
    Raw,
}

/// Chains; `Prerouting` and `Output` hang on the kernel's hooks, the others are jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Packets that come in.
    Prerouting,
    /// Packets that local processes send.
    Output,
    /// Decides which inbound connections are captured.
    IstioInbound,
    /// Redirects to the outbound port.
    IstioRedirect,
    /// Redirects to the inbound port.
    IstioInRedirect,
    /// Decides which outbound connections are captured, and which are tracked in a zone of their own.
    IstioOutput,
    /// Redirects questions to DNS servers, and gives them a zone of connection tracking.
    IstioOutputDns,
    /// Marks packets of connections that the proxy has.
    IstioDivert,
    /// Hands new connections to the proxy.
    IstioTproxy,
    /// Drops.
    IstioDrop,
}

// === impl Table ===

impl Table {
    /// Every table.
    pub const ALL: [Self; 3] = [Self::Mangle, Self::Nat, Self::Raw];

    /// Its name in iptables.
    pub fn iptables_name(self) -> &'static str {
        match self {
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Raw => "raw",
        }
    }

    /// Priority of its base chains: the one that iptables has for this table. Lower ones come
    /// first; connection tracking begins at -200.
    pub fn priority(self) -> i32 {
        match self {
            Self::Raw => -300,
            Self::Mangle => -150,
            Self::Nat => -100,
        }
    }
}

// === impl Chain ===

impl Chain {
    /// The kernel's hook that the chain hangs on, if it does.
    pub fn hook(self) -> Option<&'static str> {
        match self {
            Self::Prerouting => Some("prerouting"),
            Self::Output => Some("output"),
            Self::IstioInbound
            | Self::IstioRedirect
            | Self::IstioInRedirect
            | Self::IstioOutput
            | Self::IstioOutputDns
            | Self::IstioDivert
            | Self::IstioTproxy
            | Self::IstioDrop => None,
        }
    }

    /// Type of the chain in nf_tables if it is a base chain: one that changes marks of what leaves
    /// has to have the kernel look for the route again.
    pub fn nft_type(self, table: Table) -> &'static str {
        match (table, self) {
            (Table::Nat, _) => "nat",
            (Table::Mangle, Self::Output) => "route",
            (Table::Mangle | Table::Raw, _) => "filter",
        }
    }

    /// Its name in iptables.
    pub fn iptables_name(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Output => "OUTPUT",
            Self::IstioInbound => chains::ISTIO_INBOUND,
            Self::IstioRedirect => chains::ISTIO_REDIRECT,
            Self::IstioInRedirect => chains::ISTIO_IN_REDIRECT,
            Self::IstioOutput => chains::ISTIO_OUTPUT,
            Self::IstioOutputDns => chains::ISTIO_OUTPUT_DNS,
            Self::IstioDivert => chains::ISTIO_DIVERT,
            Self::IstioTproxy => chains::ISTIO_TPROXY,
            Self::IstioDrop => chains::ISTIO_DROP,
        }
    }

    /// Its name in the one table of nf_tables.
    pub fn nft_name(self, table: Table) -> &'static str {
        match (self, table) {
            (Self::Prerouting, Table::Nat) => chains::PREROUTING,
            (Self::Prerouting, Table::Mangle) => chains::PREROUTING_MANGLE,
            (Self::Prerouting, Table::Raw) => chains::PREROUTING_RAW,
            (Self::Output, Table::Nat) => chains::OUTPUT,
            (Self::Output, Table::Mangle) => chains::OUTPUT_MANGLE,
            (Self::Output, Table::Raw) => chains::OUTPUT_RAW,
            (Self::IstioInbound, Table::Mangle) => chains::ISTIO_INBOUND_MANGLE,
            (Self::IstioInbound, Table::Raw) => chains::ISTIO_INBOUND_RAW,
            (Self::IstioOutput, Table::Raw) => chains::ISTIO_OUTPUT_RAW,
            (Self::IstioOutputDns, Table::Raw) => chains::ISTIO_OUTPUT_DNS_RAW,
            (
                Self::IstioInbound
                | Self::IstioRedirect
                | Self::IstioInRedirect
                | Self::IstioOutput
                | Self::IstioOutputDns
                | Self::IstioDivert
                | Self::IstioTproxy
                | Self::IstioDrop,
                _,
            ) => self.iptables_name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_chains_of_the_one_table_share_a_name() {
        let chains = [
            Chain::Prerouting,
            Chain::Output,
            Chain::IstioInbound,
            Chain::IstioOutput,
            Chain::IstioOutputDns,
        ];
        let mut names: Vec<&str> = chains
            .iter()
            .flat_map(|chain| Table::ALL.map(|table| chain.nft_name(table)))
            .collect();
        names.sort_unstable();
        names.dedup();
        // These two have no chain in the mangle table, so there the name is free.
        assert_eq!(names.len(), 13, "{names:?}");
    }
}
