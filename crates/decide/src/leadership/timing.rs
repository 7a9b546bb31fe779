//! How long, how often; and how much sooner or later than that.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Others take the Lease when it did not change for so long.
    pub lease_duration: Duration,
    /// Its holder gives up when it could not renew it for so long.
    pub renew_deadline: Duration,
    /// Between two calls.
    pub retry_period: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    #[error("is not shorter than leaseDuration: others would take the Lease from a leader that still works")]
    Deadline,
    #[error("with a fifth more is not shorter than renewDeadline: the leader would not get to renew the Lease")]
    Period,
    #[error("is shorter than 1 s, or no whole number of seconds: a Lease says no less")]
    Duration,
    #[error("is zero")]
    Zero,
}

/// Candidates that started together must not ask together.
const SPREAD: f64 = 0.2;

impl Default for Timing {
    fn default() -> Self {
        let (lease_duration, renew_deadline) = (Duration::from_secs(15), Duration::from_secs(10));
        Self { lease_duration, renew_deadline, retry_period: Duration::from_secs(2) }
    }
}

impl TimingError {
    /// The setting that is wrong, as people write it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Deadline => "renewDeadline",
            Self::Period | Self::Zero => "retryPeriod",
            Self::Duration => "leaseDuration",
        }
    }
}

impl Timing {
    pub fn check(&self) -> Result<(), TimingError> {
        if self.lease_duration < Duration::from_secs(1) || self.lease_duration.subsec_nanos() != 0 {
            return Err(TimingError::Duration);
        }
        if self.renew_deadline >= self.lease_duration {
            return Err(TimingError::Deadline);
        }
        if self.retry_period.is_zero() {
            return Err(TimingError::Zero);
        }
        if self.pause(1.0) >= self.renew_deadline {
            return Err(TimingError::Period);
        }
        Ok(())
    }

    /// The retry period, by up to a fifth longer or shorter; `jitter` from -1 to 1.
    pub(super) fn pause(&self, jitter: f64) -> Duration {
        let jitter = if jitter.is_finite() { jitter.clamp(-1.0, 1.0) } else { 0.0 };
        self.retry_period.mul_f64(1.0 + SPREAD * jitter)
    }

    /// Of one call: a second one must fit before the deadline.
    pub(super) fn call(&self) -> Duration {
        self.renew_deadline / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_what_could_not_work_is_refused_by_the_key_that_is_wrong() {
        let seconds = |lease: f64, deadline, period| {
            let [lease_duration, renew_deadline, retry_period] = [lease, deadline, period].map(Duration::from_secs_f64);
            Timing { lease_duration, renew_deadline, retry_period }.check().map_err(|wrong| wrong.key())
        };
        assert_eq!(Timing::default().check(), Ok(()));
        assert_eq!(seconds(10.0, 10.0, 2.0), Err("renewDeadline"));
        assert_eq!(seconds(15.0, 10.0, 8.4), Err("retryPeriod"));
        assert_eq!(seconds(15.0, 10.0, 0.0), Err("retryPeriod"));
        assert_eq!(seconds(0.5, 0.4, 0.1), Err("leaseDuration"));
        assert_eq!(seconds(2.5, 1.5, 0.5), Err("leaseDuration"));
        assert_eq!(seconds(3.0, 2.0, 0.5), Ok(()));
    }

    #[test]
    fn a_pause_is_a_fifth_longer_or_shorter_at_most() {
        let pause = |jitter| Timing::default().pause(jitter).as_millis();
        assert_eq!([pause(-9.0), pause(-1.0), pause(0.0), pause(f64::NAN), pause(1.0)], [1600, 1600, 2000, 2000, 2400]);
    }
}
