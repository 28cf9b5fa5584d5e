//! Bringing a plan into force: read, compare, one transaction, read again.
//!
//! Called by [`app`](crate::app). If the kernel already has what the plan wants, nothing is
//! written; otherwise the whole table is replaced in one transaction, which fails if anybody
//! changes rules in between, and then it all begins again. Success is said only after reading back,
//! and after a failure nothing of what was added is left.

mod support;

use std::fmt;

use contract::chains;

use crate::{
    netlink::NetlinkError,
    nfnetlink::{Generation, NfTables, RulesError, Ruleset, Strays, Transaction, lower},
    plan::{Families, MarkRoute, Plan},
    restore::Whose,
};

pub use crate::rtnetlink::{Change, LocalRoute, RoutingRule};
pub use support::Piece;
use support::Support;

/// The network namespace of the process.
#[derive(Debug)]
pub struct Namespace {
    support: Support,
    leftovers: Option<Leftovers>,
}

/// What an Istio init container may have left in the namespace, besides the table whose name is ours
/// too: its other native tables, and any number of these routing rules and routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// The rules and routes.
    pub mark_routes: Vec<MarkRoute>,
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
    /// There was just this one, and something that it needs was missing or too much.
    Repaired,
    /// It is gone.
    Removed,
    /// There was nothing to remove.
    Absent,
}

