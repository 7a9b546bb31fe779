//! When what has to be looked at again, at the latest. In: one time for each thing. Out: what is due, the earliest first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::StepKey;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A schedule, or the run at the start.
    Definition(String),
    /// A deadline, or the end that waits for pods.
    Run(String),
    /// A deadline, a retry, or a result that is awaited.
    Node { run: String, node: String },
    /// A pod that was made and that no list or watch has shown.
    Doubt(String),
    /// A run of this definition is old enough to be forgotten.
    History(String),
    /// It may be tried again.
    Step(StepKey),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Alarms {
    of: BTreeMap<Alarm, Timestamp>,
    order: BTreeSet<(Timestamp, Alarm)>,
}

impl Alarms {
    /// Instead of any earlier time of the same thing.
    pub(super) fn set(&mut self, alarm: Alarm, at: Option<Timestamp>) {
        if self.of.get(&alarm).copied() == at {
            return;
        }
        if let Some(before) = self.of.remove(&alarm) {
            self.order.remove(&(before, alarm.clone()));
        }
        if let Some(at) = at {
            self.of.insert(alarm.clone(), at);
            self.order.insert((at, alarm));
        }
    }

    pub(super) fn is_set(&self, alarm: &Alarm) -> bool {
        self.of.contains_key(alarm)
    }

    /// Rings once.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Alarm> {
        if self.next().is_none_or(|at| at > now) {
            return None;
        }
        let (_, alarm) = self.order.pop_first()?;
        self.of.remove(&alarm);
        Some(alarm)
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_one_alarm_and_it_rings_once() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let run = || Alarm::Run("a".to_owned());
        let mut alarms = Alarms::default();
        alarms.set(run(), Some(at(5)));
        alarms.set(Alarm::Definition("d".to_owned()), Some(at(4)));
        alarms.set(run(), Some(at(3)));
        assert_eq!(alarms.next(), Some(at(3)));
        assert_eq!(alarms.pop(at(2)), None);
        assert_eq!(alarms.pop(at(9)), Some(run()));
        assert_eq!(alarms.pop(at(9)), Some(Alarm::Definition("d".to_owned())));
        assert_eq!((alarms.pop(at(9)), alarms.next()), (None, None));
        alarms.set(run(), Some(at(5)));
        alarms.set(run(), None);
        assert!(!alarms.is_set(&run()) && alarms.next().is_none());
    }
}
