//! Calls between agent and coordinator, version 1. JSON over HTTP; names and status codes are part of the contract.
//!
//! | call | body → answer |
//! |---|---|
//! | `POST /v1/reports` | [`ReportBatch`] → 200 [`ReportReply`] |
//! | `POST /v1/nodes/{node}/heartbeat` | [`Heartbeat`] → 200 [`HeartbeatReply`] |
//! | `/v1/logs…` | see [`crate::logs`] |
//! | `POST /v1/jobs` (standalone only) | Job manifests, YAML → 201 [`SubmitReply`], 409 a job of that name runs |
//!
//! 400 malformed, 401 no valid token, 403 not an agent of that node, 413 too large, 429 later, 503 not ready.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{LogId, Method, NodeStatus, OwnerRef, PodEvidence};

/// Largest body the coordinator reads from an agent; an agent splits its batches below it.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportBatch {
    pub version: u32,
    pub node: String,
    pub reports: Vec<PodEvidence>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportReply {
    /// One for each report of the batch, in its order.
    pub verdicts: Vec<Verdict>,
}

/// The agent drops a report only on one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Joined with what was known, and durable.
    Accepted,
    /// All of it was known.
    Duplicate,
    /// It can never be accepted; the reason is logged and counted on both sides.
    Rejected { why: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub version: u32,
    pub status: NodeStatus,
    /// Job pods that run now, for `jobmeter top`.
    pub live: Vec<LivePod>,
    /// Answer to [`HeartbeatReply::wanted`]: pods of which this node knows nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Answer to [`HeartbeatReply::logs_wanted`]: logs that this node does not have, with the reason as a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs_unknown: Vec<LostLog>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostLog {
    pub log: LogId,
    pub why: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// Pods whose record is missing: report what you have, or name them in `unknown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<String>,
    /// Pods of this node that are jobs by a chain of owners that only the coordinator can see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meter: Vec<String>,
    /// Logs of ended containers that are still not in the store: upload them, or name them in `logs_unknown`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs_wanted: Vec<LogId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LivePod {
    pub pod_uid: String,
    pub namespace: String,
    pub pod: String,
    #[serde(default)]
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerRef>,
    pub at: Timestamp,
    pub started: Option<Timestamp>,
    pub method: Method,
    pub cpu_ns: u64,
    /// Cores in use, over the time between the last two readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_peak_bytes: Option<u64>,
    pub processes: u32,
}

/// The jobs of a submission, as they were named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitReply {
    pub jobs: Vec<SubmittedJob>,
    /// Fields of the manifests that have no effect on one machine, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmittedJob {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}
