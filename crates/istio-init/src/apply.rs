//! Bringing a plan into force: read, compare, one transaction, read again.
//!
//! Called by [`app`](crate::app). If the kernel already has what the plan wants, nothing is
//! written; otherwise the whole table is replaced in one transaction, which fails if anybody
//! changes rules in between, and then it all begins again. Success is said only after reading back.

use std::fmt;

use ipnet::Ipv6Net;

use crate::{
    netlink::NetlinkError,
    nfnetlink::{Generation, NfTables, RulesError, Ruleset, Transaction, lower},
    plan::{Families, Plan},
    rtnetlink::Addresses,
    rules,
};

/// The network namespace of the process.
#[derive(Debug)]
pub struct Namespace {
    addresses: Addresses,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was no table of ours.
    Installed {
        /// How many rules there are now.
        n_rules: usize,
    },
    /// There was a different one.
    Replaced {
        /// How many rules there are now.
        n_rules: usize,
    },
    /// There was just this one.
    Unchanged,
    /// It is gone.
    Removed,
    /// There was nothing to remove.
    Absent,
}

/// Why the plan is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The addresses of the namespace cannot be listed.
    #[error("cannot tell whether the network namespace has IPv6")]
    Families {
        /// What went wrong.
        source: NetlinkError,
    },
    /// The loopback interface could not be given its extra address, or be rid of it.
    #[error(
        "cannot change the addresses of the interface lo; is the sysctl net.ipv6.conf.lo.disable_ipv6 set?"
    )]
    Loopback {
        /// What went wrong.
        source: NetlinkError,
    },
    /// The rules could not be read or changed.
    #[error("cannot set the rules")]
    Rules {
        /// What went wrong.
        #[from]
        source: RulesError,
    },
    /// The rules kept changing.
    #[error(
        "cannot set the rules because somebody else changed packet rules {ATTEMPTS} times meanwhile; try again"
    )]
    Contended,
    /// The kernel said yes and has something else.
    #[error(
        "the rules that the kernel reports are not those that were set; the kernel is too old or somebody else changes them"
    )]
    Different,
}

/// Others change rules rarely; if they do it this often, it is not by chance.
const ATTEMPTS: usize = 16;

// === impl Namespace ===

impl Namespace {
    /// Opens the namespace that the process is in; needs no privilege.
    ///
    /// # Errors
    /// Where the kernel gives no socket.
    pub fn open() -> Result<Self, ApplyError> {
        match Addresses::open() {
            Ok(addresses) => Ok(Self { addresses }),
            Err(source) => Err(ApplyError::Families { source }),
        }
    }

    /// The families that the namespace speaks.
    ///
    /// # Errors
    /// Where the kernel does not list its addresses.
    pub fn families(&mut self) -> Result<Families, ApplyError> {
        let families = self.addresses.families();
        families.map_err(|source| ApplyError::Families { source })
    }

    /// Brings the plan into force, even if it is in force already with `force`.
    ///
    /// # Errors
    /// What stood in the way. Then either nothing was changed or, with [`ApplyError::Different`],
    /// what the kernel has is not to be trusted.
    pub fn apply(&mut self, plan: &Plan, force: bool) -> Result<Outcome, ApplyError> {
        let mut added = Vec::new();
        let outcome = self.converge(plan, force, &mut added);
        if outcome.is_err() {
            // The first error is what the user must know, whatever comes of this.
            let _ = self.remove_addresses(&added);
        }
        outcome
    }

    /// Whether just this plan is in force; changes nothing.
    ///
    /// # Errors
    /// What stood in the way of reading.
    pub fn holds(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        let wanted = lower(plan);
        let mut kernel = NfTables::open()?;
        let has_rules = holds_rules(&mut kernel, &wanted)?;
        let has_addresses = self.addresses.are_on_loopback(&plan.loopback_addresses);
        Ok(has_rules && has_addresses.map_err(|source| ApplyError::Families { source })?)
    }

