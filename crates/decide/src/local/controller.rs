//! All jobs and the pools: by priority, then first come, first served; a job that cannot use a place leaves it to the next one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::job::Job;
use super::pools::{Pools, Verdicts};
use super::{JobKey, Observation, Settings, Step, Waiting, earlier};

pub struct Controller {
    pub(super) settings: Settings,
    pub(super) pools: Pools,
    /// When a pool's start rate allows more.
    wake: Option<Timestamp>,
    /// Those that are not over.
    pub(super) jobs: BTreeMap<JobKey, Job>,
    /// Of these, those with a pod started: only they have anything to wake for.
    pub(super) started: BTreeSet<JobKey>,
    pub(super) running: usize,
    stopping: bool,
}

impl Controller {
    pub fn new(settings: Settings) -> Self {
        let (jobs, started, pools) = Default::default();
        Self { settings, pools, wake: None, jobs, started, running: 0, stopping: false }
    }

    pub fn observe(&mut self, observation: Observation, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        match observation {
            Observation::Pools(pools) => self.pools.configure(pools),
            Observation::Submitted { job, plan } => {
                let mut state = Job::new(job, plan, now);
                if self.stopping {
                    state.stop(now);
                }
                self.jobs.insert(job, state);
                self.advance(job, now, &mut steps);
            }
            Observation::Ended { run, succeeded } => {
                if let Some(job) = self.jobs.get_mut(&run.pod.job) {
                    job.container_ended(run, succeeded, &self.settings, now, &mut steps);
                }
                self.advance(run.pod.job, now, &mut steps);
            }
            Observation::Settled { pod } => {
                if let Some(job) = self.jobs.get_mut(&pod.job) {
                    job.settled(pod);
                }
                self.advance(pod.job, now, &mut steps);
            }
            Observation::Woken => {
                for job in self.started.iter().copied().collect::<Vec<_>>() {
                    self.advance(job, now, &mut steps);
                }
            }
            Observation::Stopping => {
                self.stopping = true;
                for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.stop(now);
                    }
                    self.advance(job, now, &mut steps);
                }
            }
        }
        self.fill_pool(now, &mut steps);
        steps
    }

    /// When to observe [`Observation::Woken`] at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let jobs = self.started.iter().filter_map(|key| self.jobs.get(key)).filter_map(Job::next_wake).min();
        earlier(jobs, self.wake)
    }

    /// Why what does not run does not run.
    pub fn waiting(&self, now: Timestamp) -> Vec<Waiting> {
        let mut verdicts = self.verdicts(usize::MAX, now);
        let waiting = self.jobs.iter().map(|(key, job)| job.waiting(verdicts.why(*key), now).collect::<Vec<_>>());
        waiting.collect::<Vec<_>>().concat()
    }

    /// A job that names another one would wait for ever.
    pub fn has_pool(&self, name: &str) -> bool {
        self.pools.has(name)
    }

    /// In the order of names.
    pub fn pool_names(&self) -> Vec<String> {
        self.pools.names()
    }

    pub fn running(&self) -> usize {
        self.running
    }

    pub fn unfinished(&self) -> usize {
        self.jobs.len()
    }

    /// Not over, and it will not move by itself: suspended, or with a parallelism of 0.
    pub fn is_held(&self, job: JobKey) -> bool {
        self.jobs.get(&job).is_some_and(Job::is_held)
    }

    fn advance(&mut self, key: JobKey, now: Timestamp, steps: &mut Vec<Step>) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let before = job.active();
        let outcome = job.advance(&self.settings, now, steps);
        self.running -= before - job.active();
        if let Some(outcome) = outcome {
            self.jobs.remove(&key);
            self.started.remove(&key);
            steps.push(Step::FinishJob { job: key, outcome });
        }
    }

    fn fill_pool(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.wake = None;
        let free = self.settings.pool.saturating_sub(self.running);
        if free == 0 {
            return;
        }
        let verdicts = self.verdicts(free, now);
        self.wake = verdicts.wake;
        let mut touched = BTreeSet::new();
        for key in verdicts.admitted {
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            job.start_pod(now, steps);
            self.running += 1;
            if let Some(pool) = &job.plan().pool {
                self.pools.started(pool, now);
            }
            self.started.insert(key);
            touched.insert(key);
        }
        // Their first containers.
        for key in touched {
            self.advance(key, now, steps);
        }
    }

    /// Who gets one of so many places of the machine, in their order, and why the others wait.
    pub(super) fn verdicts(&self, free: usize, now: Timestamp) -> Verdicts {
        let running = self.started.iter().filter_map(|key| self.jobs.get(key));
        let wanting = self.jobs.iter().map(|(key, job)| (*key, job.plan(), job.wanted(now))).filter(|(.., pods)| *pods > 0);
        self.pools.admit(running, wanting, free, now)
    }
}
