//! Who gets a place, as one pure function of what a pool allows, what is in use and who waits.
//!
//! Those who wait stand in *lanes*: members of one lane ask for the same (places, nodes, and under fair share a namespace), so what
//! holds one of them back holds back all behind it in the lane, and none of them has to be looked at.
//! In: a [`Round`] and the lanes. Out: who is admitted, to which nodes, and for every lane why the rest of it waits.
//! Used by the cluster's [`super::Ledger`] and by the executor of one machine ([`crate::local`]).

mod line;
mod nodes;

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use jiff::Timestamp;

use super::placement::Survey;
use super::{Order, PoolSettings, Size, StartRate, WaitReason};
pub use line::Line;
pub use nodes::Load;
use nodes::Rooms;

/// What the pool allows and what is taken, at one moment.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    /// Resolved, if it was a percentage.
    pub size: u32,
    pub used: u32,
    pub order: Order,
    pub limits: Limits,
    /// Places in use by namespace; only fair share asks.
    pub shares: &'a BTreeMap<Arc<str>, u32>,
    /// By node; a node without an entry has none.
    pub loads: &'a BTreeMap<Arc<str>, Load>,
    /// Nodes that may be in a list of several, by the label that tells them apart.
    pub named: &'a dyn Fn(&str) -> bool,
    pub now: Timestamp,
}

/// What each node allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub per_node: Option<u32>,
    pub start_rate: Option<StartRate>,
}

/// Members that ask for the same, first come first.
pub struct Lane<'a, I: Iterator> {
    pub namespace: Option<&'a Arc<str>>,
    /// Of each member.
    pub slots: u32,
    /// Where they may go; absent where the pool does not care.
    pub survey: Option<&'a Survey>,
    pub members: Peekable<I>,
}

