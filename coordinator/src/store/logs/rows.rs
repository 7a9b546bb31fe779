//! Rows of the table `logs`, in and out, and the short queries of our own tasks.

use jiff::Timestamp;
use jobmeter_protocol::{ContainerKind, LogId, LogState};

use super::super::engine::EngineError;
use super::super::row::{
    nanoseconds, optional_json, optional_text, parsed, saturated, text, time, timestamp, unreadable, unsigned,
};
use super::super::sql::{self, Database, Row, Value};
use super::{ExpectedLog, LogRow, LogSubject, LogTotals, WhichPod};

/// What [`read`] reads, in its order.
pub(super) const COLUMNS: &str = "l.pod_uid, l.container, l.attempt, l.namespace, l.pod, l.job, l.node, l.kind, l.key, l.location, \
                                  l.state, l.why, l.object_bytes, l.raw_bytes, l.times_bytes, l.content, l.asked, l.ended, l.stored";

const SAVE: &str = "
INSERT INTO logs (
    pod_uid, container, attempt, namespace, pod, job, node, kind, key, location, state, why, object_bytes, raw_bytes,
    times_bytes, content, asked, ended, stored
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pod_uid, container, attempt) DO UPDATE SET (
    job, node, kind, location, state, why, object_bytes, raw_bytes, times_bytes, content, ended, stored
) = (
    excluded.job, excluded.node, excluded.kind, excluded.location, excluded.state, excluded.why, excluded.object_bytes,
    excluded.raw_bytes, excluded.times_bytes, excluded.content, excluded.ended, excluded.stored
)";

/// Of a row `l` with an object.
const IN_DIRECTORY: &str = "l.location NOT LIKE '%://%'";

const KINDS: [(ContainerKind, &str); 4] = [
    (ContainerKind::Init, "init"),
    (ContainerKind::Sidecar, "sidecar"),
    (ContainerKind::Main, "main"),
    (ContainerKind::Ephemeral, "ephemeral"),
];

pub(in crate::store) fn save(database: &mut dyn Database, row: &LogRow) -> Result<(), EngineError> {
    let why = match &row.state {
        LogState::Truncated { why } | LogState::Lost { why } => Some(why.as_str()),
        LogState::Expected | LogState::Complete | LogState::Expired => None,
    };
    let kind = KINDS.iter().find(|(kind, _)| Some(*kind) == row.kind).map(|(_, word)| *word);
    let bytes = |bytes: Option<u64>| bytes.map_or(Value::Null, |bytes| Value::Integer(saturated(bytes)));
    let values = [
        text(&row.log.pod_uid),
        text(&row.log.container),
        Value::Integer(i64::from(row.log.attempt)),
        text(&row.log.namespace),
        text(&row.log.pod),
        text(&row.job),
        optional_text(row.node.as_deref()),
        optional_text(kind),
        text(&row.key),
        text(&row.location),
        text(row.state.as_str()),
        optional_text(why),
        Value::Integer(saturated(row.object_bytes)),
        bytes(row.raw_bytes),
        bytes(row.times_bytes),
        optional_json(&row.log.pod_uid, row.content.as_ref())?,
        time(Some(row.asked)),
        time(row.ended),
        time(row.stored),
    ];
    database.execute("save what is known of a log", SAVE, &values).map(drop)
}

pub(super) fn read(row: &mut Row) -> Result<LogRow, EngineError> {
    let kind = row.optional_text(7)?;
    let (word, why, content) = (row.text(10)?, row.optional_text(11)?.unwrap_or_default(), row.optional_text(15)?);
    let key = row.text(8)?;
    let mut at = |index| row.optional_integer(index).map(|at| at.map(timestamp));
    let (asked, ended, stored) = (at(16)?, at(17)?, at(18)?);
    let mut bytes = |index| row.optional_integer(index).map(|bytes| bytes.map(unsigned));
    let (object_bytes, raw_bytes, times_bytes) = (bytes(12)?, bytes(13)?, bytes(14)?);
    Ok(LogRow {
        log: LogId {
            pod_uid: row.text(0)?,
            container: row.text(1)?,
            attempt: u32::try_from(row.integer(2)?).unwrap_or(u32::MAX),
            namespace: row.text(3)?,
            pod: row.text(4)?,
        },
        job: row.text(5)?,
        node: row.optional_text(6)?,
        kind: KINDS.iter().find(|(_, word)| kind.as_deref() == Some(word)).map(|(kind, _)| *kind),
        location: row.text(9)?,
        state: state(&key, &word, why)?,
        object_bytes: object_bytes.unwrap_or_default(),
        raw_bytes,
        times_bytes,
        content: content.map(|content| parsed(&key, &content)).transpose()?,
        key,
        asked: asked.unwrap_or(Timestamp::UNIX_EPOCH),
        ended,
        stored,
    })
}

fn state(key: &str, word: &str, why: String) -> Result<LogState, EngineError> {
    Ok(match word {
        "expected" => LogState::Expected,
        "complete" => LogState::Complete,
        "truncated" => LogState::Truncated { why },
        "lost" => LogState::Lost { why },
        "expired" => LogState::Expired,
        _ => return Err(unreadable(key, &format_args!("unknown state {word:?}"))),
    })
}

fn select(database: &mut dyn Database, sql: &str, values: &[Value]) -> Result<Vec<LogRow>, EngineError> {
    sql::all(database, "read what is known of logs", sql, values, read)
}

