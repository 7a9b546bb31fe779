//! SQLite as the database of the store: opening, transactions, and statements.
//!
//! WAL, so that readers (also of other processes) never wait for the writer; `synchronous=FULL`, so that what a commit has
//! answered survives a power cut.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobmeter_decide::selector::Selector;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, Value as Column, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};

use super::engine::EngineError;
use super::open::OpenError;
use super::schema::{self, SchemaError};
use super::sql::{Database, Dialect, Row, Value};

/// Readers of other processes may hold a lock for a moment, for instance while they recover a log.
const BUSY: Duration = Duration::from_secs(5);

pub(super) struct Sqlite {
    pub(super) connection: Connection,
    path: PathBuf,
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
        Ok(Self { connection, path: path.to_owned() })
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
            _ => Ok(Self { connection, path: path.to_owned() }),
        }
    }

    fn is_before(&self, version: usize) -> Result<bool, EngineError> {
        schema::version(&self.connection).map(|found| found < version).map_err(failed("read the version of the schema"))
    }

    /// For tests, of parts of the schema.
    #[cfg(test)]
    pub(super) fn of(connection: Connection) -> Self {
        Self { connection, path: PathBuf::new() }
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

impl Database for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn begin(&mut self) -> Result<(), EngineError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed("begin a transaction"))
    }

    fn commit(&mut self) -> Result<(), EngineError> {
        self.connection.execute_batch("COMMIT").map_err(failed("commit"))
    }

    fn rollback(&mut self) -> Result<(), EngineError> {
        // Some errors (a full disk) have rolled back already.
        if self.connection.is_autocommit() {
            Ok(())
        } else {
            self.connection.execute_batch("ROLLBACK").map_err(failed("roll back"))
        }
    }

    /// Brings everything into the one file, so that it can be read without a log.
    fn settle(&mut self) -> Result<(), EngineError> {
        self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed("settle the log"))
    }

    fn execute(&mut self, action: &'static str, sql: &str, values: &[Value]) -> Result<u64, EngineError> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params_from_iter(values)));
        done.map(|rows| rows as u64).map_err(failed(action))
    }

    fn each(
        &mut self,
        action: &'static str,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(Row) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed(action))?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values)).map_err(failed(action))?;
        while let Some(found) = rows.next().map_err(failed(action))? {
            let read: Result<Vec<Value>, rusqlite::Error> =
                (0..columns).map(|column| found.get::<_, Column>(column).map(value)).collect();
            if row(Row(read.map_err(failed(action))?))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn bytes(&mut self) -> Result<u64, EngineError> {
        Ok([&self.path, &log_of(&self.path)].iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum())
    }

    fn is_without_logs(&mut self) -> Result<bool, EngineError> {
        self.is_before(schema::WITH_LOGS)
    }

    fn is_without_runs(&mut self) -> Result<bool, EngineError> {
        self.is_before(schema::WITH_RUNS)
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Real(real) => ValueRef::Real(*real),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn value(column: Column) -> Value {
    match column {
        // No column of ours holds bytes.
        Column::Null | Column::Blob(_) => Value::Null,
        Column::Integer(integer) => Value::Integer(integer),
        Column::Real(real) => Value::Real(real),
        Column::Text(text) => Value::Text(text),
    }
}

fn failed(action: &'static str) -> impl FnOnce(rusqlite::Error) -> EngineError {
    move |source| EngineError::Sqlite { action, source }
}

#[cfg(test)]
mod tests;