/// One who waits. `K` is its key and its turn within its priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking<K> {
    pub priority: i32,
    pub key: K,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted<K> {
    pub key: K,
    /// Any node where empty.
    pub nodes: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
pub struct Outcome<K> {
    pub admitted: Vec<Admitted<K>>,
    /// For each lane: why those wait who were not admitted.
    pub waiting: Vec<WaitReason>,
    /// The one that needs more places than are free; it waits for the pool, not for itself.
    pub blocker: Option<(K, WaitReason)>,
    /// Ended because `most` were admitted: there may be more.
    pub more: bool,
}

impl Limits {
    pub fn of(settings: &PoolSettings) -> Self {
        Self { per_node: settings.per_node, start_rate: settings.start_rate }
    }

    /// A place is one on certain nodes.
    pub fn any(&self) -> bool {
        self.per_node.is_some() || self.start_rate.is_some()
    }
}

impl Size {
    /// Places, where the pool has so many nodes that can take pods.
    pub fn places(self, nodes: u32) -> u32 {
        match self {
            Self::Places(places) => places,
            Self::Percent(percent) => {
                let places = (u64::from(percent) * u64::from(nodes)).div_ceil(100);
                u32::try_from(places).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Gives places away until none is left or nobody can use one, but at most to `most`.
pub fn admit<K, I>(round: &Round<'_>, lanes: Vec<Lane<'_, I>>, most: usize) -> Outcome<K>
where
    K: Ord + Clone,
    I: Iterator<Item = Asking<K>>,
{
    let mut lanes: Vec<Open<'_, I>> = lanes.into_iter().map(|lane| Open { lane, closed: None }).collect();
    let asking = lanes.iter().map(|open| waiters(&open.lane)).sum();
    let mut admission = Admission { round, used: round.used, shares: BTreeMap::new(), rooms: Rooms::new(round), asking };
    let mut line = Line::new(round.order);
    for (index, open) in lanes.iter_mut().enumerate() {
        admission.join(&mut line, index, &mut open.lane);
    }
    let mut outcome = Outcome { admitted: Vec::new(), waiting: Vec::new(), blocker: None, more: false };
    // Why all wait who have not been told otherwise, once the pool is closed.
    let rest = loop {
        let Some(next) = line.pop(|lane, _| admission.share(lanes[lane].lane.namespace)) else {
            break full(admission.used, round.size);
        };
        let slots = lanes[next].lane.slots;
        if let Some(why) = never(slots, round.size) {
            admission.asking -= waiters(&lanes[next].lane);
            lanes[next].closed = Some(why);
            continue;
        }
        if slots > round.size.saturating_sub(admission.used) {
            let why = full(admission.used, round.size);
            if admission.used >= round.size {
                break why;
            }
            outcome.blocker = lanes[next].lane.members.next().map(|asking| (asking.key, why));
            break WaitReason::Behind { slots };
        }
        if outcome.admitted.len() >= most {
            outcome.more = true;
            break WaitReason::ItsTurn { writes: u32::try_from(most).unwrap_or(u32::MAX) };
        }
        let nodes = match lanes[next].lane.survey {
            Some(survey) => admission.rooms.choose(survey, admission.wanting()),
            None => Ok(Vec::new()),
        };
        match nodes {
            Ok(nodes) => {
                let lane = &mut lanes[next].lane;
                admission.asking -= waiters(lane);
                let Some(head) = lane.members.next() else { continue };
                admission.asking += waiters(lane);
                admission.take(slots, lane.namespace, &nodes);
                admission.join(&mut line, next, lane);
                outcome.admitted.push(Admitted { key: head.key, nodes });
            }
            Err(why) => {
                admission.asking -= waiters(&lanes[next].lane);
                lanes[next].closed = Some(why);
            }
        }
    };
    let why = |lane: Open<'_, I>| lane.closed.or_else(|| never(lane.lane.slots, round.size)).unwrap_or_else(|| rest.clone());
    outcome.waiting = lanes.into_iter().map(why).collect();
    outcome
}

fn full(used: u32, size: u32) -> WaitReason {
    if size == 0 { WaitReason::Paused } else { WaitReason::PoolFull { used, size } }
}

fn never(slots: u32, size: u32) -> Option<WaitReason> {
    match size {
        0 => Some(WaitReason::Paused),
        size if slots > size => Some(WaitReason::TooLarge { slots, size }),
        _ => None,
    }
}

struct Open<'a, I: Iterator> {
    lane: Lane<'a, I>,
    closed: Option<WaitReason>,
}

struct Admission<'a> {
    round: &'a Round<'a>,
    used: u32,
    /// Given in this round, on top of the round's own.
    shares: BTreeMap<Arc<str>, u32>,
    rooms: Rooms<'a>,
    /// Members of the lanes that are open.
    asking: usize,
}

/// The lower bound of an exact iterator is its length; a lane that does not know has one at least.
fn waiters<I: Iterator>(lane: &Lane<'_, I>) -> usize {
    lane.members.size_hint().0.max(1)
}

impl Admission<'_> {
    fn join<K: Ord + Clone, I: Iterator<Item = Asking<K>>>(&self, line: &mut Line<K>, index: usize, lane: &mut Lane<'_, I>) {
        if let Some(head) = lane.members.peek() {
            line.join(index, head.clone(), self.share(lane.namespace));
        }
    }

    fn share(&self, namespace: Option<&Arc<str>>) -> u32 {
        let Some(namespace) = namespace else { return 0 };
        let of = |shares: &BTreeMap<Arc<str>, u32>| shares.get(namespace).copied().unwrap_or(0);
        of(self.round.shares).saturating_add(of(&self.shares))
    }

    /// Members that could get a place now: among so many the free nodes are shared.
    fn wanting(&self) -> u32 {
        let free = self.round.size.saturating_sub(self.used);
        free.min(u32::try_from(self.asking).unwrap_or(u32::MAX))
    }

    fn take(&mut self, slots: u32, namespace: Option<&Arc<str>>, nodes: &[Arc<str>]) {
        self.used = self.used.saturating_add(slots);
        if let Some(namespace) = namespace {
            *self.shares.entry(namespace.clone()).or_default() += slots;
        }
        self.rooms.hold(nodes);
    }
}

#[cfg(test)]
mod tests;
