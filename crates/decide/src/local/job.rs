//! One job: how many pods it wants, what their ends amount to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::pod::Pod;
use super::{
    JobFailure, JobKey, JobOutcome, Plan, PodFailure, PodKey, PodOutcome, Restart, RunKey, Settings, Step, WaitReason, Waiting,
    after, earlier,
};

pub(super) struct Job {
    key: JobKey,
    plan: Plan,
    submitted: Timestamp,
    started: Option<Timestamp>,
    /// Started and not finished.
    active: BTreeMap<u32, Pod>,
    /// Finished, books not closed yet.
    settling: BTreeSet<u32>,
    next_serial: u32,
    succeeded: u32,
    failed: u32,
    failures_in_row: u32,
    retry_at: Option<Timestamp>,
    /// Of an Indexed job: below `next_index` all were given out, except those that came back.
    next_index: u32,
    returned_indexes: BTreeSet<u32>,
    outcome: Option<JobOutcome>,
}

impl Job {
    pub(super) fn new(key: JobKey, plan: Plan, now: Timestamp) -> Self {
        Self {
            key,
            plan,
            submitted: now,
            started: None,
            active: BTreeMap::new(),
            settling: BTreeSet::new(),
            next_serial: 0,
            succeeded: 0,
            failed: 0,
            failures_in_row: 0,
            retry_at: None,
            next_index: 0,
            returned_indexes: BTreeSet::new(),
            outcome: None,
        }
    }

    pub(super) fn active(&self) -> usize {
        self.active.len()
    }

