//! The iptables back end: the plan by `iptables-restore`, for nodes without nf_tables.
//!
//! Called by [`app`](crate::app) for `--backend iptables`, and by the other back end to be rid of
//! what this one has left. What is there is read and compared, and only where it differs does each
//! table change, in one commit; IPv4 comes before IPv6, and where that fails goes back to what it
//! was.
//!
//! ```text
//! Plan ─ iptables ─► text ─┐
//!                          ├─ saved ─► Tables ─ script ─► iptables-restore --noflush
//! iptables-save ───► text ─┘           (compared)
//! ```

mod program;
mod saved;
mod script;
#[cfg(test)]
mod tests;

use std::{ffi::OsStr, fmt, fs, io};

use program::Programs;
pub use program::{ProgramError, Variant};
use saved::Tables;
pub use saved::{Unreadable, Whose};

use crate::{
    iptables,
    plan::{Families, Family, Plan},
};

/// The programs that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toolbox {
    v4: Vec<Programs>,
    v6: Vec<Programs>,
}

/// Why rules could not be set or removed by iptables.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is no program.
    #[error(
        "there is no {name} in PATH; put iptables and ip6tables into the image, or leave --backend at nftables, which needs neither"
    )]
    NoProgram {
        /// Which one was looked for.
        name: String,
    },
    /// The rules cannot be read.
    #[error("cannot read the rules of iptables")]
    Save {
        /// What the program said.
        source: ProgramError,
    },
    /// The rules cannot be set.
    #[error("cannot set the rules by iptables ({variant}); {}", hint(*variant))]
    Restore {
        /// Which programs were used.
        variant: Variant,
        /// What the program said.
        source: ProgramError,
    },
    /// The programs have set something else.
    #[error(
        "the rules that iptables ({variant}) reports for {family} are not those that were set; somebody else changes them"
    )]
    Different {
        /// Which programs were used.
        variant: Variant,
        /// The family.
        family: Family,
    },
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Nothing: all was as it should be.
    Unchanged,
    /// Rules were set.
    Changed(Variant),
}

/// Tables of `ip_tables` that the network namespace has; readable for root.
const LEGACY_TABLES: [&str; 2] = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];

// === impl Restored ===

/// A phrase for the log: `rules installed by iptables (legacy)`.
impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("rules unchanged"),
            Self::Changed(variant) => write!(f, "rules installed by iptables ({variant})"),
        }
    }
}

// === impl Toolbox ===

impl Toolbox {
    /// Looks for programs in these folders.
    pub fn find(path: Option<&OsStr>) -> Self {
        Self {
            v4: Programs::find(Family::V4, path),
            v6: Programs::find(Family::V6, path),
        }
    }

    /// Brings the plan into force, which was made for [`Backend::Iptables`](crate::plan::Backend).
    ///
    /// # Errors
    /// What stood in the way; then nothing was changed, unless what the programs report is not to be
    /// trusted.
    pub fn apply(&self, plan: &Plan, forced: Option<Variant>) -> Result<Restored, RestoreError> {
        let variant = self.choose(plan, forced)?;
        let mut undo: Vec<(&Programs, String)> = Vec::new();
        for family in plan.families.each() {
            let programs = self.need(*family, variant)?;
            let outcome = set(programs, *family, &wanted(plan, *family));
            match outcome {
                Ok(Some(before)) => undo.push((programs, before)),
                Ok(None) => {}
                Err(error) => {
                    for (programs, before) in undo {
                        // The first error is what the user must know, whatever comes of this.
                        let _ = programs.restore(&before);
                    }
                    return Err(error);
                }
            }
        }
        let had_others = self.remove_others(plan.families, variant)?;
        Ok(match undo.is_empty() && !had_others {
            true => Restored::Unchanged,
            false => Restored::Changed(variant),
        })
    }

