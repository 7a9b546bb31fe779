//! What people see of the pools.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::{PoolDetail, PoolMember, PoolStatus, PoolWait};

use super::entry::{Entry, Standing, Turn};
use super::queue::{LaneKey, Pool};
use super::{Ledger, plan};
use crate::pool::admission::{Asking, Line};
use crate::pool::placement::Survey;
use crate::pool::{Kind, Order, WaitReason};

/// So many of those whose turn it is are found one by one; times nodes, where each may only go to some.
const TURNS: usize = 1024;
const TURNS_AND_NODES: usize = 16_384;

/// Why each lane waits, and the exceptions.
struct Reasons<'a> {
    lanes: BTreeMap<&'a LaneKey, WaitReason>,
    single: BTreeMap<Arc<str>, WaitReason>,
    /// More have their turn than were found, at most to this number of places; the rest waits because of this.
    beyond: Option<(u32, WaitReason)>,
}

impl Ledger {
    pub(super) fn status(&self, name: &Arc<str>, now: Timestamp) -> Option<PoolStatus> {
        let pool = self.books.pools.get(name)?;
        let pool = &self.surveyed(pool);
        Some(self.summary(name, pool, &self.reasons(name, pool, now)))
    }

    fn summary(&self, name: &Arc<str>, pool: &Pool, reasons: &Reasons<'_>) -> PoolStatus {
        let mut waiting: BTreeMap<String, u32> = BTreeMap::new();
        let mut count = |why: &WaitReason, members: usize| {
            if members > 0 {
                *waiting.entry(why.as_str().to_owned()).or_default() += u32::try_from(members).unwrap_or(u32::MAX);
            }
        };
        let mut singled: BTreeMap<LaneKey, usize> = BTreeMap::new();
        let mut turns = 0_u32;
        for (uid, why) in &reasons.single {
            let Some(entry) = self.books.members.get(uid) else { continue };
            *singled.entry(pool.lane_key(entry)).or_default() += 1;
            turns = turns.saturating_add(entry.slots);
            count(why, 1);
        }
        for (key, lane) in &pool.lanes {
            let rest = lane.members.len() - singled.get(key).copied().unwrap_or(0).min(lane.members.len());
            match (reasons.lanes.get(key), &reasons.beyond) {
                (Some(why @ WaitReason::ItsTurn { .. }), Some((places, beyond))) => {
                    let fit = usize::try_from(places.saturating_sub(turns) / key.slots.max(1)).unwrap_or(usize::MAX).min(rest);
                    turns = turns.saturating_add(u32::try_from(fit).unwrap_or(u32::MAX).saturating_mul(key.slots));
                    count(why, fit);
                    count(beyond, rest - fit);
                }
                (Some(why), _) => count(why, rest),
                (None, _) => {}
            }
        }
        for turn in &pool.resting {
            count(&self.resting(turn), 1);
        }
        let queued = pool.lanes.values().map(|lane| lane.members.len()).sum::<usize>() + pool.resting.len();
        let everybody = pool.lanes.values().map(|lane| &lane.members).chain([&pool.resting]);
        let (settings, size) = (pool.settings.as_ref(), pool.size());
        PoolStatus {
            name: name.to_string(),
            size,
            configured_size: settings.map_or_else(|| "not configured".to_owned(), |settings| settings.size.to_string()),
            per_node: settings.and_then(|settings| settings.per_node),
            start_rate: settings.and_then(|settings| settings.start_rate).map(|rate| rate.to_string()),
            order: pool.order().as_str().to_owned(),
            nodes: u32::try_from(pool.nodes.len()).unwrap_or(u32::MAX),
            used: pool.used,
            over: settings.map_or(0, |_| pool.used.saturating_sub(size)),
            queued: u32::try_from(queued).unwrap_or(u32::MAX),
            oldest: everybody.filter_map(oldest).min(),
            waiting,
        }
    }

    pub(super) fn detail(&self, name: &str, limit: usize, now: Timestamp) -> Option<PoolDetail> {
        let (name, pool) = self.books.pools.get_key_value(name)?;
        let surveyed = &self.surveyed(pool);
        let reasons = self.reasons(name, surveyed, now);
        let members = pool.holders.iter().take(limit).filter_map(|turn| Some(holder(turn, self.books.members.get(&turn.uid)?)));
        let waiting = in_order(surveyed, limit).into_iter().enumerate().filter_map(|(index, (turn, key))| {
            let entry = self.books.members.get(&turn.uid)?;
            let why = match key {
                None => self.resting(turn),
                Some(key) => reasons.single.get(&turn.uid).or_else(|| reasons.lanes.get(key))?.clone(),
            };
            Some(waiter(turn, entry, index, &why))
        });
        let pool = self.summary(name, surveyed, &reasons);
        Some(PoolDetail { members: members.collect(), waiting: waiting.collect(), pool })
    }

