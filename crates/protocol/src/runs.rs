//! Node runs: one pod on every matching node, so many at a time. Answers of `GET /v1/runs…`, what is stored of runs, and the names
//! that their pods carry.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Label of a pod of a run: the run's ID. The name is that of batch-job-controller, whose users select by it.
pub const EXECUTION_LABEL: &str = "batch-job-controller.bakito.github.com/execution-id";
/// Label of a pod of a run: the name of its definition. Likewise.
pub const OWNER_LABEL: &str = "batch-job-controller.bakito.github.com/owner";
/// Label of a pod of a run: the run's ID. A pod without it is none of ours.
pub const RUN_LABEL: &str = "jobmeter.io/run";
/// Annotation of a pod of a run: a [`PodTask`] as JSON.
pub const TASK_ANNOTATION: &str = "jobmeter.io/run-task";
/// What the pool of a definition that has one of its own begins with; the definition's name follows.
pub const OWN_POOL_PREFIX: &str = "run.";

/// Value of [`TASK_ANNOTATION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTask {
    pub node: String,
    /// From 0.
    pub attempt: u32,
}

/// One run, as `GET /v1/runs` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Digits: the UTC minute in which it began (`202611211930`), with two more where that was taken. Sorts by time as text.
    pub id: String,
    /// Name of its definition.
    pub definition: String,
    /// Of its pods.
    pub namespace: String,
    pub trigger: Trigger,
    pub state: RunState,
    /// A sentence; for a run that failed, was cancelled, or ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    pub pool: String,
    /// It gets no more pods; those that run are waited for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    pub nodes: RunCounts,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    Schedule {
        due: Timestamp,
    },
    /// One for all that were missed.
    CatchUp {
        due: Timestamp,
    },
    Startup,
    Manual,
    /// Of the nodes of that run that failed.
    Retry {
        of: String,
    },
    /// Nodes came after the last run.
    NewNodes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    /// Every node that was not skipped succeeded.
    Succeeded,
    /// A node failed, or it was stopped by its own rules.
    Failed,
    Cancelled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    pub total: u32,
    pub waiting: u32,
    pub queued: u32,
    pub starting: u32,
    pub running: u32,
    pub succeeded: u32,
    pub failed: u32,
    pub skipped: u32,
    pub cancelled: u32,
}

/// One node of a run; of its latest attempt, where there were several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRun {
    pub node: String,
    pub state: NodeRunState,
    /// A sentence: why it waits, was skipped, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// From 0.
    pub attempt: u32,
    /// Name of the pod, fixed before it is made; empty of a node that was skipped.
    pub pod: String,
    /// Known once it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// When the pod was made; it waits for its pool from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When the pool let it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Of the first container that failed, or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// As Kubernetes says it: `Error`, `OOMKilled`, `Evicted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the latest result of this attempt came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Timestamp>,
    /// Files and events that were posted, of all attempts.
    #[serde(default)]
    pub files: u32,
    #[serde(default)]
    pub file_bytes: u64,
    #[serde(default)]
    pub events: u32,
    /// Not before then it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRunState {
    /// Its pod is not made yet.
    Waiting,
    /// Its pod waits for the pool.
    Queued,
    /// The pool let it go; nothing runs yet.
    Starting,
    Running,
    Succeeded,
    Failed,
    /// It never got a pod, and the run is right without it.
    Skipped,
    Cancelled,
}

/// Answer to `GET /v1/runs/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    pub run: Run,
    /// In the order of names.
    pub nodes: Vec<NodeRun>,
}

/// What one pod posted as its result; the last one counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    pub node: String,
    pub attempt: u32,
    pub received: Timestamp,
    pub gauges: Gauges,
}

/// By the suffix of the metric.
pub type Gauges = BTreeMap<String, Vec<GaugeValue>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaugeValue {
    pub value: f64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// One line of `jobmeter runs definitions`; `GET /v1/run-definitions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefinitionStatus {
    pub name: String,
    /// File or ConfigMap, with the document's number where there are several.
    pub source: String,
    pub namespace: String,
    pub pool: String,
    /// As written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    pub suspended: bool,
    /// ID of the newest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// Why the last trigger that did not become a run did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedTrigger>,
    /// As in [`RunSettings`].
    #[serde(default)]
    pub report_directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_port: Option<u16>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compatible: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedTrigger {
    pub at: Timestamp,
    pub why: String,
}

/// What is remembered of a definition across restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DefinitionMemory {
    pub definition: String,
    /// The schedule, as written, that was followed; absent: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Up to here the schedule was seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_to: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedTrigger>,
}

