//! Which log is shipped next.
//!
//! Input: logs that are ready, how their attempts ended, the time. Output: one to start, or why none is started now.
//!
//! There are two lanes, so that a log of many gigabytes never holds up the small ones: several small logs at a time within a
//! budget of bytes, and one large log. A log that has to wait is parked, and the next is taken. While the store is away one
//! attempt at a time is made, at growing distances, whatever waits.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

#[cfg(test)]
mod tests;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A log of as many bytes is small.
    pub small_bytes: u64,
    pub small_at_once: usize,
    /// Of all small logs that are under way.
    pub small_total: u64,
    /// All logs that are known, under way or not.
    pub known: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Small,
    Large,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Start(Ticket, Lane),
    Idle(WhyNot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    Empty,
    /// What is ready has to wait for one that is under way.
    LanesFull,
    Parked {
        until: Instant,
    },
    StoreAway {
        until: Instant,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The store has it.
    Stored,
    /// Nothing of it was to be stored.
    Dropped,
    /// It does not fit into the lane of the small ones.
    Larger,
    /// Its own trouble: not before this long.
    Wait(Duration),
    /// Nobody got through. `log`: its own wait; `all`: nobody tries before.
    Away { log: Duration, all: Duration },
}

#[derive(Debug)]
pub struct Shipping {
    limits: Limits,
    logs: BTreeMap<Ticket, Log>,
    next: u64,
    away: Option<Away>,
}

#[derive(Debug)]
struct Log {
    bytes: u64,
    lane: Lane,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Since, or not before.
    Ready(Instant),
    AwaitsStore(Instant),
    Running,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    until: Instant,
    wait: Duration,
    failures: u32,
}

/// Fewer failures in a row are the trouble of single logs.
const OUTAGE: u32 = 3;

/// What the smallest log takes of the budget: an empty one costs memory too.
const LEAST: u64 = 64 * 1024;

impl Shipping {
    pub fn new(limits: Limits) -> Self {
        Self { limits, logs: BTreeMap::new(), next: 0, away: None }
    }

    pub fn has_room(&self) -> bool {
        self.logs.len() < self.limits.known
    }

    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// `bytes`: what it takes in memory when it is shipped in one piece; `None`: nobody knows, so it is large.
    pub fn offer(&mut self, bytes: Option<u64>, now: Instant) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        let small = bytes.is_some_and(|bytes| bytes <= self.limits.small_bytes);
        let lane = if small { Lane::Small } else { Lane::Large };
        self.logs.insert(ticket, Log { bytes: bytes.unwrap_or(0).max(LEAST), lane, state: State::Ready(now) });
        ticket
    }

    /// What it says is started: the caller does it.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.logs.is_empty() {
            return Next::Idle(WhyNot::Empty);
        }
        if let Some(away) = self.away
            && now < away.until
        {
            return Next::Idle(WhyNot::StoreAway { until: away.until });
        }
        // A small log is the cheaper question where nobody knows whether the store is there.
        for lane in [Lane::Small, Lane::Large] {
            if let Some(ticket) = self.first_ready(lane, now)
                && self.fits(ticket, lane)
            {
                self.start(ticket, now);
                return Next::Start(ticket, lane);
            }
        }
        Next::Idle(self.why_not(now))
    }

    pub fn ended(&mut self, ticket: Ticket, how: Ended, now: Instant) {
        let Some(log) = self.logs.get_mut(&ticket) else { return };
        match how {
            Ended::Stored => {
                self.logs.remove(&ticket);
                self.store_is_there(now);
            }
            Ended::Dropped => {
                self.logs.remove(&ticket);
                // It says nothing of the store, so it does not use up the one attempt either.
                if let Some(away) = &mut self.away {
                    away.until = now;
                }
            }
            Ended::Larger => (log.lane, log.state) = (Lane::Large, State::Ready(now)),
            Ended::Wait(wait) => log.state = State::Ready(now + wait),
            Ended::Away { log: wait, all } => {
                log.state = State::AwaitsStore(now + wait);
                let failures = self.away.map_or(0, |away| away.failures).saturating_add(1);
                self.away = Some(Away { until: now + all, wait: all, failures });
            }
        }
    }

    /// After an outage nobody waits any longer.
    fn store_is_there(&mut self, now: Instant) {
        let Some(away) = self.away.take() else { return };
        if away.failures < OUTAGE {
            return;
        }
        for log in self.logs.values_mut() {
            if let State::AwaitsStore(due) = log.state {
                log.state = State::Ready(due.min(now));
            }
        }
    }

    /// In a row, of all logs.
    pub fn failures(&self) -> u32 {
        self.away.map_or(0, |away| away.failures)
    }

    /// Logs that are under way, that could be, and that are parked.
    pub fn counts(&self, now: Instant) -> (usize, usize, usize) {
        self.logs.values().fold((0, 0, 0), |(running, waiting, parked), log| match log.state {
            State::Running => (running + 1, waiting, parked),
            State::Ready(since) if since <= now => (running, waiting + 1, parked),
            State::Ready(_) | State::AwaitsStore(_) => (running, waiting, parked + 1),
        })
    }

    fn first_ready(&self, lane: Lane, now: Instant) -> Option<Ticket> {
        let of_lane = self.logs.iter().filter(|(_, log)| log.lane == lane);
        let ready = of_lane.filter_map(|(ticket, log)| Some((log.due()?, *ticket))).filter(|(due, _)| *due <= now);
        ready.min().map(|(_, ticket)| ticket)
    }

    /// Strictly in order: a log that would need all of the budget is not overtaken for ever.
    fn fits(&self, ticket: Ticket, lane: Lane) -> bool {
        let running = self.logs.values().filter(|log| log.lane == lane && log.state == State::Running);
        match lane {
            Lane::Large => running.count() == 0,
            Lane::Small => {
                let (count, bytes) = running.fold((0, 0), |(count, bytes), log| (count + 1, bytes + log.bytes));
                let more = self.logs.get(&ticket).map_or(0, |log| log.bytes);
                count == 0 || (count < self.limits.small_at_once && bytes + more <= self.limits.small_total)
            }
        }
    }

    fn start(&mut self, ticket: Ticket, now: Instant) {
        if let Some(log) = self.logs.get_mut(&ticket) {
            log.state = State::Running;
        }
        if let Some(away) = &mut self.away {
            away.until = now + away.wait;
        }
    }

    fn why_not(&self, now: Instant) -> WhyNot {
        match self.logs.values().filter_map(Log::due).min() {
            Some(due) if due > now => WhyNot::Parked { until: due },
            Some(_) => {
                // One is ready and does not fit; another lane may have one that becomes due before room is made.
                let later = self.logs.values().filter_map(Log::due).filter(|due| *due > now).min();
                later.map_or(WhyNot::LanesFull, |until| WhyNot::Parked { until })
            }
            None => WhyNot::LanesFull,
        }
    }
}

impl Log {
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Ready(due) | State::AwaitsStore(due) => Some(due),
            State::Running => None,
        }
    }
}
