//! What a definition's schedule and its start ask for.
//!
//! A time that is due is met within [`ON_TIME`]; one that is older was missed, since nobody led: it is made up for, once, if the
//! definition says so, or it is skipped and remembered with the reason.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{SkippedTrigger, Trigger};

use super::Runs;
use super::alarms::Alarm;
use super::deadlines::earliest;
use super::trigger::Wanted;

/// A change of the leader takes less.
const ON_TIME: SignedDuration = SignedDuration::from_mins(1);

impl Runs {
    pub(super) fn look_at_definition(&mut self, name: &str, now: Timestamp) {
        let Some(definition) = self.definitions.get(name) else {
            return self.alarms.set(Alarm::Definition(name.to_owned()), None);
        };
        let schedule = definition.schedule.clone();
        let mut next = None;
        if let Some(schedule) = schedule {
            let seen_to = self.memories.get(name).and_then(|memory| memory.seen_to);
            let seen_to = seen_to.unwrap_or_else(|| {
                self.remember(name, |memory| memory.seen_to = Some(now));
                now
            });
            let due = schedule.latest(seen_to, now);
            if let Some(due) = due {
                self.remember(name, |memory| memory.seen_to = Some(due));
                self.is_due(name, due, now);
            }
            next = schedule.after(due.unwrap_or(seen_to));
        }
        self.look_at_startup(name, now);
        let startup = self.startups.get(name).copied().flatten();
        self.alarms.set(Alarm::Definition(name.to_owned()), earliest(next, startup));
    }

    fn is_due(&mut self, name: &str, due: Timestamp, now: Timestamp) {
        let Some(definition) = self.definitions.get(name) else { return };
        let late = now.duration_since(due);
        let skipped = if definition.suspended {
            "it is suspended"
        } else if late <= ON_TIME {
            return self.pull(name, Trigger::Schedule { due }, Wanted::All, now);
        } else if definition.settings.catch_up.is_some_and(|window| late <= window) {
            return self.pull(name, Trigger::CatchUp { due }, Wanted::All, now);
        } else {
            "it was missed: no coordinator led when it was due"
        };
        self.remember(name, |memory| memory.skipped = Some(SkippedTrigger { at: due, why: skipped.to_owned() }));
    }

    /// Once in a term.
    fn look_at_startup(&mut self, name: &str, now: Timestamp) {
        let Some(startup) = self.startups.get_mut(name).filter(|at| at.is_some_and(|at| at <= now)) else { return };
        *startup = None;
        let suspended = self.definitions.get(name).is_none_or(|definition| definition.suspended);
        let why = match self.book.active_of(name).last() {
            _ if suspended => "it is suspended".to_owned(),
            Some(run) => format!("run {run} still runs"),
            None => return self.pull(name, Trigger::Startup, Wanted::All, now),
        };
        let why = format!("the run at the start: {why}");
        self.remember(name, |memory| memory.skipped = Some(SkippedTrigger { at: now, why }));
    }
}
