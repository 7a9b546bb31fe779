//! What the store is told, and what it answers.

use jiff::Timestamp;
use jobmeter_decide::job_view::JobObject;
use jobmeter_protocol::{ApiPod, LogId, OwnerRef, PodEvidence, Record};

use super::engine::EngineError;
use super::filter::FilterError;
use super::logs::{AppliedLog, LogChange, LogFilterError};
use super::runs::RunFilterError;

/// Something that was learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// What the API server says of a pod now. `owners` from the direct one to the top; `None` until they are resolved.
    Api {
        pod: Box<ApiPod>,
        owners: Option<Vec<OwnerRef>>,
    },
    /// The pod's object is gone.
    Vanished {
        uid: String,
    },
    Evidence(Box<PodEvidence>),
    /// The chase found that no more is to be had.
    Close {
        uid: String,
        ending: jobmeter_decide::chase::Ending,
    },
    /// By its chain of owners it is no job: what was kept of it meanwhile goes, and evidence of it is not wanted.
    Discard {
        uid: String,
    },
    Job(Box<JobObject>),
    JobGone {
        uid: String,
    },
    Log {
        log: LogId,
        change: Box<LogChange>,
    },
}

/// What became of one change. It is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// All of it was known.
    Nothing,
    Job {
        /// It ended with this change.
        ended: Option<jobmeter_decide::job_view::JobCondition>,
    },
    Pod(Box<AppliedPod>),
    Log(Box<AppliedLog>),
    /// What was kept of this pod is deleted.
    Discarded,
    /// The change contradicts what is known; nothing was changed.
    Refused {
        why: String,
    },
    /// What is stored of this pod cannot be read; nothing was changed.
    Unreadable {
        uid: String,
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct AppliedPod {
    pub record: Record,
    /// All labels of the pod, not only those that the record keeps.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The record was closed with this change.
    pub closed: Option<jobmeter_decide::chase::Ending>,
    /// A closed, partial record was replaced: this one stood before.
    pub amended: Option<Box<Record>>,
    /// When containers ended of whose end the node told with this change.
    pub exits: Vec<Timestamp>,
    /// It came after the record was closed for good: stored, without effect on the record.
    pub late: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("failed to read or write the record store {store}")]
    Engine {
        store: String,
        #[source]
        source: EngineError,
    },
    #[error("the disk of the record store {store} is full")]
    Full { store: String },
    #[error("the record store {store} is closed")]
    Closed { store: String },
    #[error("the record store {store} was opened for reading only")]
    ReadOnly { store: String },
    /// The process is to end: what it knows of the cluster is no longer to be acted upon.
    #[error(
        "another coordinator leads now (epoch {found}, this one had {epoch}): the record store {store} takes no writes of this one"
    )]
    Fenced { store: String, epoch: u64, found: u64 },
    #[error(transparent)]
    Query(#[from] FilterError),
    #[error(transparent)]
    LogQuery(#[from] LogFilterError),
    #[error(transparent)]
    RunQuery(#[from] RunFilterError),
}

/// One batch after its commit, or after it could not be committed.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// Empty where it failed.
    pub applied: &'a [Applied],
    pub failed: bool,
    /// Of the whole group that it was committed with.
    pub took: std::time::Duration,
}

/// What happens after each commit, on the writer's thread: it must not block.
pub type OnCommit = Box<dyn Fn(Committed<'_>) + Send>;
