//! Which nodes of those that suit a member have room for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Limits, Round};
use crate::pool::placement::Survey;
use crate::pool::{StartRate, WaitReason, words};

/// Most nodes that one member holds a place on.
const MOST_NODES: usize = 16;

/// What a pool has on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Members that are bound to it.
    pub bound: u32,
    /// Members that may still come, because it is in their list.
    pub held: u32,
    /// When members were bound to it, oldest first, as far back as the start rate asks.
    pub starts: VecDeque<Timestamp>,
}

/// Why a node with the right labels has no room.
enum Shut {
    Full,
    Until(Timestamp),
    /// As many are on the way as may start in one window.
    Started,
}

impl Load {
    pub fn is_empty(&self) -> bool {
        self.bound == 0 && self.held == 0 && self.starts.is_empty()
    }

    pub fn started(&mut self, at: Timestamp) {
        let place = self.starts.partition_point(|start| *start <= at);
        self.starts.insert(place, at);
    }

    /// Lets go of starts that no window holds any more.
    pub fn forget_before(&mut self, now: Timestamp, rate: Option<StartRate>) {
        let over = |start: &Timestamp| rate.is_none_or(|rate| expires(*start, rate) <= now);
        while self.starts.front().is_some_and(over) {
            self.starts.pop_front();
        }
    }

    /// How many more may come; `extra` were let in meanwhile.
    fn room(&self, extra: u32, limits: Limits, now: Timestamp) -> Result<u32, Shut> {
        let coming = self.held.saturating_add(extra);
        let places = limits.per_node.map_or(u32::MAX, |most| most.saturating_sub(self.bound.saturating_add(coming)));
        if places == 0 {
            return Err(Shut::Full);
        }
        let Some(rate) = limits.start_rate else { return Ok(places) };
        let recent = self.starts.iter().filter(|start| expires(**start, rate) > now);
        let starts = u32::try_from(recent.clone().count()).unwrap_or(u32::MAX).saturating_add(coming);
        match rate.starts.saturating_sub(starts) {
            0 if coming >= rate.starts => Err(Shut::Started),
            // Enough of the oldest must leave the window for one more to fit.
            0 => {
                let leave = usize::try_from(starts - rate.starts).unwrap_or(usize::MAX);
                recent.clone().nth(leave).map_or(Err(Shut::Started), |start| Err(Shut::Until(expires(*start, rate))))
            }
            budget => Ok(places.min(budget)),
        }
    }

    /// Whether those who are counted here are not too many.
    pub fn within(&self, limits: Limits, now: Timestamp) -> bool {
        let places = limits.per_node.is_none_or(|most| self.bound.saturating_add(self.held) <= most);
        places
            && limits.start_rate.is_none_or(|rate| {
                let recent = self.starts.iter().filter(|start| expires(**start, rate) > now).count();
                u32::try_from(recent).unwrap_or(u32::MAX).saturating_add(self.held) <= rate.starts
            })
    }
}

fn expires(start: Timestamp, rate: StartRate) -> Timestamp {
    start.checked_add(rate.within).unwrap_or(Timestamp::MAX)
}

/// The nodes' room in the course of one round.
pub(super) struct Rooms<'a> {
    round: &'a Round<'a>,
    /// Held in this round.
    extra: BTreeMap<Arc<str>, u32>,
    empty: Load,
}

impl<'a> Rooms<'a> {
    pub(super) fn new(round: &'a Round<'a>) -> Self {
        Self { round, extra: BTreeMap::new(), empty: Load::default() }
    }

    pub(super) fn hold(&mut self, nodes: &[Arc<str>]) {
        for node in nodes {
            *self.extra.entry(node.clone()).or_default() += 1;
        }
    }

    /// The emptiest nodes first, as many as one of `wanting` may have.
    pub(super) fn choose(&self, survey: &Survey, wanting: u32) -> Result<Vec<Arc<str>>, WaitReason> {
        let mut free = Vec::new();
        let mut until: Option<Timestamp> = None;
        let mut rated = false;
        for node in &survey.fits {
            let load = self.round.loads.get(node).unwrap_or(&self.empty);
            let extra = self.extra.get(node).copied().unwrap_or(0);
            match load.room(extra, self.round.limits, self.round.now) {
                Ok(_) => free.push((load.bound + load.held + extra, node)),
                Err(Shut::Full) => {}
                Err(Shut::Started) => rated = true,
                Err(Shut::Until(at)) => until = Some(until.map_or(at, |until| until.min(at))),
            }
        }
        let nodes = u32::try_from(survey.fits.len()).unwrap_or(u32::MAX);
        if free.is_empty() {
            return Err(match (until, self.round.limits) {
                _ if nodes == 0 => no_node(survey),
                (Some(until), _) => WaitReason::StartRate { until },
                // Nobody knows when those will be bound that are on the way: it is looked again when they are.
                (None, Limits { start_rate: Some(rate), .. }) if rated => WaitReason::NodesFull { nodes, per_node: rate.starts },
                (None, limits) => WaitReason::NodesFull { nodes, per_node: limits.per_node.unwrap_or(0) },
            });
        }
        free.sort();
        let share = free.len().div_ceil(usize::try_from(wanting.max(1)).unwrap_or(usize::MAX)).clamp(1, MOST_NODES);
        Ok(self.list(&free, share))
    }

    /// A list of several holds only nodes that a label tells apart; the emptiest node may be alone.
    fn list(&self, free: &[(u32, &Arc<str>)], share: usize) -> Vec<Arc<str>> {
        let mut names = free.iter().map(|(_, node)| *node);
        let Some(emptiest) = names.next() else { return Vec::new() };
        let mut list = vec![emptiest.clone()];
        if (self.round.named)(emptiest) {
            list.extend(names.filter(|node| (self.round.named)(node)).take(share - 1).cloned());
        }
        list
    }
}

fn no_node(survey: &Survey) -> WaitReason {
    WaitReason::NoNode { nodes: survey.unfit.values().sum(), why: words::summary(&survey.unfit) }
}
