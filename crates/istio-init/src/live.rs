//! The plan that is in force in this network namespace, read back from the kernel.
//!
//! Called by [`app`](crate::app) for `explain --live`; reads and changes nothing. What it gives is what
//! the kernel has, whatever flags it was made by; a table that somebody has tampered with is an error
//! that names the first rule that is none of ours.

use crate::{
    nfnetlink::{NfTables, RulesError, raise},
    plan::Plan,
};

/// Why there is nothing to walk through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The rules cannot be read.
    #[error("cannot read the rules of this network namespace")]
    Read {
        /// The reason.
        #[from]
        source: RulesError,
    },
    /// There is no table of ours.
    #[error(
        "this network namespace has no native rules of istio-init; leave out --live to explain the flags"
    )]
    Absent,
    /// Somebody has changed the table.
    #[error(
        "rule {position} of the chain {chain} is none of istio-init; set the rules again to be rid of it"
    )]
    Foreign {
        /// The chain.
        chain: String,
        /// Its place there, counted from 1; 0 is the chain itself.
        position: usize,
    },
}

/// Others change rules rarely; if they do it this often, it is not by chance.
const ATTEMPTS: usize = 16;

/// Reads the plan.
///
/// # Errors
/// What stood in the way.
pub fn plan() -> Result<Plan, LiveError> {
    let mut kernel = NfTables::open()?;
    for _ in 0..ATTEMPTS {
        let found = match kernel.read() {
            Err(RulesError::Stale) => continue,
            other => other?.1,
        };
        let ruleset = found.ok_or(LiveError::Absent)?;
        return raise(&ruleset).map_err(|foreign| LiveError::Foreign {
            chain: foreign.chain,
            position: foreign.position,
        });
    }
    Err(RulesError::Stale.into())
}
