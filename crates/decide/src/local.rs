//! Jobs on one machine: a Job controller, a kubelet's restart rules and a pool, as one pure state machine.
//!
//! ```text
//! Observation ──▶ Controller::observe(…, now) ──▶ Step…        Controller::next_wake() ──▶ when to observe `Woken`
//! ```
//! In: submissions, ends of containers, time. Out: what to start, signal and finish. The executor does the steps and nothing
//! else. Rules follow the Kubernetes Job controller; where one machine differs, the field says so.

mod controller;
mod job;
mod pod;
mod pools;
mod view;

use std::time::Duration;

use jiff::Timestamp;
use jobmeter_protocol::ContainerKind;

pub use controller::Controller;
pub use view::{Named, Names};

use crate::pool::PoolSettings;

/// What of a Job manifest decides when something starts and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `None` with a parallelism is a work queue: done when one pod succeeded and all have ended.
    pub completions: Option<u32>,
    pub parallelism: u32,
    /// One completion for each index from 0 up.
    pub indexed: bool,
    /// Failed pods (and, under `OnFailure`, restarts of containers) beyond this fail the job.
    pub backoff_limit: u32,
    /// Counted from the first pod's start, so that waiting for the pool costs nothing.
    pub active_deadline: Option<Duration>,
    pub pod_active_deadline: Option<Duration>,
    pub suspended: bool,
    pub restart: Restart,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Init containers and sidecars first, in the order of the spec.
    pub containers: Vec<ContainerKind>,
    /// Whose places its pods take, besides the machine's.
    pub pool: Option<String>,
    /// Higher ones start first.
    pub priority: i32,
    /// Whose share its places are, where a pool shares between namespaces.
    pub namespace: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Never,
    OnFailure,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Never more pods at once, all jobs and pools together.
    pub pool: usize,
    /// Before the first retry; it doubles with each failure. Kubernetes waits 10 s.
    pub backoff_base: Duration,
    /// Kubernetes: 10 minutes for pods, 5 for containers; one machine takes the shorter one for both.
    pub backoff_cap: Duration,
}

/// In the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    pub job: JobKey,
    /// In the order of their starts.
    pub serial: u32,
}

/// One run of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    pub pod: PodKey,
    /// Index in [`Plan::containers`].
    pub container: usize,
    pub attempt: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The named pools, instead of those that were. The machine is their only node; what runs goes on.
    Pools(Vec<PoolSettings>),
    /// Keys must grow.
    Submitted { job: JobKey, plan: Plan },
    /// It ran and exited, or could not be started (which is no success).
    Ended { run: RunKey, succeeded: bool },
    /// Answer to [`Step::FinishPod`]: its books are closed and nothing of it is left.
    Settled { pod: PodKey },
    /// Time has passed.
    Woken,
    /// Start nothing more, end everything.
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    StartPod {
        pod: PodKey,
        index: Option<u32>,
    },
    StartContainer {
        run: RunKey,
    },
    Signal {
        run: RunKey,
        ending: Ending,
    },
    /// Told to people; the controller wakes by itself. `run`: a container in its pod, else a new pod.
    RetryAt {
        job: JobKey,
        run: Option<RunKey>,
        at: Timestamp,
    },
    /// All its containers have ended.
    FinishPod {
        pod: PodKey,
        outcome: PodOutcome,
    },
    /// All its pods are settled.
    FinishJob {
        job: JobKey,
        outcome: JobOutcome,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    Terminate,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodOutcome {
    Succeeded,
    Failed(PodFailure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFailure {
    ContainerFailed,
    /// Of the pod or of its job.
    DeadlineExceeded,
    /// Its job failed by other pods.
    JobFailed,
    /// The executor is shutting down.
    Interrupted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    Complete,
    Failed(JobFailure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFailure {
    BackoffLimitExceeded,
    DeadlineExceeded,
    Interrupted,
}

/// Pods that a job wants and that do not run, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub job: JobKey,
    pub pods: u32,
    pub why: WaitReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// As many run as the machine may at once.
    PoolFull,
    /// Of the pool that the job names.
    Pool(crate::pool::WaitReason),
    BackoffUntil(Timestamp),
    Suspended,
    /// As many run as the job allows at once.
    ParallelismReached,
}

impl JobFailure {
    /// Reason of the Job's `Failed` condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackoffLimitExceeded => "BackoffLimitExceeded",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Interrupted => "Interrupted",
        }
    }
}

impl Settings {
    /// Before the retry that follows the `failures`-th failure (from 1).
    fn backoff(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff_base.saturating_mul(factor).min(self.backoff_cap)
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests;
