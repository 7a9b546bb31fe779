//! What people see of the named pools on one machine. Pure: what the controller knows and what the executor calls it in, the wire's
//! types out.
//!
//! A pod that waits does not exist yet: its Job is named for it, once for each pod.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::{Peekable, repeat_n};

use jiff::Timestamp;
use jobmeter_protocol::{PoolDetail, PoolMember, PoolStatus, PoolWait};

use super::job::Job;
use super::{Controller, JobKey, PodKey};
use crate::pool::admission::{Asking, Line};
use crate::pool::{self, Order};

/// What the executor calls this machine, jobs and pods.
pub trait Names {
    fn node(&self) -> &str;
    fn job(&self, job: JobKey) -> Option<Named>;
    fn pod(&self, pod: PodKey) -> Option<Named>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub uid: String,
}

/// Pods of one job that could start now.
struct Queue<'a> {
    job: &'a Job,
    pods: u32,
    /// Why the pool holds them back; else they wait for the machine.
    held: Option<pool::WaitReason>,
}

type Queues<'a> = BTreeMap<JobKey, Queue<'a>>;

/// A word for programs and a sentence for people.
type Why = (&'static str, String);

impl Controller {
    /// In the order of names. Those that are not configured are there as well, as long as somebody is in them or waits for them.
    pub fn pools(&self, now: Timestamp) -> Vec<PoolStatus> {
        let mut queues = self.queues(now);
        let mut names: BTreeSet<String> = self.pools.names().into_iter().collect();
        names.extend(queues.keys().cloned());
        names.extend(self.active_jobs().filter_map(|job| job.plan().pool.clone()));
        names.into_iter().map(|name| self.status(&queues.remove(&name).unwrap_or_default(), name)).collect()
    }

    /// At most `limit` members and waiting ones each. `None`: there is no such pool.
    pub fn pool(&self, name: &str, limit: usize, names: &dyn Names, now: Timestamp) -> Option<PoolDetail> {
        let queues = self.queues(now).remove(name).unwrap_or_default();
        let pool = self.status(&queues, name.to_owned());
        if self.pools.settings(name).is_none() && (pool.used, pool.queued) == (0, 0) {
            return None;
        }
        Some(PoolDetail { members: self.members(name, limit, names), waiting: self.waiters(name, &queues, limit, names), pool })
    }

    fn status(&self, queues: &Queues<'_>, name: String) -> PoolStatus {
        let settings = self.pools.settings(&name);
        let size = settings.map_or(0, |settings| settings.size.places(1));
        let used = self.shares(&name).values().sum();
        let mut waiting: BTreeMap<String, u32> = BTreeMap::new();
        for queue in queues.values() {
            *waiting.entry(self.why(queue).0.to_owned()).or_default() += queue.pods;
        }
        PoolStatus {
            size,
            configured_size: settings.map_or_else(|| "not configured".to_owned(), |settings| settings.size.to_string()),
            per_node: settings.and_then(|settings| settings.per_node),
            start_rate: settings.and_then(|settings| settings.start_rate).map(|rate| rate.to_string()),
            order: settings.map_or(Order::default(), |settings| settings.order).as_str().to_owned(),
            nodes: settings.map_or(0, |_| 1),
            used,
            over: settings.map_or(0, |_| used.saturating_sub(size)),
            queued: queues.values().map(|queue| queue.pods).sum(),
            oldest: queues.values().map(|queue| queue.job.submitted()).min(),
            waiting,
            name,
        }
    }

    /// Those who have been in it longest come first.
    fn members(&self, name: &str, limit: usize, names: &dyn Names) -> Vec<PoolMember> {
        let jobs = self.active_jobs().filter(|job| job.plan().pool.as_deref() == Some(name));
        let mut pods: Vec<_> = jobs.flat_map(|job| job.pods().map(move |pod| (pod.started, pod.key, pod, job))).collect();
        pods.sort_by_key(|(started, key, ..)| (*started, *key));
        let member = |(since, key, pod, job): (Timestamp, PodKey, &super::pod::Pod, &Job)| {
            let Named { name, uid } = names.pod(key)?;
            Some(PoolMember {
                kind: "Pod".to_owned(),
                namespace: job.plan().namespace.clone(),
                name,
                uid,
                state: if pod.is_ending() { "ending" } else { "bound" }.to_owned(),
                slots: 1,
                node: Some(names.node().to_owned()),
                since: Some(since),
                why: None,
            })
        };
        pods.into_iter().take(limit).filter_map(member).collect()
    }

    /// In the order of admission.
    fn waiters(&self, name: &str, queues: &Queues<'_>, limit: usize, names: &dyn Names) -> Vec<PoolWait> {
        let order = self.pools.settings(name).map_or(Order::default(), |settings| settings.order);
        let turns = in_order(order, queues, self.shares(name), limit).into_iter().enumerate();
        let wait = |(index, key): (usize, JobKey)| {
            let queue = queues.get(&key)?;
            let (reason, why) = self.why(queue);
            let Named { name, uid } = names.job(key)?;
            Some(PoolWait {
                kind: "Job".to_owned(),
                namespace: queue.job.plan().namespace.clone(),
                name,
                uid,
                priority: queue.job.plan().priority,
                slots: 1,
                created: queue.job.submitted(),
                position: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
                reason: reason.to_owned(),
                why,
            })
        };
        turns.filter_map(wait).collect()
    }

    /// Those of pools, by pool.
    fn queues(&self, now: Timestamp) -> BTreeMap<String, Queues<'_>> {
        let mut verdicts = self.verdicts(usize::MAX, now);
        let mut queues: BTreeMap<String, Queues<'_>> = BTreeMap::new();
        for (key, job) in &self.jobs {
            let (Some(pool), pods @ 1..) = (&job.plan().pool, job.wanted(now)) else { continue };
            let queue = Queue { job, pods, held: verdicts.held(*key) };
            queues.entry(pool.clone()).or_default().insert(*key, queue);
        }
        queues
    }

    /// Places in use, by namespace.
    fn shares(&self, pool: &str) -> BTreeMap<&str, u32> {
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        for job in self.active_jobs().filter(|job| job.plan().pool.as_deref() == Some(pool)) {
            *shares.entry(&job.plan().namespace).or_default() += u32::try_from(job.active()).unwrap_or(u32::MAX);
        }
        shares
    }

    fn active_jobs(&self) -> impl Iterator<Item = &Job> {
        self.started.iter().filter_map(|key| self.jobs.get(key)).filter(|job| job.active() > 0)
    }

    fn why(&self, queue: &Queue<'_>) -> Why {
        let (running, most) = (self.running, self.settings.pool);
        match &queue.held {
            Some(why) => (why.as_str(), why.to_string()),
            None if running < most => ("its_turn", "it starts at once".to_owned()),
            None => {
                ("machine_full", format!("the machine is full: {running} of {most} pods run, of all pools and none (--pool)"))
            }
        }
    }
}

