//! Opens the connections of a store, whichever database it is. What may go wrong names the store and what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Place;
use super::books::Books;
use super::engine::{EngineError, StoreEngine};
use super::lock::{Lock, LockError};
use super::postgres;
use super::sql::Database;
use super::sqlite::Sqlite;
use super::thread::Pen;

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
    #[error("failed to reach the record store {store}")]
    Connect {
        store: String,
        #[source]
        source: EngineError,
    },
    #[error("the record store {store} runs PostgreSQL {found}; 13 is the oldest that is supported")]
    TooOld { store: String, found: String },
    #[error(
        "the record store {store} was written by a newer Jobmeter (schema {found}, this one knows {known}): use that version"
    )]
    NewerSchema { store: String, found: usize, known: usize },
    #[error("failed to bring the record store {store} up to date")]
    Schema {
        store: String,
        #[source]
        source: EngineError,
    },
    /// Its sentence says who leads.
    #[error("may not write to the record store {store}")]
    Fenced {
        store: String,
        #[source]
        source: EngineError,
    },
    #[error("this coordinator writes to the record store {store} already")]
    Leading { store: String },
    #[error("failed to start a thread of the record store")]
    Thread(#[source] std::io::Error),
}

/// For people, and for our own tasks.
pub(super) fn readers(place: &Place, skipped: &Arc<AtomicU64>) -> Result<[Box<dyn StoreEngine>; 2], OpenError> {
    Ok(match place {
        Place::File(path) => [books(Sqlite::open_read_only(path)?, skipped), books(Sqlite::open_read_only(path)?, skipped)],
        Place::Postgres(address) => postgres::follow(address)?.map(|database| books(database, skipped)),
    })
}

/// What a leader writes with. A file has one writer by its lock, a database by its epoch.
pub(super) fn pen(place: &Place, epoch: u64, skipped: &Arc<AtomicU64>) -> Result<Pen, OpenError> {
    match place {
        Place::File(path) => file(path),
        Place::Postgres(address) => Ok(Pen { engine: books(postgres::lead(address, epoch)?, skipped), lock: None }),
    }
}

/// Made if it is not there.
pub(super) fn file(path: &Path) -> Result<Pen, OpenError> {
    let lock = Lock::take(path)?;
    // The writer skips no rows.
    Ok(Pen { engine: books(Sqlite::open(path)?, &Arc::default()), lock: Some(lock) })
}

fn books(database: impl Database + 'static, skipped: &Arc<AtomicU64>) -> Box<dyn StoreEngine> {
    Box::new(Books::new(database, skipped.clone()))
}
