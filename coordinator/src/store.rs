//! The record store: what the cluster and the agents said of each job pod, and the record that follows from it.
//!
//! Inputs: [`Change`]s from the world, the ingest and the chase. Outputs: records and jobs, by query. Owner: one writer
//! thread, which joins, assembles and commits in groups; two reader threads, so that a long query holds up neither a report
//! nor the chase.
//! What [`Store::apply`] has answered is on the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, Job, JobDetail, LogEntry, LogId, LogQuery, Page, Record, RecordQuery};
use tokio::sync::{SetOnce, mpsc, oneshot};

mod archive;
mod books;
mod change;
mod cursor;
mod discarded;
mod engine;
mod exchange;
mod fenced;
mod filter;
mod jobs;
mod labels;
mod lock;
pub mod logs;
mod open;
mod place;
mod pods;
mod postgres;
mod records;
mod retention;
mod row;
pub mod runs;
mod schema;
mod sql;
mod sqlite;
mod thread;

pub use archive::Archivable;
pub use change::{Assembly, Known, StoredPod};
pub use cursor::CursorError;
pub use engine::{EngineError, OpenPod, Totals};
pub use exchange::{Applied, AppliedPod, Change, Committed, OnCommit, StoreError};
pub use fenced::Fenced;
pub use filter::{FilterError, RecordFilter};
pub use lock::LockError;
use logs::page::LogSelect;
use logs::{ExpectedLog, LogRow, LogSubject, LogTotals, WhichPod};
pub use open::OpenError;
pub use place::Place;
pub use postgres::{Address, AddressError};
pub use retention::Retention;

/// Commands that may wait for the writer: about a second of work; beyond it callers wait, and agents keep their reports.
const WRITE_QUEUE: usize = 256;
/// Queries that may wait for the reader.
const READ_QUEUE: usize = 64;

/// Cheap to clone.
#[derive(Clone)]
pub struct Store {
    place: Arc<Place>,
    /// Unset while it only reads.
    writer: Arc<SetOnce<mpsc::Sender<thread::Write>>>,
    fence: fenced::Fence,
    /// Rows that were left out, of all connections.
    skipped: Arc<AtomicU64>,
    /// For people, whose queries may scan.
    reader: mpsc::Sender<thread::Read>,
    /// For our own tasks, whose queries are short: a person's scan must not delay the closing of records.
    tasks: mpsc::Sender<thread::Read>,
}

impl Store {
    /// Opens or creates the file, takes its lock, and brings its schema up to date. Blocks for as long as that takes.
    pub fn open(path: &Path, assembly: Assembly, on_commit: OnCommit) -> Result<Self, OpenError> {
        // The writer first: it makes the file.
        let pen = open::file(path)?;
        let store = Self::open_read_only(path)?;
        store.write_with(pen, assembly, on_commit)?;
        Ok(store)
    }

    /// For a look from another process, also while the coordinator runs.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        Self::open_follower(&Place::file(path))
    }

    /// For a coordinator that does not lead (yet): it reads, and writes once [`Self::lead`] was called. Blocks while it connects.
    /// A file that is not there is an error: it is made by [`Self::open_leader`], once the Lease is held.
    pub fn open_follower(place: &Place) -> Result<Self, OpenError> {
        let skipped = Arc::<AtomicU64>::default();
        let [reader, tasks] = open::readers(place, &skipped)?;
        Ok(Self {
            place: Arc::new(place.clone()),
            writer: Arc::default(),
            fence: fenced::Fence::default(),
            skipped,
            reader: Self::reader("store-reader", reader)?,
            tasks: Self::reader("store-tasks", tasks)?,
        })
    }

    /// From now on this store, and every clone of it, writes, in the name of that epoch. Blocks while it connects.
    /// [`OpenError::Fenced`]: a later epoch has written already, so another coordinator leads.
    pub fn lead(&self, epoch: u64, assembly: Assembly, on_commit: OnCommit) -> Result<(), OpenError> {
        if self.writer.get().is_some() {
            return Err(OpenError::Leading { store: self.place.to_string() });
        }
        self.write_with(open::pen(&self.place, epoch, &self.skipped)?, assembly, on_commit)
    }

    /// Both at once: a file, or a database that only one coordinator uses.
    pub fn open_leader(place: &Place, epoch: u64, assembly: Assembly, on_commit: OnCommit) -> Result<Self, OpenError> {
        match place {
            Place::File(path) => Self::open(path, assembly, on_commit),
            Place::Postgres(_) => {
                let store = Self::open_follower(place)?;
                store.lead(epoch, assembly, on_commit)?;
                Ok(store)
            }
        }
    }

    fn reader(name: &str, engine: Box<dyn engine::StoreEngine>) -> Result<mpsc::Sender<thread::Read>, OpenError> {
        let (read, queries) = mpsc::channel(READ_QUEUE);
        thread::spawn_reader(name, engine, queries).map_err(OpenError::Thread)?;
        Ok(read)
    }

    fn write_with(&self, pen: thread::Pen, assembly: Assembly, on_commit: OnCommit) -> Result<(), OpenError> {
        let (write, commands) = mpsc::channel(WRITE_QUEUE);
        thread::spawn_writer(pen, assembly, on_commit, self.fence.clone(), commands).map_err(OpenError::Thread)?;
        self.writer.set(write).map_err(|_| OpenError::Leading { store: self.place.to_string() })
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Another coordinator leads; [`Self::ended`] returns then.
    pub fn fenced(&self) -> Option<Fenced> {
        self.fence.get()
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

    /// Returns when one of the store's threads has ended, which they do not before every `Store` is dropped, unless it broke or
    /// another coordinator leads ([`Self::fenced`]).
    pub async fn ended(&self) {
        tokio::select! {
            () = async { self.writer.wait().await.closed().await } => {}
            () = self.reader.closed() => {}
            () = self.tasks.closed() => {}
        }
    }

    /// Commands that wait for the writer now.
    pub fn queued(&self) -> usize {
        self.writer.get().map_or(0, |writer| writer.max_capacity() - writer.capacity())
    }

    async fn write<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> thread::Write,
    ) -> Result<T, StoreError> {
        let writer = self.writer.get().ok_or_else(|| StoreError::ReadOnly { store: self.place.to_string() })?;
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
        let store = self.place.to_string();
        match self.fenced() {
            Some(Fenced { epoch, found }) => StoreError::Fenced { store, epoch, found },
            None => StoreError::Closed { store },
        }
    }

    fn failed(&self, source: EngineError) -> StoreError {
        let store = self.place.to_string();
        match source {
            EngineError::Fenced { epoch, found } => StoreError::Fenced { store, epoch, found },
            source if source.is_full() => StoreError::Full { store },
            source => StoreError::Engine { store, source },
        }
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
