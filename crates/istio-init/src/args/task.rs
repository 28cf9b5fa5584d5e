//! What to do with the rules, from the switches that say so.
//!
//! A part of [`check`](super::check), under the same rules: every switch is read, also where another
//! one makes it meaningless, and every problem is noted.

use std::{num::NonZeroU16, time::Duration};

use super::{Problem, Task, Warning, check::Checker, options as option, values};
use crate::{plan::Backend, probe, restore::Variant};

// === impl Checker ===

impl Checker<'_> {
    pub(super) fn task(&mut self) -> Task {
        let backend = self.settings.of(&option::BACKEND).value;
        let output = self.value(&option::OUTPUT, Backend::Nftables, |text| match text {
            "" if backend == "iptables" => Ok(Backend::Iptables),
            "" | "nft" => Ok(Backend::Nftables),
            "iptables" => Ok(Backend::Iptables),
            _ => Err("nft or iptables".to_owned()),
        });
        let (dry_run, cleanup) = (
            self.switch(&option::DRY_RUN),
            self.switch(&option::CLEANUP_ONLY),
        );
        let (skip, force) = (
            self.switch(&option::SKIP_RULE_APPLY),
            self.switch(&option::FORCE_APPLY),
        );
        match (dry_run, cleanup) {
            (true, true) if output == Backend::Iptables => {
                let origin = self.settings.of(&option::OUTPUT).origin("iptables");
                self.problems.push(Problem::Unsupported {
                    origin,
                    feature: "printing a cleanup for iptables, which depends on what there is,",
                });
                Task::ShowCleanup
            }
            (true, true) => Task::ShowCleanup,
            (true, false) => Task::ShowPlan(output),
            (false, _) if skip => Task::Nothing,
            (false, true) => Task::Cleanup,
            (false, false) => Task::Apply { force },
        }
    }

    /// Also which iptables programs must be used.
    pub(super) fn backend(&mut self) -> (Backend, Option<Variant>) {
        let backend = self.value(&option::BACKEND, Backend::Nftables, |text| match text {
            "nftables" => Ok(Backend::Nftables),
            "iptables" => Ok(Backend::Iptables),
            _ => Err("nftables or iptables".to_owned()),
        });
        let variant = self.value(&option::FORCE_IPTABLES_BINARY, None, |text| match text {
            "" => Ok(None),
            "legacy" => Ok(Some(Variant::Legacy)),
            "nft" => Ok(Some(Variant::Nft)),
            _ => Err("legacy or nft".to_owned()),
        });
        if backend == Backend::Nftables && variant.is_some() {
            self.warnings.push(Warning::NoIptables);
        }
        (backend, variant)
    }

    pub(super) fn validation(&mut self) -> Option<probe::Options> {
        let options = probe::Options {
            timeout: self.value(&option::PROBE_TIMEOUT, Duration::ZERO, values::duration),
            port: self.value(&option::IPTABLES_PROBE_PORT, NonZeroU16::MIN, values::port),
        };
        self.switch(&option::RUN_VALIDATION).then_some(options)
    }
}