/// Body of `POST /v1/runs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    pub definition: String,
    /// All that match where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// Query of `GET /v1/runs`. Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The ID that the page before ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A definition as it was when a run began: its later pods are made like its first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    pub name: String,
    pub namespace: String,
    pub pool: String,
    /// Of a pool of its own, [`OWN_POOL_PREFIX`] and the name; absent where `pool` is one of the pools file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_pool_size: Option<u32>,
    pub placement: Placement,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Cordoned nodes as well.
    pub unschedulable_nodes: bool,
    /// A Go template of a pod's manifest.
    pub pod_template: String,
    /// Always set on the pod; empty is the namespace's default.
    pub service_account: String,
    pub image_pull_secrets: Vec<String>,
    /// Further attempts of one node.
    pub retries: u32,
    /// Before the second attempt; twice as long before each further one.
    pub retry_delay: SignedDuration,
    /// From the pool's word to the first container's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline: Option<SignedDuration>,
    /// From a pod's start to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_deadline: Option<SignedDuration>,
    /// From the run's begin to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_deadline: Option<SignedDuration>,
    /// So many nodes must succeed before the others get their pods; 0 is none.
    pub canary: u32,
    /// After so many nodes that failed for good no more get pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    /// Nodes that come while it runs are taken in; such that come later get a run of their own.
    pub new_nodes: bool,
    pub overlap: Overlap,
    /// A missed schedule is made up for, once, if it is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<SignedDuration>,
    /// Runs that are kept, with their reports; 1 at least: the current one.
    pub history: u32,
    /// A pod that ended well without having posted a result has failed.
    pub result_required: bool,
    /// Answers batch-job-controller's status codes.
    pub compatible: bool,
    pub save_pod_log: bool,
    /// Where each run has a directory.
    pub report_directory: String,
    pub metrics: RunMetrics,
    /// Absent: the coordinator's own Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_service: Option<String>,
    /// Absent: the coordinator's own port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_port: Option<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunMetrics {
    pub prefix: String,
    /// By suffix.
    pub gauges: BTreeMap<String, GaugeSettings>,
    /// Each series a second time, with `executionID="latest"`.
    pub latest: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GaugeSettings {
    pub help: String,
    pub labels: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// By node affinity: taints and resources are respected.
    #[default]
    Scheduler,
    /// Bound to the node without the scheduler, as if `nodeName` were written: `NoSchedule` taints and resources are not asked.
    NodeName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overlap {
    /// A trigger during a run is skipped.
    #[default]
    Forbid,
    /// It cancels the run, and another begins once that has ended.
    Replace,
    Allow,
}

/// What is learned of runs, as it is stored. Each may be stored twice.
#[derive(Clone, Debug, PartialEq)]
pub enum RunChange {
    /// The first of a run brings its settings; they never change.
    Run {
        run: Box<Run>,
        settings: Option<std::sync::Arc<RunSettings>>,
    },
    Node {
        run: String,
        node: Box<NodeRun>,
    },
    Result {
        run: String,
        result: Box<NodeResult>,
    },
    Memory(DefinitionMemory),
    /// All of it goes.
    Forget {
        run: String,
    },
}

/// A run with everything that is stored of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    pub run: Run,
    pub settings: std::sync::Arc<RunSettings>,
    pub nodes: BTreeMap<String, NodeRun>,
    pub results: BTreeMap<String, std::sync::Arc<NodeResult>>,
}

impl RunState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Running)
    }
}

impl NodeRunState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

impl RunCounts {
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a NodeRun>) -> Self {
        let mut counts = Self::default();
        for node in nodes {
            counts.total += 1;
            *counts.of_state(node.state) += 1;
        }
        counts
    }

    pub fn of_state(&mut self, state: NodeRunState) -> &mut u32 {
        match state {
            NodeRunState::Waiting => &mut self.waiting,
            NodeRunState::Queued => &mut self.queued,
            NodeRunState::Starting => &mut self.starting,
            NodeRunState::Running => &mut self.running,
            NodeRunState::Succeeded => &mut self.succeeded,
            NodeRunState::Failed => &mut self.failed,
            NodeRunState::Skipped => &mut self.skipped,
            NodeRunState::Cancelled => &mut self.cancelled,
        }
    }
}
