//! The record store: what the cluster and the agents said of each job pod, and the record that follows from it.
//!
//! Inputs: [`Change`]s from the world, the ingest and the chase. Outputs: records and jobs, by query. Owner: one writer
//! thread, which joins, assembles and commits in groups; two reader threads, so that a long query holds up neither a report
//! nor the chase.
//! What [`Store::apply`] has answered is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_decide::job_view::JobObject;
use jobmeter_protocol::{ApiPod, Job, JobDetail, LogEntry, LogId, LogQuery, OwnerRef, Page, PodEvidence, Record, RecordQuery};
use tokio::sync::{mpsc, oneshot};

mod archive;
mod change;
mod cursor;
mod discarded;
mod engine;
mod filter;
mod jobs;
mod lock;
pub mod logs;
mod records;
mod retention;
mod row;
mod schema;
mod sqlite;
mod thread;

pub use archive::Archivable;
pub use change::{Assembly, Known, StoredPod};
pub use cursor::CursorError;
pub use engine::{EngineError, OpenPod, Totals};
pub use filter::{FilterError, RecordFilter};
pub use lock::LockError;
use logs::page::LogSelect;
use logs::{AppliedLog, ExpectedLog, LogChange, LogFilterError, LogRow, LogSubject, LogTotals, WhichPod};
pub use retention::Retention;
pub use sqlite::OpenError;

/// Commands that may wait for the writer: about a second of work; beyond it callers wait, and agents keep their reports.
const WRITE_QUEUE: usize = 256;
/// Queries that may wait for the reader.
const READ_QUEUE: usize = 64;

