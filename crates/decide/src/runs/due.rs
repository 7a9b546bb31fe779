//! What a definition's schedule and its start ask for.
//!
//! A time that is due is met within [`ON_TIME`]; one that is older was missed, since nobody led: it is made up for, once, if the
//! definition says so, or it is skipped and remembered with the reason.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{SkippedTrigger, Trigger};

use super::alarms::Alarm;
use super::deadlines::earliest;
use super::flights::later;
use super::trigger::Wanted;
use super::{Runs, Schedule};

/// A change of the leader takes less.
const ON_TIME: SignedDuration = SignedDuration::from_mins(1);
/// What was seen to further ahead of the clock was seen by a clock that went wrong.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

impl Runs {
    pub(super) fn look_at_definition(&mut self, name: &str, now: Timestamp) {
        let schedule = self.definitions.get(name).and_then(|definition| definition.schedule.clone());
        let seen_to = self.seen_to(name, schedule.as_ref().map(Schedule::as_str), now);
        if !self.definitions.contains_key(name) {
            return self.alarms.set(Alarm::Definition(name.to_owned()), None);
        }
        let mut next = None;
        if let Some(schedule) = schedule {
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

    /// Times of a schedule that have passed before it was followed were never due.
    fn seen_to(&mut self, name: &str, schedule: Option<&str>, now: Timestamp) -> Timestamp {
        let memory = self.memories.get(name);
        let followed = memory.and_then(|memory| memory.schedule.as_deref());
        let seen_to = memory.and_then(|memory| memory.seen_to).filter(|at| *at <= later(now, AHEAD));
        if let Some(seen_to) = seen_to.filter(|_| followed == schedule) {
            return seen_to;
        }
        if schedule.is_some() || memory.is_some() {
            self.remember(name, |memory| {
                (memory.schedule, memory.seen_to) = (schedule.map(str::to_owned), schedule.map(|_| now));
            });
        }
        now
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