    /// Whether the plan is in force, in either variant.
    ///
    /// # Errors
    /// Where the rules cannot be read.
    pub fn is_in_force(&self, plan: &Plan) -> Result<bool, RestoreError> {
        let variant = self.choose(plan, None)?;
        for family in plan.families.each() {
            let found = self.need(*family, variant)?.save();
            let found = found.map_err(|source| RestoreError::Save { source })?;
            if !script::is_in_force(&found, &wanted(plan, *family)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes rules that were made by `ip_tables`, which nf_tables does not know; tells whether
    /// there were any.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn remove_legacy(&self, whose: Whose) -> Result<bool, RestoreError> {
        let mut removed = false;
        let programs = self.v4.iter().chain(&self.v6);
        for programs in programs.filter(|programs| programs.variant == Variant::Legacy) {
            removed |= remove(programs, whose)?;
        }
        Ok(removed)
    }

    /// What this program has made by programs of another variant, or for a family that the namespace
    /// speaks no more; tells whether there was anything.
    fn remove_others(&self, families: Families, variant: Variant) -> Result<bool, RestoreError> {
        let is_meant = |programs: &&Programs| programs.variant != variant;
        let others = self.v4.iter().filter(is_meant);
        let others = others.chain(
            self.v6
                .iter()
                .filter(|programs| is_meant(programs) || families == Families::V4),
        );
        let mut removed = false;
        for programs in others {
            // Where the kernel lacks the other interface there is nothing of ours in it.
            if let Ok(found) = programs.save()
                && let Some(script) = script::removal(&found, Whose::Ours)
            {
                apply_script(programs, &script)?;
                removed = true;
            }
        }
        Ok(removed)
    }

    fn need(&self, family: Family, variant: Variant) -> Result<&Programs, RestoreError> {
        let (programs, stem) = match family {
            Family::V4 => (&self.v4, "iptables"),
            Family::V6 => (&self.v6, "ip6tables"),
        };
        let found = programs.iter().find(|programs| programs.variant == variant);
        found.ok_or_else(|| RestoreError::NoProgram {
            name: format!("{stem}-{variant}-restore"),
        })
    }

    /// The variant that is asked for; else the one whose rules there are; else the one that the
    /// kernel has.
    fn choose(&self, plan: &Plan, forced: Option<Variant>) -> Result<Variant, RestoreError> {
        if let Some(variant) = forced {
            return Ok(variant);
        }
        let mut seen = Vec::new();
        for family in plan.families.each() {
            let programs = match family {
                Family::V4 => &self.v4,
                Family::V6 => &self.v6,
            };
            seen.extend(programs.iter().map(|programs| {
                let found = programs.save();
                Sight {
                    variant: programs.variant,
                    works: found.is_ok(),
                    has_rules: found.as_ref().is_ok_and(Tables::has_rules),
                    has_ours: found
                        .is_ok_and(|found| script::removal(&found, Whose::Ours).is_some()),
                }
            }));
        }
        choice(&seen).ok_or_else(|| RestoreError::NoProgram {
            name: "iptables-restore".to_owned(),
        })
    }
}

/// What a look at the programs of one variant and family has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    variant: Variant,
    works: bool,
    has_rules: bool,
    has_ours: bool,
}

/// nf_tables unless only the other one has rules: rules of both kinds in one namespace are hard to
/// follow for whoever looks for a fault.
fn choice(seen: &[Sight]) -> Option<Variant> {
    let variants = [Variant::Nft, Variant::Legacy];
    let first = |is: fn(&Sight) -> bool| {
        let mut variants = variants.into_iter();
        variants.find(|variant| {
            seen.iter()
                .any(|sight| sight.variant == *variant && is(sight))
        })
    };
    first(|sight| sight.has_ours)
        .or_else(|| first(|sight| sight.has_rules))
        .or_else(|| first(|sight| sight.works))
        .or_else(|| first(|_| true))
}

/// Whether the network namespace may have rules of `ip_tables`; asking the programs would be slower.
pub fn has_legacy_tables() -> bool {
    LEGACY_TABLES.iter().any(|file| match fs::read(file) {
        Ok(names) => !names.is_empty(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    })
}

fn wanted(plan: &Plan, family: Family) -> Tables {
    let text = iptables::family(plan, family);
    let tables = Tables::parse(&text).expect("what the printer prints is in the reader's form");
    tables.tagged()
}

/// Returns what brings back the state before, if anything was changed.
fn set(
    programs: &Programs,
    family: Family,
    wanted: &Tables,
) -> Result<Option<String>, RestoreError> {
    let save = || {
        programs
            .save()
            .map_err(|source| RestoreError::Save { source })
    };
    let before = save()?;
    let Some(script) = script::change(&before, wanted) else {
        return Ok(None);
    };
    apply_script(programs, &script)?;
    let after = save()?;
    if !script::is_in_force(&after, wanted) {
        let variant = programs.variant;
        return Err(RestoreError::Different { variant, family });
    }
    let undo = script::change(&after, &before.only(Whose::OursAndIstios));
    Ok(Some(undo.unwrap_or_default()))
}

fn remove(programs: &Programs, whose: Whose) -> Result<bool, RestoreError> {
    let found = programs.save();
    let found = found.map_err(|source| RestoreError::Save { source })?;
    let Some(script) = script::removal(&found, whose) else {
        return Ok(false);
    };
    apply_script(programs, &script)?;
    Ok(true)
}

fn apply_script(programs: &Programs, script: &str) -> Result<(), RestoreError> {
    let variant = programs.variant;
    let outcome = programs.restore(script);
    outcome.map_err(|source| RestoreError::Restore { variant, source })
}

fn hint(variant: Variant) -> &'static str {
    match variant {
        Variant::Legacy => {
            "it needs the capabilities NET_ADMIN and NET_RAW and the modules ip_tables and iptable_nat"
        }
        Variant::Nft => "it needs the capability NET_ADMIN and the module nf_tables",
    }
}
