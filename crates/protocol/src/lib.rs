//! What the processes of Jobmeter say to each other, and what is stored.
//!
//! Only types of this crate cross a process or reach a disk. They carry data and its names, never behaviour that
//! decides something. Golden JSON in `tests/golden.rs` pins every form that was ever written, old and new.
//!
//! ```text
//! ApiPod      (what the API server said of a pod)      ─┐
//!                                                        ├─▶ Record (one per pod)
//! PodEvidence (what one node's kernel said of a pod)   ─┘
//! ```
//! Raw evidence counts in integers (nanoseconds, bytes) and only ever grows, so that two pieces of it can be joined in
//! any order. Records are for people: seconds and bytes, each [`Figure`] with the method by which it was obtained.

pub mod api_pod;
pub mod evidence;
pub mod figure;
pub mod job;
pub mod logs;
pub mod node;
pub mod pools;
pub mod query;
pub mod record;
pub mod runs;
pub mod wire;

pub use api_pod::{ApiContainer, ApiPod, ContainerKind, OwnerRef, PodPhase, Resources, RestartPolicy};
pub use evidence::{
    ContainerEvidence, ContainerExit, CpuCounters, ExitStatus, Gap, IoCounters, MemoryCounters, PodEvidence, PressureCounters,
    ProcessEvidence, Reading, Sampled, Segment, SegmentId, Stage,
};
pub use figure::{Figure, Method};
pub use job::{Job, JobDetail, JobState};
pub use logs::{Compression, LogContent, LogEntry, LogFormat, LogId, LogManifest, LogQuery, LogRead, LogRef, LogState, Missing};
pub use node::{Capability, CapabilityState, NodeStatus};
pub use pools::{PoolDetail, PoolMember, PoolSlot, PoolStatus, PoolWait};
pub use query::{Page, RecordQuery, SortBy};
pub use record::{ContainerRecord, Identity, Outcome, ProcessRecord, Quality, Reason, Record, Times, Usage};
pub use wire::{Heartbeat, HeartbeatReply, LivePod, LostLog, ReportBatch, ReportReply, SubmitReply, SubmittedJob, Verdict};

/// Version of the wire and of stored JSON. It changes only when an old reader would misread a new form.
pub const VERSION: u32 = 1;
