//! Which runs are forgotten. The newest of a definition are kept, so many as it says, the current one among them.

use jiff::{SignedDuration, Timestamp};

use super::Runs;
use super::alarms::Alarm;
use super::flights::later;

/// A run's ID is a minute: it is not forgotten before that is over, so that no other run gets it.
const YOUNGEST: SignedDuration = SignedDuration::from_mins(1);

impl Runs {
    pub(super) fn look_at_history(&mut self, name: &str, now: Timestamp) {
        // What is not configured any more keeps its history.
        let Some(definition) = self.definitions.get(name) else { return };
        let keep = usize::try_from(definition.settings.history.max(1)).unwrap_or(usize::MAX);
        let mut next = None;
        for kept in self.book.of_definition(name).rev().skip(keep).filter(|kept| !kept.is_active()) {
            let at = later(kept.run.created, YOUNGEST);
            if at <= now {
                self.look.forget.insert(kept.run.id.clone());
            } else {
                next = next.map_or(Some(at), |next: Timestamp| Some(next.min(at)));
            }
        }
        self.alarms.set(Alarm::History(name.to_owned()), next);
    }
}
