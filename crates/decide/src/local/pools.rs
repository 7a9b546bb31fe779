//! The named pools on one machine, which is their only node. The admission is the cluster's ([`crate::pool::admission`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::job::Job;
use super::{JobKey, Plan, WaitReason, earlier};
use crate::pool::admission::{Admitted, Asking, Lane, Limits, Load, Round, admit};
use crate::pool::placement::Survey;
use crate::pool::{self, PoolSettings};

/// The name of the only node, to the admission.
const MACHINE: &str = "this machine";

#[derive(Default)]
pub(super) struct Pools {
    named: BTreeMap<String, Pool>,
}

struct Pool {
    settings: PoolSettings,
    starts: VecDeque<Timestamp>,
}

/// What one look at all pools amounts to.
#[derive(Default)]
pub(super) struct Verdicts {
    /// A job as often as it gets a place.
    pub(super) admitted: Vec<JobKey>,
    pub(super) wake: Option<Timestamp>,
    waiting: BTreeMap<JobKey, pool::WaitReason>,
}

impl Verdicts {
    /// Who is not held back by a pool waits for the machine.
    pub(super) fn why(&mut self, job: JobKey) -> WaitReason {
        self.held(job).map_or(WaitReason::PoolFull, WaitReason::Pool)
    }

    /// Why its pool holds it back; a pool with a free place does not.
    pub(super) fn held(&mut self, job: JobKey) -> Option<pool::WaitReason> {
        self.waiting.remove(&job)
    }
}

/// Jobs of one pool that want to start pods.
type Wanting<'a> = Vec<(JobKey, &'a Plan, Arc<str>, u32)>;

impl Pools {
    /// Starts of a pool that stays are remembered.
    pub(super) fn configure(&mut self, settings: Vec<PoolSettings>) {
        let mut before = std::mem::take(&mut self.named);
        for settings in settings {
            let starts = before.remove(&settings.name).map_or_else(VecDeque::new, |pool| pool.starts);
            self.named.insert(settings.name.clone(), Pool { settings, starts });
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    pub(super) fn settings(&self, name: &str) -> Option<&PoolSettings> {
        self.named.get(name).map(|pool| &pool.settings)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    pub(super) fn started(&mut self, pool: &str, now: Timestamp) {
        if let Some(pool) = self.named.get_mut(pool)
            && let Some(rate) = pool.settings.start_rate
        {
            let mut load = Load { starts: std::mem::take(&mut pool.starts), ..Load::default() };
            load.started(now);
            load.forget_before(now, Some(rate));
            pool.starts = load.starts;
        }
    }

    pub(super) fn admit<'a>(
        &self,
        running: impl Iterator<Item = &'a Job>,
        wanting: impl Iterator<Item = (JobKey, &'a Plan, u32)>,
        free: usize,
        now: Timestamp,
    ) -> Verdicts {
        let mut used: BTreeMap<&str, BTreeMap<Arc<str>, u32>> = BTreeMap::new();
        for job in running.filter(|job| job.active() > 0) {
            let Some(pool) = &job.plan().pool else { continue };
            let share = used.entry(pool).or_default().entry(job.plan().namespace.as_str().into()).or_default();
            *share += u32::try_from(job.active()).unwrap_or(u32::MAX);
        }
        let mut by_pool: BTreeMap<Option<&str>, Wanting<'_>> = BTreeMap::new();
        for (key, plan, pods) in wanting {
            let lane = (key, plan, plan.namespace.as_str().into(), pods);
            by_pool.entry(plan.pool.as_deref()).or_default().push(lane);
        }
        let mut verdicts = Verdicts::default();
        let mut queues = Vec::new();
        for (name, wanting) in by_pool {
            let shares = name.and_then(|name| used.remove(name)).unwrap_or_default();
            queues.push(self.admit_to(name, wanting, &shares, free, now, &mut verdicts));
        }
        verdicts.admitted = merge(queues, free);
        verdicts
    }

    /// In the pool's own order, with the priority of each.
    fn admit_to(
        &self,
        name: Option<&str>,
        mut wanting: Wanting<'_>,
        shares: &BTreeMap<Arc<str>, u32>,
        free: usize,
        now: Timestamp,
        verdicts: &mut Verdicts,
    ) -> VecDeque<(i32, JobKey)> {
        let Some(name) = name else {
            wanting.sort_by_key(|(key, plan, ..)| (std::cmp::Reverse(plan.priority), *key));
            let each = wanting.iter().flat_map(|(key, plan, _, pods)| std::iter::repeat_n((plan.priority, *key), *pods as usize));
            return each.take(free).collect();
        };
        let Some(Pool { settings, starts }) = self.named.get(name) else {
            let why = pool::WaitReason::NoSuchPool { pool: name.into() };
            verdicts.waiting.extend(wanting.into_iter().map(|(key, ..)| (key, why.clone())));
            return VecDeque::new();
        };
        let limits = Limits::of(settings);
        let survey = Survey { fits: vec![MACHINE.into()], unfit: BTreeMap::new() };
        let used = shares.values().sum();
        let round = Round {
            size: settings.size.places(1),
            used,
            order: settings.order,
            limits,
            shares,
            loads: &[(MACHINE.into(), Load { bound: used, held: 0, starts: starts.clone() })].into(),
            named: &|_| true,
            now,
        };
        let lanes = wanting.iter().map(|(key, plan, namespace, pods)| Lane {
            namespace: Some(namespace),
            slots: 1,
            survey: limits.any().then_some(&survey),
            members: std::iter::repeat_n(Asking { priority: plan.priority, key: *key }, *pods as usize).peekable(),
        });
        let outcome = admit(&round, lanes.collect(), free);
        for ((key, ..), why) in wanting.iter().zip(outcome.waiting) {
            if let pool::WaitReason::StartRate { until } = why {
                verdicts.wake = earlier(verdicts.wake, Some(until));
            }
            // Else the pool would be full only if the machine had room for those.
            if outcome.admitted.is_empty() && !matches!(why, pool::WaitReason::ItsTurn { .. }) {
                verdicts.waiting.insert(*key, why);
            }
        }
        let priorities: BTreeMap<JobKey, i32> = wanting.iter().map(|(key, plan, ..)| (*key, plan.priority)).collect();
        let priority = |key: &JobKey| priorities.get(key).copied().unwrap_or(0);
        outcome.admitted.iter().map(|Admitted { key, .. }| (priority(key), *key)).collect()
    }
}

/// The machine's places go to the pools' next ones by priority, then first come, first served.
fn merge(mut queues: Vec<VecDeque<(i32, JobKey)>>, free: usize) -> Vec<JobKey> {
    let mut merged = Vec::new();
    while merged.len() < free {
        let heads = queues.iter().enumerate().filter_map(|(at, queue)| queue.front().map(|head| (head, at)));
        let Some((_, next)) = heads.min_by_key(|((priority, key), _)| (std::cmp::Reverse(*priority), *key)) else { break };
        merged.extend(queues[next].pop_front().map(|(_, key)| key));
    }
    merged
}
