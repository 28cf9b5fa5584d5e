//! What can go wrong at all, and the exit code for it.
//!
//! Called by [`app`](crate::app); the one place where errors turn into codes. The codes are those
//! of [`contract::exit`], which the kubelet shows on the pod.

use std::{error::Error as _, io};

use contract::exit;

use crate::{apply::ApplyError, args::UsageError};

/// Why the program did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line or the environment is wrong.
    #[error("{source}")]
    Usage {
        /// All that is wrong. It is the message, not a cause of it, so it is not in the chain.
        source: UsageError,
    },
    /// The rules are not in force.
    #[error(transparent)]
    Apply(#[from] ApplyError),
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
            Self::Usage { .. } => exit::USAGE,
            Self::Apply(ApplyError::Different) => exit::VALIDATION,
            Self::Apply(
                ApplyError::Families { .. }
                | ApplyError::Loopback { .. }
                | ApplyError::Rules { .. }
                | ApplyError::Contended,
            )
            | Self::Output { .. } => exit::FAILED,
        }
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}
