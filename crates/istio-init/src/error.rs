//! What can go wrong at all, and the exit code for it.
//!
//! Called by [`app`](crate::app); the one place where errors turn into codes. The codes are those
//! of [`contract::exit`], which the kubelet shows on the pod.

use std::io;

use contract::{exit, paths};

use crate::{
    apply::ApplyError, args::UsageError, explain::ExplainError, live::LiveError,
    probe::ValidationError, restore::RestoreError,
};

/// Why the program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line or the environment is wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The rules are not in force.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// There is nothing to explain.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// What is in force cannot be explained.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The rules are not in force, or not removed, by iptables.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The rules do not do what they should.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// The container's DNS servers are not known.
    #[error(
        "cannot read {}, where --redirect-dns finds the DNS servers; --capture-all-dns does without it",
        paths::RESOLV_CONF
    )]
    Resolver {
        /// The reason.
        source: io::Error,
    },
    /// The plan could not be printed.
    #[error("cannot write to standard output")]
    Output {
        /// The reason.
        source: io::Error,
    },
}

// === impl Error ===

impl Error {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Explain(_) => exit::USAGE,
            Self::Apply(ApplyError::Different)
            | Self::Restore(RestoreError::Different { .. })
            | Self::Validation(_) => exit::VALIDATION,
            Self::Apply(
                ApplyError::Families { .. }
                | ApplyError::Loopback { .. }
                | ApplyError::Routing { .. }
                | ApplyError::Support { .. }
                | ApplyError::Rules { .. }
                | ApplyError::Contended,
            )
            | Self::Resolver { .. }
            | Self::Live(_)
            | Self::Restore(_)
            | Self::Output { .. } => exit::FAILED,
        }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Any error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::{args::Problem, netlink::NetlinkError, nfnetlink::RulesError};

    #[test]
    fn causes_stand_behind_the_error_once_each() {
        let source = NetlinkError::Refused {
            sequence: 1,
            source: Errno::EPERM,
        };
        let error = Error::from(ApplyError::from(RulesError::NotPermitted { source }));
        assert_eq!(
            error.chain(),
            concat!(
                "cannot set the rules: ",
                "the kernel does not let this process read or change packet rules; ",
                "add the capability NET_ADMIN to the container: ",
                "the kernel refused a netlink request: EPERM: Operation not permitted"
            )
        );
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn problems_of_the_command_line_are_one_line_without_causes() {
        let problem = |given: &str| Problem::UnknownFlag {
            given: given.to_owned(),
        };
        let error = Error::from(UsageError {
            problems: vec![problem("-y"), problem("--why")],
        });
        assert_eq!(error.chain(), "unknown flag -y; unknown flag --why");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn rules_that_are_not_what_was_set_have_a_code_of_their_own() {
        assert_eq!(Error::from(ApplyError::Different).exit_code(), 126);
    }
}