    /// With the surveys that the next plan would make.
    fn surveyed<'a>(&self, pool: &'a Pool) -> std::borrow::Cow<'a, Pool> {
        let missing = |(key, lane): (&LaneKey, &super::queue::Lane)| key.requirements.is_some() && lane.survey.is_none();
        let Some(settings) = pool.settings.as_ref().filter(|_| pool.lanes.iter().any(missing)) else {
            return std::borrow::Cow::Borrowed(pool);
        };
        let mut pool = pool.clone();
        for (key, lane) in &mut pool.lanes {
            let requirements = key.requirements.as_ref().filter(|_| lane.survey.is_none());
            if let Some(requirements) = requirements {
                lane.survey = Some(Survey::of(self.cluster.nodes.values(), &[&settings.nodes, requirements]));
            }
        }
        std::borrow::Cow::Owned(pool)
    }

    fn reasons<'a>(&self, name: &Arc<str>, pool: &'a Pool, now: Timestamp) -> Reasons<'a> {
        let all = |why: WaitReason| Reasons {
            lanes: pool.lanes.keys().map(|key| (key, why.clone())).collect(),
            single: BTreeMap::new(),
            beyond: None,
        };
        if !self.is_ready() {
            return all(WaitReason::NotListed);
        }
        if pool.settings.is_none() {
            return all(WaitReason::NoSuchPool { pool: name.clone() });
        }
        // Whoever would be admitted now is only held up by the writes that are under way.
        let nodes = if pool.limits().any() { pool.nodes.len() } else { 0 };
        let outcome = plan::round(pool, &self.cluster, now, TURNS.min(TURNS_AND_NODES / nodes.max(1)).max(1));
        let size = pool.size();
        let beyond = outcome.more.then(|| (size.saturating_sub(pool.used), WaitReason::PoolFull { used: size, size }));
        let next = WaitReason::ItsTurn { writes: u32::try_from(self.flights.len()).unwrap_or(u32::MAX) };
        let admitted = outcome.admitted.into_iter().map(|admitted| (admitted.key.uid, next.clone()));
        let blocker = outcome.blocker.map(|(turn, why)| (turn.uid, why));
        let waiting = outcome.waiting.into_iter().map(|why| match why {
            WaitReason::ItsTurn { .. } => next.clone(),
            why => why,
        });
        Reasons { lanes: pool.lanes.keys().zip(waiting).collect(), single: admitted.chain(blocker).collect(), beyond }
    }

    fn resting(&self, turn: &Turn) -> WaitReason {
        let retry = self.books.members.get(&turn.uid).and_then(|entry| entry.retry.as_ref());
        let writes = u32::try_from(self.flights.len()).unwrap_or(u32::MAX);
        retry.map_or(WaitReason::ItsTurn { writes }, |retry| WaitReason::Refused { why: retry.why.clone(), until: retry.until })
    }
}

/// The first of each priority is the oldest of it: nobody else is looked at.
fn oldest(turns: &BTreeSet<Turn>) -> Option<Timestamp> {
    let (mut oldest, mut next) = (None, turns.first());
    while let Some(turn) = next {
        oldest = Some(oldest.map_or(turn.created, |oldest: Timestamp| oldest.min(turn.created)));
        let after = Turn { created: Timestamp::MAX, ..turn.clone() };
        next = turns.range((Bound::Excluded(&after), Bound::Unbounded)).next();
    }
    oldest
}

/// The first of those who wait, in the order of admission; without a lane those who rest.
fn in_order(pool: &Pool, limit: usize) -> Vec<(&Turn, Option<&LaneKey>)> {
    let lanes = pool.lanes.iter().map(|(key, lane)| (Some(key), lane.members.iter().peekable()));
    let mut lanes: Vec<_> = lanes.chain([(None, pool.resting.iter().peekable())]).collect();
    let mut shares = pool.shares.clone();
    let share = |shares: &BTreeMap<Arc<str>, u32>, turn: &Turn| shares.get(&turn.namespace).copied().unwrap_or(0);
    let mut line = Line::new(pool.order());
    let mut ordered = Vec::new();
    let mut heads: Vec<usize> = (0..lanes.len()).collect();
    while ordered.len() < limit {
        for index in heads.drain(..) {
            if let Some(turn) = lanes[index].1.peek() {
                line.join(index, Asking { priority: turn.priority.0, key: *turn }, share(&shares, turn));
            }
        }
        let Some(next) = line.pop(|_, turn| share(&shares, turn)) else { break };
        let (key, members) = &mut lanes[next];
        let Some(turn) = members.next() else { break };
        if pool.order() == Order::FairShare {
            *shares.entry(turn.namespace.clone()).or_default() += key.map_or(1, |key| key.slots);
        }
        ordered.push((turn, *key));
        heads.push(next);
    }
    ordered
}

fn holder(turn: &Turn, entry: &Entry) -> PoolMember {
    let state = match entry.standing {
        Standing::Ungated if entry.deleting => "ending",
        Standing::Ungated if entry.slot.is_none() => "ungated",
        Standing::Ungated if entry.node.is_some() => "bound",
        Standing::Ungated => "released",
        Standing::Releasing => "releasing",
        _ => "reserved",
    };
    PoolMember {
        kind: kind(entry.kind).to_owned(),
        namespace: turn.namespace.to_string(),
        name: turn.name.to_string(),
        uid: turn.uid.to_string(),
        state: state.to_owned(),
        slots: entry.slots,
        node: entry.node.as_ref().map(ToString::to_string),
        since: entry.slot.as_ref().map(|slot| slot.given).or(entry.started),
        why: entry.unschedulable.as_deref().filter(|_| state == "released").map(str::to_owned),
    }
}

fn waiter(turn: &Turn, entry: &Entry, index: usize, why: &WaitReason) -> PoolWait {
    PoolWait {
        kind: kind(entry.kind).to_owned(),
        namespace: turn.namespace.to_string(),
        name: turn.name.to_string(),
        uid: turn.uid.to_string(),
        priority: entry.priority,
        slots: entry.slots,
        created: entry.created,
        position: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
        reason: why.as_str().to_owned(),
        why: why.to_string(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "Pod",
        Kind::Job => "Job",
    }
}
