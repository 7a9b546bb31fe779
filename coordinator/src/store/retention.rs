//! How much is kept, and how the rest goes.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::row::saturated;
use super::sqlite::before;

/// Only closed records are ever deleted, oldest end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub max_age: Duration,
    pub max_records: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(90 * 24 * 3600), max_records: 1_000_000 }
    }
}

/// At most this many in one transaction, so that reports do not wait behind a great cleaning.
const STEP: i64 = 5_000;

/// Both by the index `pods_closed`.
pub(super) const AGED: &str = "SELECT uid FROM pods WHERE state != 'open' AND COALESCE(finished, recorded) < ?1 LIMIT ?2";
pub(super) const OLDEST: &str = "SELECT uid FROM pods WHERE state != 'open' ORDER BY COALESCE(finished, recorded) LIMIT ?1";

/// A pod that turned out to be no job, with the job that it stood for. A closed record stays.
pub(super) fn discard(connection: &Connection, uid: &str) -> Result<bool, rusqlite::Error> {
    let job: Option<String> = connection
        .prepare_cached("DELETE FROM pods WHERE uid = ? AND state = 'open' RETURNING job_uid")?
        .query_row([uid], |row| row.get(0))
        .optional()?;
    let Some(job) = job else { return Ok(false) };
    connection.execute(
        "DELETE FROM jobs WHERE uid = ?1 AND condition IS NULL AND NOT EXISTS (SELECT 1 FROM pods p WHERE p.job_uid = ?1)",
        [job],
    )?;
    Ok(true)
}

pub(super) fn prune(connection: &Connection, retention: Retention, now: Timestamp) -> Result<u64, rusqlite::Error> {
    let oldest = before(now, retention.max_age);
    let by_age = connection.execute(&format!("DELETE FROM pods WHERE uid IN ({AGED})"), [oldest, STEP])?;
    let count: i64 = connection.query_row("SELECT count(*) FROM pods", [], |row| row.get(0))?;
    let excess = count.saturating_sub(saturated(retention.max_records)).clamp(0, STEP);
    let by_count = connection.execute(&format!("DELETE FROM pods WHERE uid IN ({OLDEST})"), [excess])?;
    connection.execute(
        "DELETE FROM jobs WHERE (gone = 1 OR condition IS NULL) AND NOT EXISTS (SELECT 1 FROM pods p WHERE p.job_uid = jobs.uid)",
        [],
    )?;
    Ok(u64::try_from(by_age + by_count).unwrap_or(u64::MAX))
}
