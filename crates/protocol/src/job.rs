//! The job as people name it: all pods below one top owner.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Figure, OwnerRef, Record, Resources};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    #[serde(default)]
    pub cluster: String,
    pub namespace: String,
    pub owner: OwnerRef,
    pub state: JobState,
    pub pods: PodCounts,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// Sum over the pods that have a figure; the weakest method among them.
    pub cpu_seconds: Option<Figure<f64>>,
    /// Greatest over the pods.
    pub memory_peak_bytes: Option<Figure<u64>>,
    pub rss_peak_bytes: Option<Figure<u64>>,
    pub oom_kills: u64,
    /// Of one pod.
    #[serde(default)]
    pub resources: Resources,
    /// How many of its records are `partial`.
    pub partial_records: u64,
}

/// Answer to `GET /v1/jobs/{namespace}/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobDetail {
    pub job: Job,
    /// In the order of their start; at most 1,000.
    pub records: Vec<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobState {
    Pending,
    Running,
    Completed,
    Failed,
    /// Its object is gone and no pod of it is left.
    Deleted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCounts {
    pub pending: u64,
    pub running: u64,
    pub completed: u64,
    pub failed: u64,
}
