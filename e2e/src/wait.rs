//! Waiting for what a cluster does in its own time.
//!
//! Every wait has a deadline, says what it waits for, and on failure tells the last state, which is most often the reason.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::bail;

/// What a look at the cluster has found.
#[derive(Debug)]
pub enum Progress<T> {
    /// It is there.
    Done(T),
    /// Not yet; this is the state instead.
    Waiting(String),
}

/// Between two looks: each is a process on a machine with two cores.
const PAUSE: Duration = Duration::from_millis(300);

/// Looks until it is done.
///
/// # Errors
/// The deadline has passed, or looking itself fails.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<Progress<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look()? {
            Progress::Done(value) => return Ok(value),
            Progress::Waiting(state) if Instant::now() >= deadline => {
                bail!("waited {limit:?} for {what}; last seen: {state}")
            }
            Progress::Waiting(_) => sleep(PAUSE),
        }
    }
}

// === impl Progress ===

impl Progress<()> {
    /// Done if `holds`; otherwise `state` is what was seen instead.
    pub fn when(holds: bool, state: impl FnOnce() -> String) -> Self {
        if holds {
            Self::Done(())
        } else {
            Self::Waiting(state())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_fails_says_what_for_and_what_was_seen() {
        let error = wait_for::<()>("rain", Duration::ZERO, || {
            Ok(Progress::Waiting("sunshine".to_owned()))
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "waited 0ns for rain; last seen: sunshine"
        );
    }

    #[test]
    fn a_wait_ends_with_what_was_found() {
        let mut looks = 0;
        let found = wait_for("the third look", Duration::from_secs(60), || {
            looks += 1;
            Ok(match looks {
                3 => Progress::Done(looks),
                _ => Progress::Waiting(looks.to_string()),
            })
        });
        assert_eq!(found.unwrap(), 3);
    }
}
