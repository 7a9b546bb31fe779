//! How much is kept, and how the rest goes.

use std::time::Duration;

use jiff::Timestamp;

use super::engine::EngineError;
use super::row::{nanoseconds, saturated, text};
use super::sql::{self, Database, Value};

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
pub(super) fn discard(database: &mut dyn Database, uid: &str) -> Result<bool, EngineError> {
    const DISCARD: &str = "DELETE FROM pods WHERE uid = ? AND state = 'open' RETURNING job_uid";
    const JOB: &str =
        "DELETE FROM jobs WHERE uid = ?1 AND condition IS NULL AND NOT EXISTS (SELECT 1 FROM pods p WHERE p.job_uid = ?1)";
    const ACTION: &str = "discard a pod that is no job";
    let Some(job) = sql::first(database, ACTION, DISCARD, &[text(uid)], |row| row.text(0))? else { return Ok(false) };
    database.execute(ACTION, JOB, &[text(job)])?;
    Ok(true)
}

pub(super) fn prune(database: &mut dyn Database, retention: Retention, now: Timestamp) -> Result<u64, EngineError> {
    const ACTION: &str = "delete old records";
    let oldest = Value::Integer(before(now, retention.max_age));
    let by_age = format!("DELETE FROM pods WHERE uid IN ({AGED})");
    let by_age = database.execute(ACTION, &by_age, &[oldest, Value::Integer(STEP)])?;
    let count = sql::first(database, ACTION, "SELECT count(*) FROM pods", &[], |row| row.integer(0))?.unwrap_or_default();
    let excess = count.saturating_sub(saturated(retention.max_records)).clamp(0, STEP);
    let by_count = format!("DELETE FROM pods WHERE uid IN ({OLDEST})");
    let by_count = database.execute(ACTION, &by_count, &[Value::Integer(excess)])?;
    const JOBS: &str =
        "DELETE FROM jobs WHERE (gone = 1 OR condition IS NULL) AND NOT EXISTS (SELECT 1 FROM pods p WHERE p.job_uid = jobs.uid)";
    database.execute(ACTION, JOBS, &[])?;
    Ok(by_age + by_count)
}

/// Nanoseconds of `now` less an age.
fn before(now: Timestamp, age: Duration) -> i64 {
    nanoseconds(now).saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX))
}