    /// Started and not finished.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.active.values()
    }

    pub(super) fn submitted(&self) -> Timestamp {
        self.submitted
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// It will not move unless somebody changes it.
    pub(super) fn is_held(&self) -> bool {
        let held = self.plan.suspended || self.plan.parallelism == 0;
        held && self.active.is_empty() && self.outcome.is_none() && self.plan.completions != Some(0)
    }

    /// Pods to start now, the pool aside.
    pub(super) fn wanted(&self, now: Timestamp) -> u32 {
        if self.retry_at.is_some_and(|at| at > now) { 0 } else { self.startable() }
    }

    /// `pool`: why those wait that could start.
    pub(super) fn waiting(&self, pool: WaitReason, now: Timestamp) -> impl Iterator<Item = Waiting> {
        let total = self.missing();
        let startable = self.startable();
        let why = match self.retry_at {
            Some(at) if at > now => WaitReason::BackoffUntil(at),
            _ => pool,
        };
        let held_back = if self.plan.suspended { WaitReason::Suspended } else { WaitReason::ParallelismReached };
        let job = self.key;
        [(startable, why), (total - startable.min(total), held_back)]
            .into_iter()
            .filter(|(pods, _)| *pods > 0)
            .map(move |(pods, why)| Waiting { job, pods, why })
    }

    pub(super) fn start_pod(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.started.get_or_insert(now);
        let pod = PodKey { job: self.key, serial: self.next_serial };
        self.next_serial += 1;
        let index = self.plan.indexed.then(|| self.next_index());
        steps.push(Step::StartPod { pod, index });
        self.active.insert(pod.serial, Pod::new(pod, index, &self.plan, now));
    }

    pub(super) fn container_ended(
        &mut self,
        run: RunKey,
        succeeded: bool,
        settings: &Settings,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        if let Some(pod) = self.active.get_mut(&run.pod.serial) {
            pod.container_ended(run, succeeded, &self.plan, settings, now, steps);
        }
    }

    pub(super) fn settled(&mut self, pod: PodKey) {
        self.settling.remove(&pod.serial);
    }

    pub(super) fn stop(&mut self, now: Timestamp) {
        self.conclude(JobOutcome::Failed(JobFailure::Interrupted), PodFailure::Interrupted, now);
    }

    /// Brings the job as far as it can go now; `Some` once it is over and all its pods are settled.
    pub(super) fn advance(&mut self, settings: &Settings, now: Timestamp, steps: &mut Vec<Step>) -> Option<JobOutcome> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.conclude(JobOutcome::Failed(JobFailure::DeadlineExceeded), PodFailure::DeadlineExceeded, now);
        }
        // Before the pods go on: a container beyond the limit is not to be started once more.
        if self.restarts_exceeded() {
            self.fail_by_backoff_limit(now);
        }
        self.advance_pods(settings, now, steps);
        let decided = self.outcome.is_some();
        self.judge(now);
        if !decided && self.outcome.is_some() {
            // The pods that go on in vain are told in the same breath.
            self.advance_pods(settings, now, steps);
        }
        let over = self.active.is_empty() && self.settling.is_empty();
        self.outcome.filter(|_| over)
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let pods = self.active.values().filter_map(Pod::next_wake).min();
        let own = if self.outcome.is_some() { None } else { earlier(self.deadline(), self.retry_at) };
        earlier(pods, own)
    }

    fn advance_pods(&mut self, settings: &Settings, now: Timestamp, steps: &mut Vec<Step>) {
        let mut ended = Vec::new();
        for pod in self.active.values_mut() {
            if let Some(outcome) = pod.advance(&self.plan, now, steps) {
                ended.push((pod.key, pod.index, outcome));
            }
        }
        for (pod, index, outcome) in ended {
            self.active.remove(&pod.serial);
            self.settling.insert(pod.serial);
            steps.push(Step::FinishPod { pod, outcome });
            self.count(index, outcome, settings, now, steps);
        }
    }

    fn count(&mut self, index: Option<u32>, outcome: PodOutcome, settings: &Settings, now: Timestamp, steps: &mut Vec<Step>) {
        if outcome == PodOutcome::Succeeded {
            self.succeeded += 1;
            self.failures_in_row = 0;
            self.retry_at = None;
            return;
        }
        self.failed += 1;
        self.failures_in_row += 1;
        self.returned_indexes.extend(index);
        if self.outcome.is_none() && self.failed <= self.plan.backoff_limit {
            let at = after(now, settings.backoff(self.failures_in_row));
            self.retry_at = Some(at);
            steps.push(Step::RetryAt { job: self.key, run: None, at });
        }
    }

    fn judge(&mut self, now: Timestamp) {
        if self.outcome.is_some() {
            return;
        }
        let done = match self.plan.completions {
            Some(completions) => self.succeeded >= completions,
            None => self.succeeded > 0 && self.active.is_empty(),
        };
        if done {
            self.outcome = Some(JobOutcome::Complete);
        } else if self.failed > self.plan.backoff_limit {
            self.fail_by_backoff_limit(now);
        }
    }

    /// Kubernetes also counts the restarts of the pods that run, one job's together.
    fn restarts_exceeded(&self) -> bool {
        let restarts = || self.active.values().map(|pod| pod.restarts).sum::<u32>();
        self.plan.restart == Restart::OnFailure && self.outcome.is_none() && restarts() > self.plan.backoff_limit
    }

    fn fail_by_backoff_limit(&mut self, now: Timestamp) {
        self.conclude(JobOutcome::Failed(JobFailure::BackoffLimitExceeded), PodFailure::JobFailed, now);
    }

    /// The first outcome stands.
    fn conclude(&mut self, outcome: JobOutcome, pods: PodFailure, now: Timestamp) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            for pod in self.active.values_mut() {
                pod.stop(pods, &self.plan, now);
            }
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        Some(after(self.started?, self.plan.active_deadline?))
    }

    /// Completions that no pod is working on.
    fn missing(&self) -> u32 {
        let active = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        match (self.outcome, self.plan.completions) {
            (Some(_), _) => 0,
            (None, Some(completions)) => completions.saturating_sub(self.succeeded).saturating_sub(active),
            (None, None) if self.succeeded > 0 => 0,
            (None, None) => self.plan.parallelism.saturating_sub(active),
        }
    }

    fn startable(&self) -> u32 {
        let active = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        if self.plan.suspended { 0 } else { self.missing().min(self.plan.parallelism.saturating_sub(active)) }
    }

    fn next_index(&mut self) -> u32 {
        self.returned_indexes.pop_first().unwrap_or_else(|| {
            self.next_index += 1;
            self.next_index - 1
        })
    }
}
