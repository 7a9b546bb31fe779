//! Steps that are on their way: each once, and after one that came to nothing not at once again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::StepKey;

/// Steps that are on their way at once.
pub(super) const MOST_IN_FLIGHT: usize = 64;
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(super) struct Flights {
    under_way: BTreeSet<StepKey>,
    /// Tries that came to nothing, and the time of the next.
    backoffs: BTreeMap<StepKey, (u32, Timestamp)>,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn has(&self, key: &StepKey) -> bool {
        self.under_way.contains(key)
    }

    /// It is not on its way, and its time has come.
    pub(super) fn may(&self, key: &StepKey, now: Timestamp) -> bool {
        !self.has(key) && self.backoffs.get(key).is_none_or(|(_, at)| *at <= now)
    }

    pub(super) fn depart(&mut self, key: StepKey) {
        self.under_way.insert(key);
    }

    pub(super) fn land(&mut self, key: &StepKey) {
        self.under_way.remove(key);
    }

    pub(super) fn came_to_something(&mut self, key: &StepKey) {
        self.backoffs.remove(key);
    }

    /// So often it came to nothing.
    pub(super) fn tries(&self, key: &StepKey) -> u32 {
        self.backoffs.get(key).map_or(0, |(tries, _)| *tries)
    }

    /// When it may be tried again.
    pub(super) fn came_to_nothing(&mut self, key: &StepKey, now: Timestamp) -> Timestamp {
        let tries = self.tries(key);
        let at = later(now, doubled(FIRST_BACKOFF, tries, LONGEST_BACKOFF));
        self.backoffs.insert(key.clone(), (tries.saturating_add(1), at));
        at
    }
}

/// `first`, twice as long for each of `times`, and at most `longest`; but never less than `first`.
pub(super) fn doubled(first: SignedDuration, times: u32, longest: SignedDuration) -> SignedDuration {
    let factor = 1_i32.checked_shl(times.min(30)).unwrap_or(i32::MAX);
    first.checked_mul(factor).unwrap_or(longest).min(longest).max(first)
}

/// The end of time, if it is beyond.
pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_given_once_and_after_a_failure_later_and_later() {
        let now = Timestamp::UNIX_EPOCH;
        let key = StepKey::Bind { uid: "a".to_owned() };
        let mut flights = Flights::default();
        flights.depart(key.clone());
        assert!(!flights.may(&key, now));
        flights.land(&key);
        let waits: Vec<_> = (0..8).map(|_| flights.came_to_nothing(&key, now).as_second()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(!flights.may(&key, now) && flights.may(&key, later(now, LONGEST_BACKOFF)));
        flights.came_to_something(&key);
        assert!(flights.may(&key, now));
    }

    #[test]
    fn delays_double_up_to_their_end() {
        let minutes = SignedDuration::from_mins;
        let delay = |first, times| doubled(minutes(first), times, minutes(10));
        assert_eq!(
            [delay(1, 0), delay(1, 2), delay(1, 4), delay(1, u32::MAX), delay(30, 1)].map(|delay| delay.as_mins()),
            [1, 4, 10, 10, 30]
        );
    }
}
