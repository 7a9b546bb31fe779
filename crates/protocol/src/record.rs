//! The record: one per pod, for people and programs. Names follow `sacct`, cAdvisor and OpenTelemetry; units are in the name.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ContainerKind, ExitStatus, Figure, Gap, LogRef, OwnerRef, Resources};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`crate::VERSION`] of the writer.
    pub version: u32,
    pub identity: Identity,
    pub time: Times,
    pub outcome: Outcome,
    /// The whole pod.
    pub usage: Usage,
    /// CPU of the pod that no container of the job accounts for: the sandbox and its set-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_cpu_seconds: Option<Figure<f64>>,
    /// Sum over the containers, as the scheduler counts it.
    #[serde(default)]
    pub resources: Resources,
    /// One entry for each run of each container, in the order of their start.
    pub containers: Vec<ContainerRecord>,
    /// The most expensive processes, by CPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessRecord>,
    pub quality: Quality,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Empty until a cluster name is configured.
    #[serde(default)]
    pub cluster: String,
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    /// The top of the owner chain: what a person calls the job. The pod itself where it has no owner.
    pub job: OwnerRef,
    /// From the pod's direct owner to the top.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<OwnerRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Selected by configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// RFC 3339, UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub created: Option<Timestamp>,
    pub scheduled: Option<Timestamp>,
    /// The first container's start: as the node saw it, or else whole seconds from the API.
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// When this state of the record was written: once it is closed, when it was closed.
    pub recorded: Option<Timestamp>,
    /// `kernel`: from the node's clock at start and exit; `sampled`: from the API's whole seconds.
    pub elapsed_seconds: Option<Figure<f64>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    pub cpu_seconds: Option<Figure<f64>>,
    pub cpu_user_seconds: Option<Figure<f64>>,
    pub cpu_system_seconds: Option<Figure<f64>>,
    pub throttled_seconds: Option<Figure<f64>>,
    pub throttled_periods: Option<Figure<u64>>,
    /// Kernel watermark: page cache, kernel memory and tmpfs included.
    pub memory_peak_bytes: Option<Figure<u64>>,
    /// Without page cache: the larger of the greatest anon + shmem seen and the largest process high-water mark.
    pub rss_peak_bytes: Option<Figure<u64>>,
    pub swap_peak_bytes: Option<Figure<u64>>,
    pub oom_kills: Option<Figure<u64>>,
    pub pids_peak: Option<Figure<u64>>,
    pub io_read_bytes: Option<Figure<u64>>,
    pub io_written_bytes: Option<Figure<u64>>,
    pub cpu_pressure_seconds: Option<Figure<f64>>,
    pub memory_pressure_seconds: Option<Figure<f64>>,
    pub io_pressure_seconds: Option<Figure<f64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Empty where neither the API nor the executor told it.
    pub name: String,
    pub kind: Option<ContainerKind>,
    pub container_id: String,
    pub attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// As the API said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub usage: Usage,
    #[serde(default)]
    pub resources: Resources,
    /// Absent while nothing is known of its log. The one part of a closed record that may still change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessRecord {
    pub pid: i32,
    pub command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub cpu_seconds: Figure<f64>,
    pub rss_peak_bytes: Option<Figure<u64>>,
    pub started: Option<Timestamp>,
    pub last_seen: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub reason: Reason,
    /// Of the container that decided: the first that failed, else the last main one to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// What each witness said, where it said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Not ended yet; records of live pods are shown but never stored as final.
    Running,
    Completed,
    Error,
    OOMKilled,
    Evicted,
    Deadline,
    /// Deleted while it was running.
    Deleted,
    /// The node or the agent went away and nobody saw the end.
    Lost,
    NeverRan,
}

impl Reason {
    pub const ALL: [Self; 9] = [
        Self::Running,
        Self::Completed,
        Self::Error,
        Self::OOMKilled,
        Self::Evicted,
        Self::Deadline,
        Self::Deleted,
        Self::Lost,
        Self::NeverRan,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OOMKilled => "OOMKilled",
            Self::Evicted => "Evicted",
            Self::Deadline => "Deadline",
            Self::Deleted => "Deleted",
            Self::Lost => "Lost",
            Self::NeverRan => "NeverRan",
        }
    }
}

/// Whether the totals are the whole truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Quality {
    /// The job has not ended, or its last reading is still to come.
    Provisional,
    Complete {
        /// What was missed without harm to the totals.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<Gap>,
    },
    Partial {
        /// A sentence that says what is missing and why.
        reason: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gaps: Vec<Gap>,
    },
}
