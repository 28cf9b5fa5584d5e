//! What is to be captured, from its options.
//!
//! Part of the checks; each function reads the options that decide about one part of a capture.

use std::num::{NonZeroU16, NonZeroU32};

use contract::ids;

use super::{ALL, Checker};
use crate::{
    apply::Leftovers,
    args::{
        Warning,
        options::{self as option, Spec},
        values,
    },
    capture::{
        Capture, Destinations, Dns, Inbound, Interception, LOOPBACK_V4, OwnerGroups, PortRange,
    },
    plan::{Family, MarkRoute},
};

// === impl Checker ===

impl Checker<'_> {
    pub(super) fn capture(&mut self) -> Capture {
        let proxy_uids = self.proxy_uids();
        let proxy_gids = self.proxy_gids(&proxy_uids);
        let included_ports = self.ports(&option::OUTBOUND_PORTS);
        let excluded_ports = self.ports(&option::OUTBOUND_PORTS_EXCLUDE);
        self.overlaps(
            &included_ports,
            &option::OUTBOUND_PORTS,
            &excluded_ports,
            &option::OUTBOUND_PORTS_EXCLUDE,
        );
        Capture {
            outbound_port: self.value(&option::ENVOY_PORT, NonZeroU16::MIN, values::port),
            inbound_port: self.value(&option::INBOUND_CAPTURE_PORT, NonZeroU16::MIN, values::port),
            tunnel_port: self.value(&option::INBOUND_TUNNEL_PORT, NonZeroU16::MIN, values::port),
            proxy_uids,
            proxy_gids,
            interception: self.interception(),
            inbound: self.inbound(),
            destinations: match self.settings.of(&option::SERVICE_CIDR).value {
                ALL => Destinations::All,
                _ => Destinations::Only(self.networks(&option::SERVICE_CIDR)),
            },
            excluded_destinations: self.networks(&option::SERVICE_EXCLUDE_CIDR),
            included_ports,
            excluded_ports,
            excluded_interfaces: self.interfaces(&option::EXCLUDE_INTERFACES),
            virtual_interfaces: self.interfaces(&option::KUBE_VIRT_INTERFACES),
            owner_groups: self.owner_groups(),
            dns: self.dns(),
            loopback: self.value(&option::LOOPBACK_CIDR, LOOPBACK_V4, values::loopback),
            drop_invalid: self.switch(&option::DROP_INVALID),
        }
    }

    fn mark_and_table(&mut self) -> (NonZeroU32, NonZeroU32) {
        let (mark, table) = (&option::TPROXY_MARK, &option::TPROXY_ROUTE_TABLE);
        (
            self.value(mark, NonZeroU32::MIN, values::mark),
            self.value(table, NonZeroU32::MIN, values::route_table),
        )
    }

    pub(super) fn leftovers(&mut self) -> Option<Leftovers> {
        let (mark, table) = self.mark_and_table();
        let families = [Family::V4, Family::V6].map(|family| MarkRoute {
            family,
            mark,
            table,
        });
        self.switch(&option::CLEANUP_ISTIO).then(|| Leftovers {
            mark_routes: families.to_vec(),
        })
    }

    fn interception(&mut self) -> Interception {
        let (mark, table) = self.mark_and_table();
        self.value(&option::MODE, Interception::Redirect, |mode| match mode {
            "" | "REDIRECT" => Ok(Interception::Redirect),
            "TPROXY" => Ok(Interception::Tproxy { mark, table }),
            _ => Err("REDIRECT or TPROXY".to_owned()),
        })
    }

    /// The servers are not known here: who reads the resolver's configuration fills them in.
    fn dns(&mut self) -> Dns {
        let (redirect, all) = (
            self.switch(&option::REDIRECT_DNS),
            self.switch(&option::CAPTURE_ALL_DNS),
        );
        match (redirect, all) {
            (false, _) => Dns::Off,
            (true, false) => Dns::Servers(Vec::new()),
            (true, true) => Dns::All,
        }
    }

    fn inbound(&mut self) -> Inbound {
        let excluded = self.ports(&option::LOCAL_EXCLUDE_PORTS);
        match self.settings.of(&option::INBOUND_PORTS).value {
            "" => Inbound::None,
            ALL => Inbound::All { except: excluded },
            _ => {
                let ports = self.ports(&option::INBOUND_PORTS);
                let except = self.overlaps(
                    &ports,
                    &option::INBOUND_PORTS,
                    &excluded,
                    &option::LOCAL_EXCLUDE_PORTS,
                );
                Inbound::Only { ports, except }
            }
        }
    }

    /// Notes and returns the excluded ranges that overlap with included ones.
    fn overlaps(
        &mut self,
        included: &[PortRange],
        included_by: &'static Spec,
        excluded: &[PortRange],
        excluded_by: &'static Spec,
    ) -> Vec<PortRange> {
        let overlaps = |range: &PortRange| included.iter().any(|port| port.overlaps(*range));
        let overlapping: Vec<_> = excluded.iter().copied().filter(overlaps).collect();
        self.warnings
            .extend(overlapping.iter().map(|range| Warning::Excluded {
                ports: range.to_string(),
                included_by: included_by.flag,
                excluded_by: excluded_by.flag,
            }));
        overlapping
    }

    fn proxy_uids(&mut self) -> Vec<u32> {
        let accounts = self.accounts;
        if self.settings.of(&option::PROXY_UID).value.is_empty() {
            let user = self.settings.of(&option::ENVOY_USER).value;
            return vec![accounts.user(user).unwrap_or(ids::PROXY_UID)];
        }
        self.owners(&option::PROXY_UID, "user", &|name| accounts.user(name))
    }

    fn proxy_gids(&mut self, proxy_uids: &[u32]) -> Vec<u32> {
        let accounts = self.accounts;
        if self.settings.of(&option::PROXY_GID).value.is_empty() {
            return proxy_uids.to_vec();
        }
        self.owners(&option::PROXY_GID, "group", &|name| accounts.group(name))
    }

    fn owner_groups(&mut self) -> OwnerGroups {
        let accounts = self.accounts;
        let find = |name: &str| accounts.group(name);
        let except = self.owners(&option::OWNER_GROUPS_EXCLUDE, "group", &find);
        match self.settings.of(&option::OWNER_GROUPS).value {
            ALL => OwnerGroups::All { except },
            _ => OwnerGroups::Only(self.owners(&option::OWNER_GROUPS, "group", &find)),
        }
    }
}
