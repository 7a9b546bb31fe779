//! What a database must be able to do to be the record store: [`super::books`] does it on SQLite and on PostgreSQL.
//!
//! Kept narrow on purpose: rows in, rows out, and the queries. Joining, assembling and closing are not its business.

use jiff::Timestamp;
use jobmeter_decide::chase;
use jobmeter_decide::job_view::{JobCondition, JobObject};
use jobmeter_protocol::runs::{NodeResult, Run, RunChange, RunDetail};
use jobmeter_protocol::{ApiPod, Job, JobDetail, LogEntry, LogId, Page, Record};

use super::archive::Archivable;
use super::change::StoredPod;
use super::filter::Query;
use super::logs::page::LogSelect;
use super::logs::{ExpectedLog, LogRow, LogSubject, LogTotals, WhichPod};
use super::retention::Retention;
use super::runs::query::RunSelect;
use super::runs::read::Stored;

pub(super) trait StoreEngine: Send {
    fn begin(&mut self) -> Result<(), EngineError>;
    /// Durable when it returns.
    fn commit(&mut self) -> Result<(), EngineError>;
    /// The last call: nothing is half written any more.
    fn settle(&mut self) -> Result<(), EngineError>;
    fn rollback(&mut self) -> Result<(), EngineError>;

    fn load_pod(&mut self, uid: &str) -> Result<Option<StoredPod>, EngineError>;
    fn save_pod(&mut self, pod: &StoredPod) -> Result<(), EngineError>;
    /// Deletes what is kept of a pod unless its record is closed; whether there was anything.
    fn discard_pod(&mut self, uid: &str) -> Result<bool, EngineError>;
    /// The condition that was stored before, if the job was known.
    fn save_job(&mut self, job: &JobObject, cluster: &str) -> Result<JobSaved, EngineError>;
    fn mark_job_gone(&mut self, uid: &str) -> Result<bool, EngineError>;
    fn prune(&mut self, retention: Retention, now: Timestamp) -> Result<u64, EngineError>;

    fn record(&mut self, uid: &str) -> Result<Option<Record>, EngineError>;
    fn records(&mut self, query: &Query) -> Result<Page<Record>, EngineError>;
    fn jobs(&mut self, query: &Query) -> Result<Page<Job>, EngineError>;
    fn job(&mut self, namespace: &str, name: &str) -> Result<Option<JobDetail>, EngineError>;
    fn open_pods(&mut self) -> Result<Vec<OpenPod>, EngineError>;
    fn present_pods(&mut self, namespace: Option<&str>) -> Result<Vec<String>, EngineError>;
    fn unresolved_pods(&mut self, namespace: Option<&str>) -> Result<Vec<ApiPod>, EngineError>;
    fn present_jobs(&mut self, namespace: Option<&str>) -> Result<Vec<String>, EngineError>;
    /// Oldest first, until there are so many or they have so many bytes.
    fn to_archive(&mut self, records: u32, bytes: usize) -> Result<Vec<Archivable>, EngineError>;
    /// All up to that one.
    fn archived(&mut self, seq: i64) -> Result<(), EngineError>;
    fn totals(&mut self) -> Result<Totals, EngineError>;

    fn log(&mut self, log: &LogId) -> Result<Option<LogRow>, EngineError>;
    /// Of one pod, in the order of containers and attempts.
    fn logs_of(&mut self, uid: &str) -> Result<Vec<LogRow>, EngineError>;
    fn save_log(&mut self, row: &LogRow) -> Result<(), EngineError>;
    fn log_key_taken(&mut self, key: &str) -> Result<bool, EngineError>;
    /// Deletes rows of pods whose records are gone; those that have an object only if `objects` do not outlive them.
    fn prune_logs(&mut self, before: Timestamp, objects: bool) -> Result<u64, EngineError>;
    fn log_page(&mut self, select: &LogSelect) -> Result<Page<LogEntry>, EngineError>;
    fn log_subject(&mut self, pod: &WhichPod) -> Result<Option<LogSubject>, EngineError>;
    fn expected_logs(&mut self, limit: u32) -> Result<Vec<ExpectedLog>, EngineError>;
    /// What has an object, oldest first.
    fn oldest_logs(&mut self, limit: u32) -> Result<Vec<LogRow>, EngineError>;
    fn log_totals(&mut self) -> Result<LogTotals, EngineError>;

    /// Within a transaction.
    fn apply_runs(&mut self, changes: &[RunChange]) -> Result<(), EngineError>;
    fn stored_runs(&mut self) -> Result<Stored, EngineError>;
    fn run_page(&mut self, select: &RunSelect) -> Result<Page<Run>, EngineError>;
    fn run(&mut self, id: &str) -> Result<Option<RunDetail>, EngineError>;
    fn run_results(&mut self, id: &str) -> Result<Option<Vec<NodeResult>>, EngineError>;
    /// Within a transaction. The first that was ever offered.
    fn run_secret(&mut self, candidate: &[u8]) -> Result<Vec<u8>, EngineError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobSaved {
    pub(super) before: Option<JobCondition>,
    pub(super) changed: bool,
}

/// An open record, as the chase needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub node: Option<String>,
    pub known: chase::Known,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub open: u64,
    pub complete: u64,
    pub partial: u64,
    /// Of the database file and its log.
    pub bytes: u64,
    /// Rows that were skipped because they cannot be read, since the last count.
    pub skipped: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("failed to {action}")]
    Sqlite {
        action: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("failed to {action}")]
    Postgres {
        action: &'static str,
        #[source]
        source: ::postgres::Error,
    },
    /// Whether the server still did what it was told is not known.
    #[error("lost the connection to the database: failed to {action}")]
    Lost {
        action: &'static str,
        #[source]
        source: ::postgres::Error,
    },
    #[error("the database cannot be reached")]
    Unreachable {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// By the epoch that the database knows.
    #[error(
        "another coordinator leads now (epoch {found}, this one had {epoch}): nothing was stored, and this one must not write any more"
    )]
    Fenced { epoch: u64, found: u64 },
    #[error("what is stored of {subject} cannot be read: {why}")]
    Unreadable { subject: String, why: String },
}

impl EngineError {
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Postgres { source, .. } => source.code() == Some(&::postgres::error::SqlState::DISK_FULL),
            _ => false,
        }
    }

    /// The same once more may succeed.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}
