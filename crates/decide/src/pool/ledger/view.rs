//! What people see of the pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::{PoolDetail, PoolMember, PoolStatus, PoolWait};

use super::entry::{Entry, Standing, Turn};
use super::queue::{LaneKey, Pool};
use super::{Ledger, plan};
use crate::pool::admission::{self, Asking};
use crate::pool::placement::Survey;
use crate::pool::{Kind, Order, WaitReason};

/// Why each lane waits, and the exceptions.
struct Reasons<'a> {
    lanes: BTreeMap<&'a LaneKey, WaitReason>,
    single: BTreeMap<Arc<str>, WaitReason>,
}

impl Ledger {
    pub(super) fn status(&self, name: &Arc<str>, now: Timestamp) -> Option<PoolStatus> {
        let pool = self.books.pools.get(name)?;
        let pool = &self.surveyed(pool);
        let reasons = self.reasons(name, pool, now);
        let mut waiting: BTreeMap<String, u32> = BTreeMap::new();
        let mut count = |why: &WaitReason, members: usize| {
            if members > 0 {
                *waiting.entry(why.as_str().to_owned()).or_default() += u32::try_from(members).unwrap_or(u32::MAX);
            }
        };
        for (key, lane) in &pool.lanes {
            let singled = lane.members.iter().filter_map(|turn| reasons.single.get(&turn.uid));
            let mut rest = lane.members.len();
            if !reasons.single.is_empty() {
                for why in singled {
                    count(why, 1);
                    rest -= 1;
                }
            }
            if let Some(why) = reasons.lanes.get(key) {
                count(why, rest);
            }
        }
        for turn in &pool.resting {
            count(&self.resting(turn), 1);
        }
        let queued = pool.lanes.values().map(|lane| lane.members.len()).sum::<usize>() + pool.resting.len();
        let everybody = pool.lanes.values().flat_map(|lane| &lane.members).chain(&pool.resting);
        let (settings, size) = (pool.settings.as_ref(), pool.size());
        Some(PoolStatus {
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
            oldest: everybody.map(|turn| turn.created).min(),
            waiting,
        })
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
        Some(PoolDetail { members: members.collect(), waiting: waiting.collect(), pool: self.status(name, now)? })
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
        };
        if !self.is_ready() {
            return all(WaitReason::NotListed);
        }
        if pool.settings.is_none() {
            return all(WaitReason::NoSuchPool { pool: name.clone() });
        }
        // Whoever would be admitted now is only held up by the writes that are under way.
        let outcome = plan::round(pool, &self.cluster, now, usize::MAX);
        let next = WaitReason::ItsTurn { writes: u32::try_from(self.flights.len()).unwrap_or(u32::MAX) };
        let admitted = outcome.admitted.into_iter().map(|admitted| (admitted.key.uid, next.clone()));
        let blocker = outcome.blocker.map(|(turn, why)| (turn.uid, why));
        Reasons { lanes: pool.lanes.keys().zip(outcome.waiting).collect(), single: admitted.chain(blocker).collect() }
    }

    fn resting(&self, turn: &Turn) -> WaitReason {
        let retry = self.books.members.get(&turn.uid).and_then(|entry| entry.retry.as_ref());
        let writes = u32::try_from(self.flights.len()).unwrap_or(u32::MAX);
        retry.map_or(WaitReason::ItsTurn { writes }, |retry| WaitReason::Refused { why: retry.why.clone(), until: retry.until })
    }
}

/// The first of those who wait, in the order of admission; without a lane those who rest.
fn in_order(pool: &Pool, limit: usize) -> Vec<(&Turn, Option<&LaneKey>)> {
    let lanes = pool.lanes.iter().map(|(key, lane)| (Some(key), lane.members.iter().peekable()));
    let mut lanes: Vec<_> = lanes.chain([(None, pool.resting.iter().peekable())]).collect();
    let mut shares = pool.shares.clone();
    let mut ordered = Vec::new();
    while ordered.len() < limit {
        let heads: Vec<_> = lanes
            .iter_mut()
            .enumerate()
            .filter_map(|(index, (_, members))| {
                let turn = *members.peek()?;
                let share = shares.get(&turn.namespace).copied().unwrap_or(0);
                Some((index, Asking { priority: turn.priority.0, key: turn }, share))
            })
            .collect();
        let Some(next) = admission::first(pool.order(), heads.iter().map(|(index, asking, share)| (*index, asking, *share)))
        else {
            break;
        };
        let (key, members) = &mut lanes[next];
        let Some(turn) = members.next() else { break };
        if pool.order() == Order::FairShare {
            *shares.entry(turn.namespace.clone()).or_default() += key.map_or(1, |key| key.slots);
        }
        ordered.push((turn, *key));
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
