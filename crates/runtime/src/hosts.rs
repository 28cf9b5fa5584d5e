//! Names that the hosts file knows, which go before DNS, as with glibc.
//!
//! For programs that cannot use libc's own look-up, because it loads libraries at run time and they are static. A resolver looks into the
//! file too, but only after it has asked DNS for the name below each search domain, which takes its time where DNS does not answer.

use std::{net::IpAddr, str::FromStr as _};

use hickory_resolver::proto::{
    op::Query,
    rr::{Name, RecordType},
};

/// The hosts file as it was when it was read.
#[derive(Debug, Default)]
pub struct Hosts(hickory_resolver::Hosts);

// === impl Hosts ===

impl Hosts {
    /// Reads the system's; one that is not there or cannot be read knows nothing.
    #[must_use]
    pub fn from_system() -> Self {
        Self(hickory_resolver::Hosts::from_system().unwrap_or_default())
    }

    /// What a file with this text would say; lines that make no sense are passed over.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut hosts = hickory_resolver::Hosts::default();
        // Bytes in memory cannot fail to be read, and what was read before a fault counts.
        let _ = hosts.read_hosts_conf(text.as_bytes());
        Self(hosts)
    }

    /// The addresses of `name`, those of IPv6 first; none if the file does not have it.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_str(name) else {
            return Vec::new();
        };
        [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(|kind| self.0.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|lookup| {
                let records = lookup.answers().iter();
                records
                    .filter_map(|record| record.data.ip_addr())
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_addresses_of_both_families_in_any_case() {
        let hosts =
            Hosts::from_text("192.0.2.7 istiod istiod.istio-system.svc\n2001:db8::7 ISTIOD\n");
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let v6: IpAddr = "2001:db8::7".parse().unwrap();
        assert_eq!(hosts.addresses("istiod"), [v6, v4]);
        assert_eq!(hosts.addresses("Istiod"), [v6, v4]);
        assert_eq!(hosts.addresses("istiod.istio-system.svc"), [v4]);
    }

    #[test]
    fn what_is_unknown_or_no_name_has_none() {
        let hosts = Hosts::from_text("no address\n192.0.2.7\n");
        for name in ["other", "", "two words", &"a".repeat(300)] {
            assert_eq!(hosts.addresses(name), [] as [IpAddr; 0], "{name}");
        }
    }
}
