//! The store's engine on SQLite: opening, transactions, and single rows. Queries are in [`super::records`] and [`super::jobs`].
//!
//! WAL, so that readers (also of other processes) never wait for the writer; `synchronous=FULL`, so that what a commit has
//! answered survives a power cut.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::job_view::{JobCondition, JobObject};
use jobmeter_decide::selector::Selector;
use jobmeter_protocol::{ApiPod, Job, JobDetail, LogEntry, LogId, Page, Quality, Record, Stage};
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::archive::Archivable;
use super::change::{Known, State, StoredPod};
use super::engine::{EngineError, JobSaved, OpenPod, StoreEngine, Totals};
use super::filter::Query;
use super::lock::LockError;
use super::logs::page::LogSelect;
use super::logs::rows as log_rows;
use super::logs::{ExpectedLog, LogRow, LogSubject, LogTotals, WhichPod};
use super::retention::Retention;
use super::row::{failed, integer, json, method, nanoseconds, optional_json, optional_text, parsed, real, saturated, text, time};
use super::row::{timestamp, unreadable};
use super::schema::{self, SchemaError};
use super::{jobs, records};

/// Readers of other processes may hold a lock for a moment, for instance while they recover a log.
const BUSY: Duration = Duration::from_secs(5);

pub(super) struct Sqlite {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Rows that could not be read and were left out, of all connections of a store.
    skipped: Arc<AtomicU64>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("failed to create the directory {path} of the record store")]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to create the record store {path}")]
    Create {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no record store at {path}; a coordinator makes one when it starts")]
    Missing { path: PathBuf },
    #[error(
        "the record store {path} is damaged or is no database. Stop the coordinator, move the file (with its -wal and -shm) \
         aside, and start again with an empty one; `sqlite3 {path} .recover` gets out of it what can be read"
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the record store {path} was written by a newer Jobmeter (schema {found}, this one knows {known}): use that version")]
    Newer { path: PathBuf, found: usize, known: usize },
    #[error("failed to open the record store {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("failed to start a thread of the record store")]
    Thread(#[source] std::io::Error),
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        create_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(classify(path))?;
        prepare(&connection).map_err(classify(path))?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(classify(path))?;
        connection.pragma_update(None, "synchronous", "full").map_err(classify(path))?;
        schema::migrate(&mut connection).map_err(|err| match err {
            SchemaError::Sqlite(source) => classify(path)(source),
            SchemaError::Newer { found } => newer(path, found),
        })?;
        Ok(Self { connection, path: path.to_owned(), skipped: Arc::default() })
    }

    /// What is left out here is counted together with `other`.
    pub(super) fn counting_with(mut self, other: &Self) -> Self {
        self.skipped = other.skipped.clone();
        self
    }

    pub(super) fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        match Self::read_only(path, path.as_os_str().to_owned()) {
            // Without a log and without the right to make one, the file is as its last writer left it.
            Err(OpenError::Open { .. }) if log_of(path).metadata().map_or(0, |log| log.len()) == 0 => {
                Self::read_only(path, immutable(path))
            }
            opened => opened,
        }
    }

    fn read_only(path: &Path, name: OsString) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(name, flags).map_err(classify(path))?;
        prepare(&connection).map_err(classify(path))?;
        match schema::version(&connection).map_err(classify(path))? {
            found if found > schema::MIGRATIONS.len() => Err(newer(path, found)),
            0 => Err(OpenError::Missing { path: path.to_owned() }),
            _ => Ok(Self { connection, path: path.to_owned(), skipped: Arc::default() }),
        }
    }

    /// A file of an earlier release that was opened for reading only has no table of them.
    fn is_without_logs(&self) -> Result<bool, EngineError> {
        schema::version(&self.connection).map(|found| found < schema::WITH_LOGS).map_err(failed("read the version of the schema"))
    }

    fn bytes(&self) -> u64 {
        [&self.path, &log_of(&self.path)].iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum()
    }
}

/// SQLite would follow the umask; the log beside the file gets the mode of the file.
fn create_private(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(OpenError::Create { path: path.to_owned(), source }),
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}