/// In the order of containers and attempts.
pub(in crate::store) fn of_pod(database: &mut dyn Database, uid: &str) -> Result<Vec<LogRow>, EngineError> {
    select(database, &format!("SELECT {COLUMNS} FROM logs l WHERE pod_uid = ? ORDER BY container, attempt"), &[text(uid)])
}

pub(in crate::store) fn one(database: &mut dyn Database, log: &LogId) -> Result<Option<LogRow>, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM logs l WHERE pod_uid = ? AND container = ? AND attempt = ?");
    Ok(select(database, &sql, &[text(&log.pod_uid), text(&log.container), Value::Integer(i64::from(log.attempt))])?.pop())
}

pub(in crate::store) fn taken(database: &mut dyn Database, key: &str) -> Result<bool, EngineError> {
    let found = sql::first(database, "look for a key", "SELECT 1 FROM logs WHERE key = ?", &[text(key)], |_| Ok(()))?;
    Ok(found.is_some())
}

/// Oldest first.
pub(in crate::store) fn expected(database: &mut dyn Database, limit: u32) -> Result<Vec<ExpectedLog>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS}, CASE WHEN p.state = 'open' THEN NULL ELSE COALESCE(p.ended, l.asked) END
         FROM logs l LEFT JOIN pods p ON p.uid = l.pod_uid WHERE l.state = 'expected' ORDER BY l.asked LIMIT ?"
    );
    let limit = Value::Integer(i64::from(limit));
    sql::all(database, "list the logs that are expected", &sql, &[limit], |row| {
        Ok(ExpectedLog { row: read(row)?, ended: row.optional_integer(19)?.map(timestamp) })
    })
}

/// What has an object in the directory, oldest first. What is in a store is its own business, also while the store is not
/// configured.
pub(in crate::store) fn oldest(database: &mut dyn Database, limit: u32) -> Result<Vec<LogRow>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM logs l WHERE l.stored IS NOT NULL AND l.state != 'expired' AND {IN_DIRECTORY}
                 ORDER BY l.stored LIMIT ?"
    );
    select(database, &sql, &[Value::Integer(i64::from(limit))])
}

pub(in crate::store) fn totals(database: &mut dyn Database) -> Result<LogTotals, EngineError> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM logs WHERE state = 'expected'),
                (SELECT CAST(COALESCE(sum(object_bytes + COALESCE(times_bytes, 0)), 0) AS BIGINT) FROM logs l
                 WHERE stored IS NOT NULL AND state != 'expired' AND {IN_DIRECTORY})"
    );
    let totals = sql::first(database, "count the logs", &sql, &[], |row| {
        Ok(LogTotals { expected: unsigned(row.integer(0)?), object_bytes: unsigned(row.integer(1)?) })
    })?;
    Ok(totals.unwrap_or_default())
}

/// Rows of pods whose records are gone, once they are older than `before`. Rows with an object stay while `objects` do.
pub(in crate::store) fn prune(database: &mut dyn Database, before: Timestamp, objects: bool) -> Result<u64, EngineError> {
    let which = if objects { "(l.stored IS NULL OR l.state = 'expired')" } else { "TRUE" };
    let prune = format!(
        "DELETE FROM logs WHERE (pod_uid, container, attempt) IN (
            SELECT l.pod_uid, l.container, l.attempt FROM logs l WHERE COALESCE(l.stored, l.asked) < ? AND {which}
              AND NOT EXISTS (SELECT 1 FROM pods p WHERE p.uid = l.pod_uid) LIMIT 5000)"
    );
    database.execute("delete rows of old logs", &prune, &[Value::Integer(nanoseconds(before))])
}

pub(in crate::store) fn subject(database: &mut dyn Database, pod: &WhichPod) -> Result<Option<LogSubject>, EngineError> {
    const FIND: &str = "look for a pod";
    const POD: &str = "SELECT record, api, api IS NOT NULL AND vanished IS NULL, state != 'open', owners IS NOT NULL
                       FROM pods WHERE uid = ?";
    let (queries, values) = match pod {
        WhichPod::Uid(uid) => {
            (["SELECT uid FROM pods WHERE uid = ?", "SELECT pod_uid FROM logs WHERE pod_uid = ? LIMIT 1"], vec![text(uid)])
        }
        WhichPod::Newest { namespace, name } => (
            [
                "SELECT uid FROM pods WHERE namespace = ? AND name = ? ORDER BY COALESCE(created, started, recorded) DESC, uid LIMIT 1",
                "SELECT pod_uid FROM logs WHERE namespace = ? AND pod = ? ORDER BY asked DESC, pod_uid LIMIT 1",
            ],
            vec![text(namespace), text(name)],
        ),
    };
    let mut found: Option<String> = None;
    for sql in queries {
        if found.is_none() {
            found = sql::first(database, FIND, sql, &values, |row| row.text(0))?;
        }
    }
    let Some(uid) = found else { return Ok(None) };
    let columns = sql::first(database, FIND, POD, &[text(&uid)], |row| {
        Ok((row.text(0)?, row.optional_text(1)?, row.flag(2)?, row.flag(3)?, row.flag(4)?))
    })?;
    let rows = of_pod(database, &uid)?;
    Ok(Some(match columns {
        None => LogSubject { uid, record: None, api: None, present: false, closed: true, resolved: true, rows },
        Some((record, api, present, closed, resolved)) => LogSubject {
            record: Some(parsed(&uid, &record)?),
            api: api.map(|api| parsed(&uid, &api)).transpose()?,
            uid,
            present,
            closed,
            resolved,
            rows,
        },
    }))
}
