//! What the API server (or, on one machine, the local executor) said of a pod. The part of it that accounting needs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ExitStatus;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiPod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The controlling owner, as the pod itself names it. The chain above it is resolved by the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerRef>,
    pub restart_policy: RestartPolicy,
    pub phase: PodPhase,
    /// `status.reason`: `Evicted`, `DeadlineExceeded`, `NodeLost` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created: Option<Timestamp>,
    pub scheduled: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: somebody asked for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_requested: Option<Timestamp>,
    /// Init containers first, in the order of the spec.
    pub containers: Vec<ApiContainer>,
}

/// Annotation of a pod whose output goes to somebody's terminal and into no log: `jobmeter run -- CMD`.
pub const OUTPUT_ANNOTATION: &str = "jobmeter.io/output";
pub const OUTPUT_PASSED_THROUGH: &str = "passed-through";

impl ApiPod {
    /// Whether a run of its containers leaves a log.
    pub fn has_logs(&self) -> bool {
        self.annotations.get(OUTPUT_ANNOTATION).is_none_or(|output| output != OUTPUT_PASSED_THROUGH)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnerRef {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl PodPhase {
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
    Ephemeral,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiContainer {
    pub name: String,
    pub kind: ContainerKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Without the `containerd://` before it. The one that runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    #[serde(default)]
    pub restart_count: u32,
    #[serde(default)]
    pub resources: Resources,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// `terminated.reason`: `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun` … or `waiting.reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `lastState.terminated`: the run before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierRun>,
}

/// A run of a container that ended and was followed by another one in the same pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierRun {
    pub container_id: String,
    pub attempt: u32,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Requests and limits, in base units: millicores and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_request_millicores: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millicores: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_request_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
}