fn immutable(path: &Path) -> OsString {
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => name.extend(format!("%{byte:02x}").bytes()),
            byte => name.push(*byte),
        }
    }
    name.extend(b"?immutable=1");
    OsString::from_vec(name)
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    // A container's root file system is read-only: there is no directory for temporary files.
    connection.pragma_update(None, "temp_store", "memory")?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("selected", 2, flags, |context| {
        let selector = context.get_or_create_aux(0, |value| -> Result<Selector, Box<dyn std::error::Error + Send + Sync>> {
            Ok(value.as_str()?.parse()?)
        })?;
        let labels = serde_json::from_str(context.get_raw(1).as_str()?);
        Ok(selector.matches(&labels.map_err(|err| rusqlite::Error::UserFunctionError(Box::new(err)))?))
    })
}

fn classify(path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, source },
        _ => OpenError::Open { path, source },
    }
}

fn newer(path: &Path, found: usize) -> OpenError {
    OpenError::Newer { path: path.to_owned(), found, known: schema::MIGRATIONS.len() }
}

/// `REPLACE` would also do, but it deletes the row first and touches every index.
const SAVE_POD: &str = "
INSERT INTO pods (
    uid, namespace, name, job_uid, job_name, owner_keys, node, reason, quality, state, created, started, finished,
    elapsed, cpu, cpu_method, memory, memory_method, rss, rss_method, oom_kills, api_known, scheduled, ran, stage,
    vanished, ended, recorded, changed, labels, resources, owners, api, evidence, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (uid) DO UPDATE SET (
    namespace, name, job_uid, job_name, owner_keys, node, reason, quality, state, created, started, finished,
    elapsed, cpu, cpu_method, memory, memory_method, rss, rss_method, oom_kills, api_known, scheduled, ran, stage,
    vanished, ended, recorded, changed, labels, resources, owners, api, evidence, record
) = (
    excluded.namespace, excluded.name, excluded.job_uid, excluded.job_name, excluded.owner_keys, excluded.node,
    excluded.reason, excluded.quality, excluded.state, excluded.created, excluded.started, excluded.finished,
    excluded.elapsed, excluded.cpu, excluded.cpu_method, excluded.memory, excluded.memory_method, excluded.rss,
    excluded.rss_method, excluded.oom_kills, excluded.api_known, excluded.scheduled, excluded.ran, excluded.stage,
    excluded.vanished, excluded.ended, excluded.recorded, excluded.changed, excluded.labels, excluded.resources,
    excluded.owners, excluded.api, excluded.evidence, excluded.record
)";

impl StoreEngine for Sqlite {
    fn begin(&mut self) -> Result<(), EngineError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed("begin a transaction"))
    }

    fn commit(&mut self) -> Result<(), EngineError> {
        self.connection.execute_batch("COMMIT").map_err(failed("commit"))
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed("settle the log"))
    }

    fn rollback(&mut self) -> Result<(), EngineError> {
        // Some errors (a full disk) have rolled back already.
        if self.connection.is_autocommit() {
            Ok(())
        } else {
            self.connection.execute_batch("ROLLBACK").map_err(failed("roll back"))
        }
    }

    fn load_pod(&mut self, uid: &str) -> Result<Option<StoredPod>, EngineError> {
        type Columns = (Option<String>, Option<String>, Option<String>, String, String, Option<i64>, Option<i64>, i64, i64);
        let columns: Option<Columns> = self
            .connection
            .prepare_cached(
                "SELECT owners, api, evidence, record, state, vanished, ended, recorded, changed FROM pods WHERE uid = ?",
            )
            .and_then(|mut select| select.query_row([uid], |row| row.try_into()).optional())
            .map_err(failed("load a pod"))?;
        let Some((owners, api, evidence, record, state, vanished, ended, recorded, changed)) = columns else { return Ok(None) };
        Ok(Some(StoredPod {
            uid: uid.to_owned(),
            known: Known {
                api: api.map(|text| parsed(uid, &text)).transpose()?,
                owners: owners.map(|text| parsed(uid, &text)).transpose()?,
                evidence: evidence.map(|text| parsed(uid, &text)).transpose()?,
                vanished: vanished.map(timestamp),
                ended: ended.map(timestamp),
            },
            state: State::from_word(&state).ok_or_else(|| unreadable(uid, &format_args!("unknown state {state:?}")))?,
            record: parsed(uid, &record)?,
            recorded: timestamp(recorded),
            changed: timestamp(changed),
        }))
    }

    fn save_pod(&mut self, pod: &StoredPod) -> Result<(), EngineError> {
        let (uid, known, record) = (pod.uid.as_str(), &pod.known, &pod.record);
        let (identity, times, usage) = (&record.identity, &record.time, &record.usage);
        let chased = known.for_chase(pod.changed);
        let keys: Vec<&str> = identity.owners.iter().flat_map(|owner| [owner.name.as_str(), owner.uid.as_str()]).collect();
        let quality = match record.quality {
            Quality::Provisional => "provisional",
            Quality::Complete { .. } => "complete",
            Quality::Partial { .. } => "partial",
        };
        let no_labels = std::collections::BTreeMap::new();
        let labels = known.api.as_ref().map_or(&no_labels, |pod| &pod.labels);
        let values = [
            text(uid),
            text(&identity.namespace),
            text(&identity.pod),
            text(&identity.job.uid),
            text(&identity.job.name),
            text(format!("\n{}\n", keys.join("\n"))),
            optional_text(identity.node.as_deref()),
            text(record.outcome.reason.as_str()),
            text(quality),
            text(pod.state.as_str()),
            time(times.created),
            time(times.started),
            time(times.finished),
            real(times.elapsed_seconds),
            real(usage.cpu_seconds),
            method(usage.cpu_seconds),
            integer(usage.memory_peak_bytes),
            method(usage.memory_peak_bytes),
            integer(usage.rss_peak_bytes),
            method(usage.rss_peak_bytes),
            Value::Integer(usage.oom_kills.map_or(0, |kills| saturated(kills.value))),
            text(chased.api.as_str()),
            Value::Integer(i64::from(chased.scheduled)),
            Value::Integer(i64::from(chased.ran)),
            optional_text(chased.evidence.map(stage_name)),
            time(known.vanished),
            time(known.ended),
            time(Some(pod.recorded)),
            time(Some(pod.changed)),
            json(uid, labels)?,
            json(uid, &record.resources)?,
            optional_json(uid, known.owners.as_ref())?,
            optional_json(uid, known.api.as_ref())?,
            optional_json(uid, known.evidence.as_ref())?,
            json(uid, record)?,
        ];
        let save = self.connection.prepare_cached(SAVE_POD).and_then(|mut save| save.execute(rusqlite::params_from_iter(values)));
        save.map_err(failed("save a pod"))?;
        let job = &identity.job;
        self.connection
            .prepare_cached(
                "INSERT INTO jobs (uid, namespace, api_version, kind, name, cluster) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (uid) DO UPDATE SET namespace = excluded.namespace WHERE namespace != excluded.namespace",
            )
            .and_then(|mut save| {
                save.execute(params![job.uid, identity.namespace, job.api_version, job.kind, job.name, identity.cluster])
            })
            .map_err(failed("save the job of a pod"))?;
        Ok(())
    }

    fn discard_pod(&mut self, uid: &str) -> Result<bool, EngineError> {
        super::retention::discard(&self.connection, uid).map_err(failed("discard a pod that is no job"))
    }

    fn save_job(&mut self, job: &JobObject, cluster: &str) -> Result<JobSaved, EngineError> {
        jobs::save(&self.connection, job, cluster).map_err(failed("save a job"))
    }

    fn mark_job_gone(&mut self, uid: &str) -> Result<bool, EngineError> {
        let marked = self.connection.execute("UPDATE jobs SET gone = 1 WHERE uid = ? AND gone = 0", [uid]);
        marked.map(|rows| rows > 0).map_err(failed("mark a job as gone"))
    }

    fn prune(&mut self, retention: Retention, now: Timestamp) -> Result<u64, EngineError> {
        super::retention::prune(&self.connection, retention, now).map_err(failed("delete old records"))
    }

    fn record(&mut self, uid: &str) -> Result<Option<Record>, EngineError> {
        let record: Option<String> = self
            .connection
            .query_row("SELECT record FROM pods WHERE uid = ?", [uid], |row| row.get(0))
            .optional()
            .map_err(failed("read a record"))?;
        record.map(|record| parsed(uid, &record)).transpose()
    }

    fn records(&mut self, query: &Query) -> Result<Page<Record>, EngineError> {
        records::page(&self.connection, query, &self.skipped)
    }

    fn jobs(&mut self, query: &Query) -> Result<Page<Job>, EngineError> {
        jobs::page(&self.connection, query)
    }

    fn job(&mut self, namespace: &str, name: &str) -> Result<Option<JobDetail>, EngineError> {
        jobs::detail(&self.connection, namespace, name)
    }

    fn open_pods(&mut self) -> Result<Vec<OpenPod>, EngineError> {
        records::open(&self.connection)
    }

    fn present_pods(&mut self, namespace: Option<&str>) -> Result<Vec<String>, EngineError> {
        const PRESENT: &str = "SELECT uid FROM pods WHERE state = 'open' AND vanished IS NULL AND api IS NOT NULL AND (?1 IS NULL OR namespace = ?1)";
        records::strings(&self.connection, PRESENT, namespace).map_err(failed("list the pods that are there"))
    }

    fn unresolved_pods(&mut self, namespace: Option<&str>) -> Result<Vec<ApiPod>, EngineError> {
        records::unresolved(&self.connection, namespace, &self.skipped)
    }

    fn present_jobs(&mut self, namespace: Option<&str>) -> Result<Vec<String>, EngineError> {
        const PRESENT: &str = "SELECT uid FROM jobs WHERE gone = 0 AND condition IS NOT NULL AND (?1 IS NULL OR namespace = ?1)";
        records::strings(&self.connection, PRESENT, namespace).map_err(failed("list the jobs that are there"))
    }

    fn to_archive(&mut self, records: u32, bytes: usize) -> Result<Vec<Archivable>, EngineError> {
        super::archive::batch(&self.connection, records, bytes)
    }

    fn archived(&mut self, seq: i64) -> Result<(), EngineError> {
        super::archive::done(&self.connection, seq)
    }

    fn totals(&mut self) -> Result<Totals, EngineError> {
        let mut totals = records::totals(&self.connection).map_err(failed("count the records"))?;
        totals.bytes = self.bytes();
        totals.skipped = self.skipped.swap(0, Ordering::Relaxed);
        Ok(totals)
    }

    fn log(&mut self, log: &LogId) -> Result<Option<LogRow>, EngineError> {
        log_rows::one(&self.connection, log)
    }

    fn logs_of(&mut self, uid: &str) -> Result<Vec<LogRow>, EngineError> {
        log_rows::of_pod(&self.connection, uid)
    }

    fn save_log(&mut self, row: &LogRow) -> Result<(), EngineError> {
        log_rows::save(&self.connection, row)
    }

    fn log_key_taken(&mut self, key: &str) -> Result<bool, EngineError> {
        log_rows::taken(&self.connection, key)
    }

    fn prune_logs(&mut self, before: Timestamp, objects: bool) -> Result<u64, EngineError> {
        log_rows::prune(&self.connection, before, objects)
    }

    fn log_page(&mut self, select: &LogSelect) -> Result<Page<LogEntry>, EngineError> {
        if self.is_without_logs()? {
            return Ok(Page { items: Vec::new(), next: None });
        }
        super::logs::page::page(&self.connection, select)
    }

    fn log_subject(&mut self, pod: &WhichPod) -> Result<Option<LogSubject>, EngineError> {
        if self.is_without_logs()? {
            return Ok(None);
        }
        log_rows::subject(&self.connection, pod)
    }

    fn expected_logs(&mut self, limit: u32) -> Result<Vec<ExpectedLog>, EngineError> {
        log_rows::expected(&self.connection, limit)
    }

    fn oldest_logs(&mut self, limit: u32) -> Result<Vec<LogRow>, EngineError> {
        log_rows::oldest(&self.connection, limit)
    }

    fn log_totals(&mut self) -> Result<LogTotals, EngineError> {
        log_rows::totals(&self.connection)
    }
}

pub(super) const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Running => "running",
        Stage::Ended => "ended",
        Stage::Final => "final",
    }
}

/// The word of a condition in its column.
pub(super) fn condition(word: Option<String>) -> Option<JobCondition> {
    word.as_deref().and_then(JobCondition::from_word)
}

/// Nanoseconds of `now` less an age.
pub(super) fn before(now: Timestamp, age: Duration) -> i64 {
    nanoseconds(now).saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