    /// Reads the rules of the namespace that the process is in, and forgets them: whether that works is all there is to know.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn probe() -> Result<(), ApplyError> {
        read(&mut NfTables::open()?).map(drop)
    }

    /// Removes every trace.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn remove(&mut self) -> Result<Outcome, ApplyError> {
        let mut kernel = NfTables::open()?;
        for _ in 0..ATTEMPTS {
            let Some((generation, found)) = read(&mut kernel)? else {
                continue;
            };
            if found.is_some() {
                match kernel.commit(&Transaction::remove(generation)) {
                    Err(RulesError::Stale) => continue,
                    other => other?,
                }
            }
            let families = self.families()?;
            let had_address = self.remove_addresses(rules::loopback_addresses(families))?;
            return Ok(match found.is_some() || had_address {
                true => Outcome::Removed,
                false => Outcome::Absent,
            });
        }
        Err(ApplyError::Contended)
    }

    /// In `added` stand the addresses that are of no use as long as the rules are not in force.
    fn converge(
        &mut self,
        plan: &Plan,
        force: bool,
        added: &mut Vec<Ipv6Net>,
    ) -> Result<Outcome, ApplyError> {
        let wanted = lower(plan);
        let n_rules = wanted.n_rules();
        let mut kernel = NfTables::open()?;
        for _ in 0..ATTEMPTS {
            let Some((generation, found)) = read(&mut kernel)? else {
                continue;
            };
            // Before the rules, because connections that they let pass use the address.
            self.add_addresses(&plan.loopback_addresses, added)?;
            if !force && found.as_ref() == Some(&wanted) {
                return Ok(Outcome::Unchanged);
            }
            let transaction = Transaction::install(generation, &wanted, found.is_some());
            match kernel.commit(&transaction) {
                Ok(()) => added.clear(),
                Err(RulesError::Stale) => continue,
                Err(error) => return Err(error.into()),
            }
            verify(&mut kernel, &wanted)?;
            return Ok(match found {
                Some(_) => Outcome::Replaced { n_rules },
                None => Outcome::Installed { n_rules },
            });
        }
        Err(ApplyError::Contended)
    }

    /// Notes the addresses that were missing.
    fn add_addresses(
        &mut self,
        networks: &[Ipv6Net],
        added: &mut Vec<Ipv6Net>,
    ) -> Result<(), ApplyError> {
        for network in networks {
            match self.addresses.add_to_loopback(*network) {
                Ok(true) => added.push(*network),
                Ok(false) => {}
                Err(source) => return Err(ApplyError::Loopback { source }),
            }
        }
        Ok(())
    }

    /// Tells whether any of them was there.
    fn remove_addresses(&mut self, networks: &[Ipv6Net]) -> Result<bool, ApplyError> {
        let mut removed = false;
        for network in networks {
            match self.addresses.remove_from_loopback(*network) {
                Ok(was_there) => removed |= was_there,
                Err(source) => return Err(ApplyError::Loopback { source }),
            }
        }
        Ok(removed)
    }
}

// === impl Outcome ===

/// A phrase for the log: `16 rules installed`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { n_rules } => write!(f, "{n_rules} rules installed"),
            Self::Replaced { n_rules } => {
                write!(f, "{n_rules} rules installed in the place of others")
            }
            Self::Unchanged => f.write_str("rules unchanged"),
            Self::Removed => f.write_str("rules removed"),
            Self::Absent => f.write_str("no rules to remove"),
        }
    }
}

/// Nothing means that the rules changed while they were being read.
fn read(kernel: &mut NfTables) -> Result<Option<(Generation, Option<Ruleset>)>, ApplyError> {
    match kernel.read() {
        Ok(state) => Ok(Some(state)),
        Err(RulesError::Stale) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn verify(kernel: &mut NfTables, wanted: &Ruleset) -> Result<(), ApplyError> {
    match holds_rules(kernel, wanted)? {
        true => Ok(()),
        false => Err(ApplyError::Different),
    }
}

fn holds_rules(kernel: &mut NfTables, wanted: &Ruleset) -> Result<bool, ApplyError> {
    for _ in 0..ATTEMPTS {
        if let Some((_, found)) = read(kernel)? {
            return Ok(found.as_ref() == Some(wanted));
        }
    }
    Err(ApplyError::Contended)
}