/// Which rules to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Our table, and what iptables has in nf_tables.
    All,
    /// Our table alone.
    Native,
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
    /// The loopback interface is down and stays so.
    #[error("cannot bring the interface lo up")]
    Loopback {
        /// What went wrong.
        source: NetlinkError,
    },
    /// The routing rules and routes of the namespace cannot be listed.
    #[error("cannot list the routing rules and routes")]
    Routing {
        /// What went wrong.
        source: NetlinkError,
    },
    /// Something that the rules need could not be added, or be removed where they need it no more.
    #[error("cannot {change} {piece}; {}", piece.remedy())]
    Support {
        /// What was to be done.
        change: Change,
        /// With what.
        piece: Piece,
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
        let support = Support::open()?;
        Ok(Self {
            support,
            leftovers: None,
        })
    }

    /// Has [`Namespace::apply`] and [`Namespace::remove`] remove these too.
    #[must_use]
    pub fn with_leftovers(mut self, leftovers: Option<Leftovers>) -> Self {
        self.leftovers = leftovers;
        self
    }

    /// The families that the namespace speaks.
    ///
    /// # Errors
    /// Where the kernel does not list its addresses.
    pub fn families(&mut self) -> Result<Families, ApplyError> {
        self.support.families()
    }

    /// Brings the plan into force, even if it is in force already with `force`.
    ///
    /// # Errors
    /// What stood in the way. Then either nothing was changed or, with [`ApplyError::Different`],
    /// what the kernel has is not to be trusted. Only where something of earlier flags cannot be
    /// removed the plan is in force nevertheless.
    pub fn apply(&mut self, plan: &Plan, force: bool) -> Result<Outcome, ApplyError> {
        let outcome = self.converge(plan, force);
        let outcome = outcome.inspect_err(|_| self.support.undo())?;
        let pruned = self.prune(plan)?;
        Ok(match outcome {
            Outcome::Unchanged if pruned => Outcome::Repaired,
            other => other,
        })
    }

    /// Has somebody else bring the plan's rules into force, and sees to what they need besides; then
    /// removes the rules that are nf_tables' own.
    ///
    /// # Errors
    /// What stood in the way, or what `set` returns; then what was added for the rules is gone.
    pub fn apply_by<T, E: From<ApplyError>>(
        &mut self,
        plan: &Plan,
        set: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let added = self.support.add(plan).map_err(E::from);
        let outcome = added.and_then(|()| set());
        let outcome = outcome.inspect_err(|_| self.support.undo())?;
        self.support.keep();
        self.prune(plan)?;
        self.remove_rules(Scope::Native)?;
        Ok(outcome)
    }

    /// Whether just this plan is in force; changes nothing.
    ///
    /// # Errors
    /// What stood in the way of reading.
    pub fn holds(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        let wanted = lower(plan);
        let mut kernel = NfTables::open()?;
        let has_rules = holds_rules(&mut kernel, &wanted)?;
        Ok(has_rules && self.support.holds(plan)?)
    }

    /// Whether marked packets are routed as the plan needs, whoever sees to it; takes no privilege.
    ///
    /// # Errors
    /// What stood in the way of reading.
    pub fn routes_marks(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        self.support.routes_marks(plan)
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
        let had_rules = self.remove_rules(Scope::All)?;
        let mut had_support = self.support.remove()?;
        if let Some(leftovers) = &self.leftovers {
            had_support |= self.support.remove_twins(&leftovers.mark_routes)?;
        }
        Ok(match had_rules || had_support {
            true => Outcome::Removed,
            false => Outcome::Absent,
        })
    }

    /// Tells whether there were any; a kernel without nf_tables has none.
    fn remove_rules(&self, scope: Scope) -> Result<bool, ApplyError> {
        let absent = |error: &ApplyError| {
            matches!(
                error,
                ApplyError::Rules {
                    source: RulesError::NoNfTables { .. }
                }
            )
        };
        let mut kernel = match NfTables::open().map_err(ApplyError::from) {
            Err(error) if absent(&error) => return Ok(false),
            other => other?,
        };
        for _ in 0..ATTEMPTS {
            let (generation, found) = match read(&mut kernel) {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(error) if absent(&error) => return Ok(false),
                Err(error) => return Err(error),
            };
            let doomed = self.doomed(&mut kernel, found.is_some())?;
            let strays = match scope {
                Scope::All => self.strays(&mut kernel, generation)?,
                Scope::Native => Some(Strays::default()),
            };
            let Some(strays) = strays else { continue };
            if doomed.is_empty() && strays.is_empty() {
                return Ok(false);
            }
            match kernel.commit(&Transaction::remove(generation, &doomed, &strays)) {
                Err(RulesError::Stale) => {}
                other => return Ok(other.map(|()| true)?),
            }
        }
        Err(ApplyError::Contended)
    }

    /// Removes what rules of other flags or other programs needed; tells whether there was anything.
    fn prune(&mut self, plan: &Plan) -> Result<bool, ApplyError> {
        let mut pruned = self.support.prune(plan)?;
        if let Some(leftovers) = &self.leftovers {
            pruned |= self.support.remove_twins(&leftovers.mark_routes)?;
            // A route of somebody else stood in the place of ours, which the kernel did not take then.
            self.support.add(plan)?;
            self.support.keep();
        }
        Ok(pruned)
    }

    fn converge(&mut self, plan: &Plan, force: bool) -> Result<Outcome, ApplyError> {
        let wanted = lower(plan);
        let n_rules = wanted.n_rules();
        let mut kernel = NfTables::open()?;
        for _ in 0..ATTEMPTS {
            let Some((generation, found)) = read(&mut kernel)? else {
                continue;
            };
            let doomed = self.doomed(&mut kernel, found.is_some())?;
            self.support.add(plan)?;
            let is_alone = doomed.iter().all(|table| *table == chains::TABLE);
            let is_there = !force && is_alone && found.as_ref() == Some(&wanted);
            let unchanged = |support: &mut Support| match support.keep() {
                true => Outcome::Repaired,
                false => Outcome::Unchanged,
            };
            if is_there && self.leftovers.is_none() {
                // The transaction that set these rules has removed what iptables had of ours.
                return Ok(unchanged(&mut self.support));
            }
            let Some(strays) = self.strays(&mut kernel, generation)? else {
                continue;
            };
            if is_there && strays.is_empty() {
                return Ok(unchanged(&mut self.support));
            }
            let transaction = Transaction::install(generation, &wanted, &doomed, &strays);
            match kernel.commit(&transaction) {
                Ok(()) => _ = self.support.keep(),
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

    /// What iptables has in nf_tables and has to go; nothing means that the rules have changed.
    fn strays(
        &self,
        kernel: &mut NfTables,
        generation: Generation,
    ) -> Result<Option<Strays>, ApplyError> {
        let whose = match self.leftovers {
            Some(_) => Whose::OursAndIstios,
            None => Whose::Ours,
        };
        match kernel.strays(generation, whose) {
            Ok(strays) => Ok(Some(strays)),
            Err(RulesError::Stale) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The tables that are there and have to go.
    fn doomed(
        &self,
        kernel: &mut NfTables,
        has_ours: bool,
    ) -> Result<Vec<&'static str>, ApplyError> {
        let mut doomed: Vec<_> = has_ours.then_some(chains::TABLE).into_iter().collect();
        if self.leftovers.is_some() {
            let there = kernel.tables()?;
            let istios = chains::ISTIO_NATIVE_TABLES.into_iter();
            doomed.extend(istios.filter(|table| there.iter().any(|name| name == table)));
        }
        Ok(doomed)
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
            Self::Repaired => f.write_str("rules unchanged, addresses or routes repaired"),
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
