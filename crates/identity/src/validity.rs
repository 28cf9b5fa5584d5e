//! From when until when a certificate counts.
//!
//! Every certificate that is read carries a [`Validity`]; the injector asks it when to renew, and everybody asks it whether now is
//! within. All arithmetic saturates, so no date makes it overflow.

use std::fmt::{self, Display, Formatter};

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::certificate::{self, CertificateError};

/// How far the start of what is issued lies back, so that peers whose clocks are behind accept it at once.
pub const BACKDATE: Duration = Duration::minutes(5);

/// The time within which a certificate counts, both ends included (RFC 5280, section 4.1.2.5), in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: OffsetDateTime,
    /// The last second.
    pub not_after: OffsetDateTime,
}

/// Why a certificate does not count now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untimely {
    /// Its time has not come; as certificates are made backdated, it is far more likely that a clock is wrong.
    #[error("valid from {} but the clock says {}, set the clock right", Stamp(*.from), Stamp(*.now))]
    NotYet {
        /// The first second of its validity.
        from: OffsetDateTime,
        /// What the clock says.
        now: OffsetDateTime,
    },
    /// Its time is over, or a clock is wrong.
    #[error("valid until {} and the clock says {}", Stamp(*.until), Stamp(*.now))]
    Over {
        /// The last second of its validity.
        until: OffsetDateTime,
        /// What the clock says.
        now: OffsetDateTime,
    },
}

/// A time as people and logs write it, `2026-11-21T08:00:00Z` (RFC 3339), without fractions.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub OffsetDateTime);

// === impl Validity ===

impl Validity {
    /// The time of a certificate in DER.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn of(certificate: &[u8]) -> Result<Self, CertificateError> {
        certificate::parse(certificate).map(|parsed| Self::from(parsed.validity()))
    }

    /// `lifetime` from `now` on, backdated.
    pub(crate) fn starting(now: OffsetDateTime, lifetime: Duration) -> Self {
        Self {
            not_before: now.saturating_sub(BACKDATE).max(OffsetDateTime::UNIX_EPOCH),
            not_after: now.saturating_add(lifetime),
        }
    }

    /// This time, ending no later than `issuer`.
    pub(crate) fn within(self, issuer: Self) -> Self {
        Self {
            not_after: self.not_after.min(issuer.not_after),
            ..self
        }
    }

    /// Whether `now` is within.
    ///
    /// # Errors
    /// Says on which side of it `now` lies, with both times.
    pub fn check(&self, now: OffsetDateTime) -> Result<(), Untimely> {
        if now < self.not_before {
            Err(Untimely::NotYet {
                from: self.not_before,
                now,
            })
        } else if now > self.not_after {
            Err(Untimely::Over {
                until: self.not_after,
                now,
            })
        } else {
            Ok(())
        }
    }

    /// The moment at which `part` per cent of the time have passed; 50 is half life.
    #[must_use]
    pub fn passed(&self, part: u8) -> OffsetDateTime {
        let life = (self.not_after - self.not_before).max(Duration::ZERO);
        self.not_before
            .saturating_add(life / 100 * i32::from(part.min(100)))
    }

    /// When to renew a certificate that something serves: at half life, so that a renewal may fail for as long again.
    #[must_use]
    pub fn half_life(&self) -> OffsetDateTime {
        self.passed(50)
    }
}

impl From<&x509_parser::certificate::Validity> for Validity {
    fn from(read: &x509_parser::certificate::Validity) -> Self {
        Self {
            not_before: read.not_before.to_datetime(),
            not_after: read.not_after.to_datetime(),
        }
    }
}

// === impl Stamp ===

impl Display for Stamp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.replace_nanosecond(0).unwrap_or(self.0);
        match seconds.format(&Rfc3339) {
            Ok(text) => f.write_str(&text),
            // Years that RFC 3339 cannot write.
            Err(_) => write!(f, "{seconds}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    #[test]
    fn both_ends_are_within() {
        let validity = Validity {
            not_before: at(100),
            not_after: at(300),
        };
        let (early, late) = (
            Untimely::NotYet {
                from: at(100),
                now: at(99),
            },
            Untimely::Over {
                until: at(300),
                now: at(301),
            },
        );
        for (now, expected) in [
            (99, Err(early)),
            (100, Ok(())),
            (200, Ok(())),
            (300, Ok(())),
            (301, Err(late)),
        ] {
            assert_eq!(validity.check(at(now)), expected, "{now}");
        }
        assert_eq!(validity.half_life(), at(200));
    }

    #[test]
    fn a_wrong_clock_is_told_with_both_times() {
        let validity = Validity {
            not_before: at(1_800_000_000),
            not_after: at(1_900_000_000),
        };
        assert_eq!(
            validity.check(at(0)).unwrap_err().to_string(),
            "valid from 2027-01-15T08:00:00Z but the clock says 1970-01-01T00:00:00Z, set the clock right"
        );
        assert_eq!(
            validity.check(at(2_000_000_000)).unwrap_err().to_string(),
            "valid until 2030-03-17T17:46:40Z and the clock says 2033-05-18T03:33:20Z"
        );
    }

    proptest! {
        #[test]
        fn no_dates_overflow(start in any::<i64>(), end in any::<i64>(), life in any::<i64>(), part in any::<u8>()) {
            let moment = |seconds: i64| at(seconds % 200_000_000_000);
            let validity = Validity::starting(moment(start), Duration::seconds(life)).within(Validity {
                not_before: moment(start),
                not_after: moment(end),
            });
            let passed = validity.passed(part);
            prop_assert!(passed >= validity.not_before);
            prop_assert!(passed <= validity.not_after.max(validity.not_before));
            let _ = validity.check(moment(end));
            prop_assert!(!Stamp(passed).to_string().is_empty());
        }
    }
}
