//! All jobs and the pool: first come, first served; a job that cannot use a place leaves it to the next one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::job::Job;
use super::{JobKey, Observation, Settings, Step, Waiting};

pub struct Controller {
    settings: Settings,
    /// Those that are not over.
    jobs: BTreeMap<JobKey, Job>,
    /// Of these, those with a pod started: only they have anything to wake for.
    started: BTreeSet<JobKey>,
    running: usize,
    stopping: bool,
}

impl Controller {
    pub fn new(settings: Settings) -> Self {
        Self { settings, jobs: BTreeMap::new(), started: BTreeSet::new(), running: 0, stopping: false }
    }

    pub fn observe(&mut self, observation: Observation, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        match observation {
            Observation::Submitted { job, plan } => {
                let mut state = Job::new(job, plan);
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
        self.started.iter().filter_map(|key| self.jobs.get(key)).filter_map(Job::next_wake).min()
    }

    /// Why what does not run does not run.
    pub fn waiting(&self, now: Timestamp) -> Vec<Waiting> {
        self.jobs.values().flat_map(|job| job.waiting(now)).collect()
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
        if self.running >= self.settings.pool {
            return;
        }
        let mut touched = Vec::new();
        for (key, job) in &mut self.jobs {
            let free = self.settings.pool - self.running;
            if free == 0 {
                break;
            }
            let pods = usize::try_from(job.wanted(now)).unwrap_or(usize::MAX).min(free);
            for _ in 0..pods {
                job.start_pod(now, steps);
            }
            self.running += pods;
            if job.has_started() {
                self.started.insert(*key);
            }
            if pods > 0 {
                touched.push(*key);
            }
        }
        // Their first containers.
        for key in touched {
            self.advance(key, now, steps);
        }
    }
}