/// A job as often as pods of it wait, the next one first.
fn in_order<'a>(order: Order, queues: &'a Queues<'a>, mut shares: BTreeMap<&'a str, u32>, limit: usize) -> Vec<JobKey> {
    // Those between which only priority and age decide stand in one lane.
    let mut lanes: BTreeMap<&str, Vec<(i32, JobKey, u32)>> = BTreeMap::new();
    for (key, queue) in queues {
        let plan = queue.job.plan();
        let lane = if order == Order::FairShare { plan.namespace.as_str() } else { "" };
        lanes.entry(lane).or_default().push((plan.priority, *key, queue.pods));
    }
    let mut lanes: Vec<(&str, Peekable<_>)> = lanes
        .into_iter()
        .map(|(namespace, mut jobs)| {
            jobs.sort_by_key(|(priority, key, _)| (std::cmp::Reverse(*priority), *key));
            let each = |(priority, key, pods)| repeat_n(Asking { priority, key }, pods as usize);
            (namespace, jobs.into_iter().flat_map(each).peekable())
        })
        .collect();
    let mut line = Line::new(order);
    let mut ordered = Vec::new();
    for (index, (namespace, jobs)) in lanes.iter_mut().enumerate() {
        jobs.peek().into_iter().for_each(|head| line.join(index, head.clone(), share(&shares, namespace)));
    }
    while ordered.len() < limit {
        let Some(next) = line.pop(|lane, _| share(&shares, lanes[lane].0)) else { break };
        let (namespace, jobs) = &mut lanes[next];
        *shares.entry(namespace).or_default() += 1;
        ordered.extend(jobs.next().map(|asking| asking.key));
        jobs.peek().into_iter().for_each(|head| line.join(next, head.clone(), share(&shares, namespace)));
    }
    ordered
}

fn share(shares: &BTreeMap<&str, u32>, namespace: &str) -> u32 {
    shares.get(namespace).copied().unwrap_or(0)
}
