//! The store's engine on any [`Database`]: what a commit is, and which room reads and writes which table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jobmeter_decide::job_view::JobObject;
use jobmeter_protocol::runs::{NodeResult, Run, RunChange, RunDetail};
use jobmeter_protocol::{ApiPod, Job, JobDetail, LogEntry, LogId, Page, Record};

use super::archive::{self, Archivable};
use super::change::StoredPod;
use super::engine::{EngineError, JobSaved, OpenPod, StoreEngine, Totals};
use super::filter::Query;
use super::logs::page::LogSelect;
use super::logs::{ExpectedLog, LogRow, LogSubject, LogTotals, WhichPod, page, rows};
use super::retention::{self, Retention};
use super::row::{parsed, text};
use super::runs::query::RunSelect;
use super::runs::{apply, read};
use super::sql::{self, Database};
use super::{jobs, pods, records};

/// One connection.
pub(super) struct Books<D> {
    pub(super) database: D,
    /// Rows that could not be read and were left out, of all connections of a store.
    skipped: Arc<AtomicU64>,
}

impl<D: Database> Books<D> {
    /// What is left out is counted in `skipped`.
    pub(super) fn new(database: D, skipped: Arc<AtomicU64>) -> Self {
        Self { database, skipped }
    }
}

impl<D: Database> StoreEngine for Books<D> {
    fn begin(&mut self) -> Result<(), EngineError> {
        self.database.begin()
    }

    fn commit(&mut self) -> Result<(), EngineError> {
        self.database.commit()
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        self.database.settle()
    }

    fn rollback(&mut self) -> Result<(), EngineError> {
        self.database.rollback()
    }

    fn load_pod(&mut self, uid: &str) -> Result<Option<StoredPod>, EngineError> {
        pods::load(&mut self.database, uid)
    }

    fn save_pod(&mut self, pod: &StoredPod) -> Result<(), EngineError> {
        pods::save(&mut self.database, pod)
    }

    fn discard_pod(&mut self, uid: &str) -> Result<bool, EngineError> {
        retention::discard(&mut self.database, uid)
    }

    fn save_job(&mut self, job: &JobObject, cluster: &str) -> Result<JobSaved, EngineError> {
        jobs::save(&mut self.database, job, cluster)
    }

    fn mark_job_gone(&mut self, uid: &str) -> Result<bool, EngineError> {
        jobs::mark_gone(&mut self.database, uid)
    }

    fn prune(&mut self, retention: Retention, now: Timestamp) -> Result<u64, EngineError> {
        retention::prune(&mut self.database, retention, now)
    }

    fn record(&mut self, uid: &str) -> Result<Option<Record>, EngineError> {
        const RECORD: &str = "SELECT record FROM pods WHERE uid = ?";
        sql::first(&mut self.database, "read a record", RECORD, &[text(uid)], |row| parsed(uid, &row.text(0)?))
    }

    fn records(&mut self, query: &Query) -> Result<Page<Record>, EngineError> {
        records::page(&mut self.database, query, &self.skipped)
    }

    fn jobs(&mut self, query: &Query) -> Result<Page<Job>, EngineError> {
        jobs::page(&mut self.database, query)
    }

    fn job(&mut self, namespace: &str, name: &str) -> Result<Option<JobDetail>, EngineError> {
        jobs::detail(&mut self.database, namespace, name)
    }

    fn open_pods(&mut self) -> Result<Vec<OpenPod>, EngineError> {
        records::open(&mut self.database)
    }

    fn present_pods(&mut self, namespace: Option<&str>) -> Result<Vec<String>, EngineError> {
        records::present(&mut self.database, namespace)
    }

    fn unresolved_pods(&mut self, namespace: Option<&str>) -> Result<Vec<ApiPod>, EngineError> {
        records::unresolved(&mut self.database, namespace, &self.skipped)
    }

    fn present_jobs(&mut self, namespace: Option<&str>) -> Result<Vec<String>, EngineError> {
        jobs::present(&mut self.database, namespace)
    }

    fn to_archive(&mut self, records: u32, bytes: usize) -> Result<Vec<Archivable>, EngineError> {
        archive::batch(&mut self.database, records, bytes)
    }

    fn archived(&mut self, seq: i64) -> Result<(), EngineError> {
        archive::done(&mut self.database, seq)
    }

    fn totals(&mut self) -> Result<Totals, EngineError> {
        let totals = records::totals(&mut self.database)?;
        Ok(Totals { bytes: self.database.bytes()?, skipped: self.skipped.swap(0, Ordering::Relaxed), ..totals })
    }

    fn log(&mut self, log: &LogId) -> Result<Option<LogRow>, EngineError> {
        rows::one(&mut self.database, log)
    }

    fn logs_of(&mut self, uid: &str) -> Result<Vec<LogRow>, EngineError> {
        rows::of_pod(&mut self.database, uid)
    }

    fn save_log(&mut self, row: &LogRow) -> Result<(), EngineError> {
        rows::save(&mut self.database, row)
    }

    fn log_key_taken(&mut self, key: &str) -> Result<bool, EngineError> {
        rows::taken(&mut self.database, key)
    }

    fn prune_logs(&mut self, before: Timestamp, objects: bool) -> Result<u64, EngineError> {
        rows::prune(&mut self.database, before, objects)
    }

    fn log_page(&mut self, select: &LogSelect) -> Result<Page<LogEntry>, EngineError> {
        if self.database.is_without_logs()? {
            return Ok(Page { items: Vec::new(), next: None });
        }
        page::page(&mut self.database, select)
    }

    fn log_subject(&mut self, pod: &WhichPod) -> Result<Option<LogSubject>, EngineError> {
        if self.database.is_without_logs()? {
            return Ok(None);
        }
        rows::subject(&mut self.database, pod)
    }

    fn expected_logs(&mut self, limit: u32) -> Result<Vec<ExpectedLog>, EngineError> {
        rows::expected(&mut self.database, limit)
    }

    fn oldest_logs(&mut self, limit: u32) -> Result<Vec<LogRow>, EngineError> {
        rows::oldest(&mut self.database, limit)
    }

    fn log_totals(&mut self) -> Result<LogTotals, EngineError> {
        rows::totals(&mut self.database)
    }

    fn apply_runs(&mut self, changes: &[RunChange]) -> Result<(), EngineError> {
        apply::all(&mut self.database, changes)
    }

    fn stored_runs(&mut self) -> Result<read::Stored, EngineError> {
        if self.database.is_without_runs()? {
            return Ok(read::Stored::default());
        }
        read::stored(&mut self.database, &self.skipped)
    }

    fn run_page(&mut self, select: &RunSelect) -> Result<Page<Run>, EngineError> {
        if self.database.is_without_runs()? {
            return Ok(Page { items: Vec::new(), next: None });
        }
        read::page(&mut self.database, select, &self.skipped)
    }

    fn run(&mut self, id: &str) -> Result<Option<RunDetail>, EngineError> {
        if self.database.is_without_runs()? {
            return Ok(None);
        }
        read::detail(&mut self.database, id, &self.skipped)
    }

    fn run_results(&mut self, id: &str) -> Result<Option<Vec<NodeResult>>, EngineError> {
        if self.database.is_without_runs()? {
            return Ok(None);
        }
        read::results(&mut self.database, id, &self.skipped)
    }

    fn run_secret(&mut self, candidate: &[u8]) -> Result<Vec<u8>, EngineError> {
        read::secret(&mut self.database, candidate)
    }
}
