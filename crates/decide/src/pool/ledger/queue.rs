//! One pool: what it allows, what it has given away, and who waits for it. Kept up to date member by member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{Entry, Standing, Turn};
use crate::pool::admission::{Limits, Load};
use crate::pool::placement::Survey;
use crate::pool::{Order, PoolSettings, Requirements};

#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Absent where members name a pool that nobody configured.
    pub(super) settings: Option<PoolSettings>,
    /// Nodes that count, by name.
    pub(super) nodes: BTreeSet<Arc<str>>,
    /// Places taken.
    pub(super) used: u32,
    pub(super) shares: BTreeMap<Arc<str>, u32>,
    pub(super) loads: BTreeMap<Arc<str>, Load>,
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    /// Refused, and not to be tried again yet.
    pub(super) resting: BTreeSet<Turn>,
    /// Their slots are to be written anew.
    pub(super) to_fence: BTreeSet<Turn>,
    pub(super) to_release: BTreeSet<Turn>,
    /// Those who take a place.
    pub(super) holders: BTreeSet<Turn>,
}

/// Members that are alike for the admission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) slots: u32,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) requirements: Option<Arc<Requirements>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) members: BTreeSet<Turn>,
    /// Made when it is asked for.
    pub(super) survey: Option<Survey>,
}

impl Pool {
    pub(super) fn size(&self) -> u32 {
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.settings.as_ref().map_or(0, |settings| settings.size.places(nodes))
    }

    pub(super) fn order(&self) -> Order {
        self.settings.as_ref().map_or(Order::Fifo, |settings| settings.order)
    }

    pub(super) fn limits(&self) -> Limits {
        self.settings.as_ref().map_or(Limits::default(), Limits::of)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.settings.is_none() && self.holders.is_empty() && self.lanes.is_empty() && self.resting.is_empty()
    }

    pub(super) fn add(&mut self, uid: &Arc<str>, entry: &Entry) {
        self.tally(entry, u32::saturating_add);
        let turn = entry.turn(uid);
        if entry.takes_place() {
            self.holders.insert(turn.clone());
        }
        if entry.deleting {
            return;
        }
        let idle = !entry.in_flight && !entry.resting();
        match entry.standing {
            Standing::Queued if !idle => {
                self.resting.insert(turn);
            }
            Standing::Queued => {
                let key = self.lane_key(entry);
                self.lanes.entry(key).or_default().members.insert(turn);
            }
            Standing::Inherited if idle => {
                self.to_fence.insert(turn);
            }
            Standing::Reserved if idle => {
                self.to_release.insert(turn);
            }
            _ => {}
        }
    }

    /// The inverse, for the entry as it was added.
    pub(super) fn subtract(&mut self, uid: &Arc<str>, entry: &Entry) {
        self.tally(entry, u32::saturating_sub);
        let turn = entry.turn(uid);
        for set in [&mut self.holders, &mut self.resting, &mut self.to_fence, &mut self.to_release] {
            set.remove(&turn);
        }
        if entry.standing == Standing::Queued {
            let key = self.lane_key(entry);
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.members.remove(&turn);
                if lane.members.is_empty() {
                    self.lanes.remove(&key);
                }
            }
        }
    }

    fn tally(&mut self, entry: &Entry, count: fn(u32, u32) -> u32) {
        if !entry.takes_place() {
            return;
        }
        self.used = count(self.used, entry.slots);
        let share = self.shares.entry(entry.namespace.clone()).or_default();
        *share = count(*share, entry.slots);
        if *share == 0 {
            self.shares.remove(&entry.namespace);
        }
        if !entry.has_node_limits() {
            return;
        }
        if let Some(node) = &entry.node {
            let load = self.loads.entry(node.clone()).or_default();
            load.bound = count(load.bound, 1);
            self.tidy(node);
        }
        for node in entry.held() {
            let node: Arc<str> = node.as_str().into();
            let load = self.loads.entry(node.clone()).or_default();
            load.held = count(load.held, 1);
            self.tidy(&node);
        }
    }

    fn tidy(&mut self, node: &Arc<str>) {
        if self.loads.get(node).is_some_and(Load::is_empty) {
            self.loads.remove(node);
        }
    }

    pub(super) fn started(&mut self, node: &Arc<str>, at: Timestamp, now: Timestamp) {
        let rate = self.limits().start_rate;
        let load = self.loads.entry(node.clone()).or_default();
        load.started(at);
        // Before the pools are known, none is too old.
        if self.settings.is_some() {
            load.forget_before(now, rate);
        }
        self.tidy(node);
    }

    pub(super) fn forget_starts(&mut self, now: Timestamp) {
        let rate = self.limits().start_rate;
        for load in self.loads.values_mut() {
            load.forget_before(now, rate);
        }
        self.loads.retain(|_, load| !load.is_empty());
    }

    pub(super) fn lane_key(&self, entry: &Entry) -> LaneKey {
        let limited = self.limits().any() && entry.has_node_limits();
        LaneKey {
            slots: entry.slots,
            namespace: (self.order() == Order::FairShare).then(|| entry.namespace.clone()),
            requirements: limited.then(|| entry.requirements.clone()),
        }
    }
}