/// Cheap to clone.
#[derive(Clone)]
pub struct Store {
    path: Arc<Path>,
    writer: Option<mpsc::Sender<thread::Write>>,
    /// For people, whose queries may scan.
    reader: mpsc::Sender<thread::Read>,
    /// For our own tasks, whose queries are short: a person's scan must not delay the closing of records.
    tasks: mpsc::Sender<thread::Read>,
}

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
    #[error("failed to read or write the record store {path}")]
    Engine {
        path: PathBuf,
        #[source]
        source: EngineError,
    },
    #[error("the disk of the record store {path} is full")]
    Full { path: PathBuf },
    #[error("the record store {path} is closed")]
    Closed { path: PathBuf },
    #[error("the record store {path} was opened for reading only")]
    ReadOnly { path: PathBuf },
    #[error(transparent)]
    Query(#[from] FilterError),
    #[error(transparent)]
    LogQuery(#[from] LogFilterError),
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

impl Store {
    /// Opens or creates the file, takes its lock, and brings its schema up to date. Blocks for as long as that takes.
    pub fn open(path: &Path, assembly: Assembly, on_commit: OnCommit) -> Result<Self, OpenError> {
        let lock = lock::Lock::take(path)?;
        let engine = sqlite::Sqlite::open(path)?;
        let reader = sqlite::Sqlite::open_read_only(path)?;
        let tasks = sqlite::Sqlite::open_read_only(path)?.counting_with(&reader);
        let (write, commands) = mpsc::channel(WRITE_QUEUE);
        thread::spawn_writer(Box::new(engine), assembly, on_commit, lock, commands).map_err(OpenError::Thread)?;
        Ok(Self {
            path: path.into(),
            writer: Some(write),
            reader: Self::reader("store-reader", reader)?,
            tasks: Self::reader("store-tasks", tasks)?,
        })
    }

    /// For a look from another process, also while the coordinator runs.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let reader = Self::reader("store-reader", sqlite::Sqlite::open_read_only(path)?)?;
        Ok(Self { path: path.into(), writer: None, tasks: reader.clone(), reader })
    }

    fn reader(name: &str, engine: sqlite::Sqlite) -> Result<mpsc::Sender<thread::Read>, OpenError> {
        let (read, queries) = mpsc::channel(READ_QUEUE);
        thread::spawn_reader(name, Box::new(engine), queries).map_err(OpenError::Thread)?;
        Ok(read)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes what waits, settles the file and gives its lock back. Every clone of this store is closed with it.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.write(|reply| thread::Write::Close { reply }).await
    }

    /// Answers, in order, when all of it is durable. An error means that none of it was stored.
    pub async fn apply(&self, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Applied>, StoreError> {
        self.write(|reply| thread::Write::Apply { changes, now, reply }).await
    }

    /// How many records were deleted.
    pub async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64, StoreError> {
        self.write(|reply| thread::Write::Prune { retention, now, reply }).await
    }

    pub async fn records(&self, query: &RecordQuery) -> Result<Page<Record>, StoreError> {
        let query = filter::Query::records(query)?;
        self.read(move |engine| engine.records(&query)).await
    }

    pub async fn jobs(&self, query: &RecordQuery) -> Result<Page<Job>, StoreError> {
        let query = filter::Query::jobs(query)?;
        self.read(move |engine| engine.jobs(&query)).await
    }

    pub async fn record(&self, uid: &str) -> Result<Option<Record>, StoreError> {
        let uid = uid.to_owned();
        self.read(move |engine| engine.record(&uid)).await
    }

    /// The newest job of that name, with its records.
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<JobDetail>, StoreError> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.read(move |engine| engine.job(&namespace, &name)).await
    }

    /// Every record that is not closed and that somebody may have to be asked about.
    pub async fn open_pods(&self) -> Result<Vec<OpenPod>, StoreError> {
        self.read_for_task(|engine| engine.open_pods()).await
    }

    /// UIDs of the pods that, by what is stored, the API server still has; of one namespace or of all.
    pub async fn present_pods(&self, namespace: Option<String>) -> Result<Vec<String>, StoreError> {
        self.read_for_task(move |engine| engine.present_pods(namespace.as_deref())).await
    }

    /// Pods of open records whose chain of owners is not known.
    pub async fn unresolved_pods(&self, namespace: Option<String>) -> Result<Vec<ApiPod>, StoreError> {
        self.read_for_task(move |engine| engine.unresolved_pods(namespace.as_deref())).await
    }

    /// UIDs of the jobs whose object, by what is stored, is still there.
    pub async fn present_jobs(&self, namespace: Option<String>) -> Result<Vec<String>, StoreError> {
        self.read_for_task(move |engine| engine.present_jobs(namespace.as_deref())).await
    }

    /// Closed records that are not archived, oldest first, until there are so many or they have so many bytes.
    pub(crate) async fn to_archive(&self, records: u32, bytes: usize) -> Result<Vec<Archivable>, StoreError> {
        self.read_for_task(move |engine| engine.to_archive(records, bytes)).await
    }

    /// All up to that [`Archivable::seq`] are archived.
    pub(crate) async fn archived(&self, seq: i64) -> Result<(), StoreError> {
        self.write(|reply| thread::Write::Archived { seq, reply }).await
    }

    pub async fn totals(&self) -> Result<Totals, StoreError> {
        self.read_for_task(|engine| engine.totals()).await
    }

    /// Old rows of logs whose pods have no record any more; `objects`: not those that still have an object.
    pub async fn prune_logs(&self, before: Timestamp, objects: bool) -> Result<u64, StoreError> {
        self.write(|reply| thread::Write::PruneLogs { before, objects, reply }).await
    }

    pub async fn logs(&self, query: &LogQuery) -> Result<Page<LogEntry>, StoreError> {
        let select = LogSelect::new(query)?;
        self.read(move |engine| engine.log_page(&select)).await
    }

    /// For people.
    pub async fn log_subject(&self, pod: WhichPod) -> Result<Option<LogSubject>, StoreError> {
        self.read(move |engine| engine.log_subject(&pod)).await
    }

    /// For agents, whose questions do not wait for people's.
    pub(crate) async fn log_pod(&self, uid: &str) -> Result<Option<LogSubject>, StoreError> {
        let pod = WhichPod::Uid(uid.to_owned());
        self.read_for_task(move |engine| engine.log_subject(&pod)).await
    }

    pub async fn log(&self, log: &LogId) -> Result<Option<LogRow>, StoreError> {
        let log = log.clone();
        self.read_for_task(move |engine| engine.log(&log)).await
    }

    pub async fn expected_logs(&self, limit: u32) -> Result<Vec<ExpectedLog>, StoreError> {
        self.read_for_task(move |engine| engine.expected_logs(limit)).await
    }

    /// What has an object, oldest first.
    pub async fn oldest_logs(&self, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        self.read_for_task(move |engine| engine.oldest_logs(limit)).await
    }

    pub async fn log_totals(&self) -> Result<LogTotals, StoreError> {
        self.read_for_task(|engine| engine.log_totals()).await
    }

    /// Returns when one of the store's threads has ended, which they do not before every `Store` is dropped.
    pub async fn ended(&self) {
        let writer = async {
            match &self.writer {
                Some(writer) => writer.closed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = writer => {}
            () = self.reader.closed() => {}
            () = self.tasks.closed() => {}
        }
    }

    /// Commands that wait for the writer now.
    pub fn queued(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.max_capacity() - writer.capacity())
    }

    async fn write<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> thread::Write,
    ) -> Result<T, StoreError> {
        let writer = self.writer.as_ref().ok_or_else(|| StoreError::ReadOnly { path: self.path.to_path_buf() })?;
        let (reply, answer) = oneshot::channel();
        writer.send(command(reply)).await.map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())?.map_err(|source| self.failed(source))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn engine::StoreEngine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(&self.reader, query).await
    }

    async fn read_for_task<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn engine::StoreEngine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(&self.tasks, query).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        reader: &mpsc::Sender<thread::Read>,
        query: impl FnOnce(&mut dyn engine::StoreEngine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let query = thread::Read::new(query, reply);
        reader.send(query).await.map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())?.map_err(|source| self.failed(source))
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { path: self.path.to_path_buf() }
    }

    fn failed(&self, source: EngineError) -> StoreError {
        let path = self.path.to_path_buf();
        if source.is_full() { StoreError::Full { path } } else { StoreError::Engine { path, source } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_persons_scan_does_not_delay_the_closing_of_records() {
        let files = tempfile::tempdir().unwrap();
        let store = Store::open(&files.path().join("jobmeter.db"), Assembly::default(), Box::new(|_| {})).unwrap();
        let (done, scanning) = std::sync::mpsc::channel::<()>();
        let scan = tokio::spawn({
            let store = store.clone();
            async move { store.read(move |_| Ok(scanning.recv().is_err())).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(store.open_pods().await.unwrap(), []);
        assert_eq!(store.totals().await.unwrap().open, 0);
        assert_eq!(store.present_pods(None).await.unwrap(), Vec::<String>::new());
        assert!(!scan.is_finished());
        drop(done);
        assert!(scan.await.unwrap().unwrap());
    }
}
