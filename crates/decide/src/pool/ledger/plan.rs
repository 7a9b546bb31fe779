//! What to do now: looks first, then for each pool what it owes to those who have a slot, then who gets the next ones.

use std::sync::Arc;

use jiff::Timestamp;

use super::cluster::Cluster;
use super::entry::{Entry, Standing, Turn};
use super::queue::Pool;
use super::{Ledger, MOST_IN_FLIGHT};
use crate::pool::admission::{self, Asking, Lane, Load, Outcome, Round};
use crate::pool::placement::Survey;
use crate::pool::{Step, WaitReason};

impl Ledger {
    pub(super) fn next_steps(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(uid) = self.books.next_rested(now) {
            self.books.edit(&uid, |entry| {
                if let Some(retry) = &mut entry.retry {
                    retry.resting = false;
                }
            });
        }
        for name in self.wakes.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.wakes.remove(&name);
            self.books.changed.insert(name);
        }
        while self.room() > 0
            && let Some(uid) = self.books.next_look(now)
        {
            steps.extend(self.depart(&uid, |entry, target| {
                entry.look = None;
                Step::Look { target }
            }));
        }
        while self.room() > 0
            && let Some(name) = self.next_pool()
        {
            self.plan_pool(&name, now, &mut steps);
            self.last = Some(name);
        }
        steps
    }

    fn room(&self) -> usize {
        MOST_IN_FLIGHT.saturating_sub(self.flights.len())
    }

    /// The next that changed, after the one that was last.
    fn next_pool(&mut self) -> Option<Arc<str>> {
        let changed = &self.books.changed;
        let after = self.last.as_ref().and_then(|last| changed.range(last.clone()..).find(|name| *name != last));
        let next = after.or_else(|| changed.first())?.clone();
        self.books.changed.remove(&next);
        Some(next)
    }

    /// A step that leaves the hand; until its answer nothing else is done with the member.
    fn depart(&mut self, uid: &Arc<str>, step: impl FnOnce(&mut Entry, crate::pool::Target) -> Step) -> Option<Step> {
        let mut departed = None;
        self.books.edit(uid, |entry| {
            let target = entry.target(uid);
            departed = Some(step(entry, target));
            entry.in_flight = true;
        });
        if departed.is_some() {
            self.flights.insert(uid.clone());
        }
        departed
    }

    fn plan_pool(&mut self, name: &Arc<str>, now: Timestamp, steps: &mut Vec<Step>) {
        self.wakes.remove(name);
        if self.books.pools.get(name).is_none_or(|pool| pool.settings.is_none()) {
            return;
        }
        self.fence(name, now, steps);
        self.release(name, now, steps);
        self.admit(name, now, steps);
        // What these steps changed was seen to here; what was left undone is taken up when one of them is answered.
        if self.room() > 0 {
            self.books.changed.remove(name);
        } else {
            self.books.changed.insert(name.clone());
        }
    }

    fn fence(&mut self, name: &Arc<str>, now: Timestamp, steps: &mut Vec<Step>) {
        while self.room() > 0
            && let Some(turn) = self.books.pools.get(name).and_then(|pool| pool.to_fence.first()).cloned()
        {
            let epoch = self.epoch;
            steps.extend(self.depart(&turn.uid, |entry, target| {
                let nodes = entry.slot.as_ref().map_or(Vec::new(), |slot| slot.nodes.clone());
                Step::Reserve { target, slot: entry.write(Standing::Fencing, epoch, nodes, now) }
            }));
        }
    }

    /// The last to come are the first to give back what is too much.
    fn release(&mut self, name: &Arc<str>, now: Timestamp, steps: &mut Vec<Step>) {
        let reserved: Vec<Turn> =
            self.books.pools.get(name).map_or(Vec::new(), |pool| pool.to_release.iter().rev().cloned().collect());
        for turn in reserved {
            let Some(pool) = self.books.pools.get(name) else { return };
            let Some(entry) = self.books.members.get(&turn.uid) else { continue };
            if pool.used > pool.size() || !may_go(pool, entry, now) {
                self.books.edit(&turn.uid, |entry| entry.standing = Standing::Queued);
            }
        }
        while self.room() > 0
            && let Some(turn) = self.books.pools.get(name).and_then(|pool| pool.to_release.first()).cloned()
        {
            let step = self.depart(&turn.uid, |entry, target| {
                let Some(slot) = entry.slot.as_deref().cloned() else { return Step::Look { target } };
                entry.standing = Standing::Releasing;
                Step::Release { target, slot }
            });
            steps.extend(step);
        }
    }

    fn admit(&mut self, name: &Arc<str>, now: Timestamp, steps: &mut Vec<Step>) {
        let (room, epoch) = (self.room(), self.epoch);
        let Some(pool) = self.books.pools.get_mut(name) else { return };
        survey(pool, &self.cluster);
        let outcome = round(pool, &self.cluster, now, room);
        let wake = outcome.waiting.iter().filter_map(|why| match why {
            WaitReason::StartRate { until } => Some(*until),
            _ => None,
        });
        if let Some(wake) = wake.min() {
            self.wakes.insert(name.clone(), wake);
        }
        for admitted in outcome.admitted {
            let nodes: Vec<String> = admitted.nodes.iter().map(ToString::to_string).collect();
            steps.extend(self.depart(&admitted.key.uid, |entry, target| Step::Reserve {
                target,
                slot: entry.write(Standing::Reserving, epoch, nodes, now),
            }));
        }
    }
}

/// Lanes without a survey get theirs.
fn survey(pool: &mut Pool, cluster: &Cluster) {
    let Some(settings) = &pool.settings else { return };
    for (key, lane) in &mut pool.lanes {
        if let (Some(requirements), None) = (&key.requirements, &lane.survey) {
            lane.survey = Some(Survey::of(cluster.nodes.values(), &[&settings.nodes, requirements]));
        }
    }
}

/// The lanes' order is the pool's.
pub(super) fn round(pool: &Pool, cluster: &Cluster, now: Timestamp, most: usize) -> Outcome<Turn> {
    let none = Survey::default();
    let round = Round {
        size: pool.size(),
        used: pool.used,
        order: pool.order(),
        limits: pool.limits(),
        shares: &pool.shares,
        loads: &pool.loads,
        named: &|node| cluster.is_named(node),
        now,
    };
    let lanes = pool.lanes.iter().map(|(key, lane)| Lane {
        namespace: key.namespace.as_ref(),
        slots: key.slots,
        survey: key.requirements.as_ref().map(|_| lane.survey.as_ref().unwrap_or(&none)),
        members: lane.members.iter().map(|turn| Asking { priority: turn.priority.0, key: turn.clone() }).peekable(),
    });
    admission::admit(&round, lanes.collect(), most)
}

/// Whether the slot of a reserved member is still one to be used.
fn may_go(pool: &Pool, entry: &Entry, now: Timestamp) -> bool {
    let limits = pool.limits();
    let Some(slot) = &entry.slot else { return false };
    if slot.pool != *entry.home {
        return false;
    }
    if slot.nodes.is_empty() {
        return !limits.any() || !entry.has_node_limits();
    }
    let load = |node: &String| pool.loads.get(node.as_str());
    slot.nodes.iter().all(|node| load(node).is_none_or(|load: &Load| load.within(limits, now)))
        && slot.nodes.iter().any(|node| pool.nodes.contains(node.as_str()))
}
