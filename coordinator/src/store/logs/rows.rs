//! Rows of the table `logs`, in and out, and the short queries of our own tasks.

use jiff::Timestamp;
use jobmeter_protocol::{ContainerKind, LogId, LogState};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::super::engine::EngineError;
use super::super::row::{
    failed, nanoseconds, optional_json, optional_text, parsed, saturated, text, time, timestamp, unreadable, unsigned,
};
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

pub(in crate::store) fn save(connection: &Connection, row: &LogRow) -> Result<(), EngineError> {
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
    let saved = connection.prepare_cached(SAVE).and_then(|mut save| save.execute(params_from_iter(values)));
    saved.map(drop).map_err(failed("save what is known of a log"))
}

/// A row whose documents are still text.
pub(super) type Raw = (LogRow, String, Option<String>, Option<String>);

pub(super) fn read(row: &Row<'_>) -> Result<Raw, rusqlite::Error> {
    let kind: Option<String> = row.get(7)?;
    let at = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(timestamp));
    let bytes = |index| row.get::<_, Option<i64>>(index).map(|bytes| bytes.map(unsigned));
    let read = LogRow {
        log: LogId {
            pod_uid: row.get(0)?,
            container: row.get(1)?,
            attempt: row.get(2)?,
            namespace: row.get(3)?,
            pod: row.get(4)?,
        },
        job: row.get(5)?,
        node: row.get(6)?,
        kind: KINDS.iter().find(|(_, word)| kind.as_deref() == Some(word)).map(|(kind, _)| *kind),
        key: row.get(8)?,
        location: row.get(9)?,
        state: LogState::Expected,
        object_bytes: bytes(12)?.unwrap_or_default(),
        raw_bytes: bytes(13)?,
        times_bytes: bytes(14)?,
        content: None,
        asked: at(16)?.unwrap_or(Timestamp::UNIX_EPOCH),
        ended: at(17)?,
        stored: at(18)?,
    };
    Ok((read, row.get(10)?, row.get(11)?, row.get(15)?))
}

pub(super) fn finish((mut row, word, why, content): Raw) -> Result<LogRow, EngineError> {
    let why = why.unwrap_or_default();
    row.state = match word.as_str() {
        "expected" => LogState::Expected,
        "complete" => LogState::Complete,
        "truncated" => LogState::Truncated { why },
        "lost" => LogState::Lost { why },
        "expired" => LogState::Expired,
        _ => return Err(unreadable(&row.key, &format_args!("unknown state {word:?}"))),
    };
    row.content = content.map(|content| parsed(&row.key, &content)).transpose()?;
    Ok(row)
}

fn select(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<LogRow>, EngineError> {
    let rows: Result<Vec<Raw>, rusqlite::Error> =
        connection.prepare_cached(sql).and_then(|mut select| select.query_map(values, read)?.collect());
    rows.map_err(failed("read what is known of logs"))?.into_iter().map(finish).collect()
}

/// In the order of containers and attempts.
pub(in crate::store) fn of_pod(connection: &Connection, uid: &str) -> Result<Vec<LogRow>, EngineError> {
    select(connection, &format!("SELECT {COLUMNS} FROM logs l WHERE pod_uid = ? ORDER BY container, attempt"), &[&uid])
}

pub(in crate::store) fn one(connection: &Connection, log: &LogId) -> Result<Option<LogRow>, EngineError> {
    let sql = format!("SELECT {COLUMNS} FROM logs l WHERE pod_uid = ? AND container = ? AND attempt = ?");
    Ok(select(connection, &sql, &[&log.pod_uid, &log.container, &log.attempt])?.pop())
}

pub(in crate::store) fn taken(connection: &Connection, key: &str) -> Result<bool, EngineError> {
    let found = connection
        .prepare_cached("SELECT 1 FROM logs WHERE key = ?")
        .and_then(|mut select| select.query_row([key], |_| Ok(())).optional());
    found.map(|found| found.is_some()).map_err(failed("look for a key"))
}

/// Oldest first.
pub(in crate::store) fn expected(connection: &Connection, limit: u32) -> Result<Vec<ExpectedLog>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS}, CASE WHEN p.state = 'open' THEN NULL ELSE COALESCE(p.ended, l.asked) END
         FROM logs l LEFT JOIN pods p ON p.uid = l.pod_uid WHERE l.state = 'expected' ORDER BY l.asked LIMIT ?"
    );
    let rows: Result<Vec<(Raw, Option<i64>)>, rusqlite::Error> = connection
        .prepare_cached(&sql)
        .and_then(|mut select| select.query_map([limit], |row| Ok((read(row)?, row.get(19)?)))?.collect());
    let rows = rows.map_err(failed("list the logs that are expected"))?.into_iter();
    rows.map(|(raw, ended)| Ok(ExpectedLog { row: finish(raw)?, ended: ended.map(timestamp) })).collect()
}

/// What has an object in the directory, oldest first. What is in a store is its own business, also while the store is not
/// configured.
pub(in crate::store) fn oldest(connection: &Connection, limit: u32) -> Result<Vec<LogRow>, EngineError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM logs l WHERE l.stored IS NOT NULL AND l.state != 'expired' AND {IN_DIRECTORY}
                 ORDER BY l.stored LIMIT ?"
    );
    select(connection, &sql, &[&limit])
}

pub(in crate::store) fn totals(connection: &Connection) -> Result<LogTotals, EngineError> {
    let sql = format!(
        "SELECT (SELECT count(*) FROM logs WHERE state = 'expected'),
                (SELECT COALESCE(sum(object_bytes + COALESCE(times_bytes, 0)), 0) FROM logs l
                 WHERE stored IS NOT NULL AND state != 'expired' AND {IN_DIRECTORY})"
    );
    let totals = connection
        .query_row(&sql, [], |row| Ok(LogTotals { expected: unsigned(row.get(0)?), object_bytes: unsigned(row.get(1)?) }));
    totals.map_err(failed("count the logs"))
}

/// Rows of pods whose records are gone, once they are older than `before`. Rows with an object stay while `objects` do.
pub(in crate::store) fn prune(connection: &Connection, before: Timestamp, objects: bool) -> Result<u64, EngineError> {
    const PRUNE: &str = "DELETE FROM logs WHERE (pod_uid, container, attempt) IN (
        SELECT l.pod_uid, l.container, l.attempt FROM logs l
        WHERE COALESCE(l.stored, l.asked) < ?1 AND (NOT ?2 OR l.stored IS NULL OR l.state = 'expired')
          AND NOT EXISTS (SELECT 1 FROM pods p WHERE p.uid = l.pod_uid) LIMIT 5000)";
    let deleted = connection.execute(PRUNE, params![nanoseconds(before), objects]);
    deleted.map(|rows| rows as u64).map_err(failed("delete rows of old logs"))
}

pub(in crate::store) fn subject(connection: &Connection, pod: &WhichPod) -> Result<Option<LogSubject>, EngineError> {
    type Columns = (String, Option<String>, bool, bool, bool);
    let failed_to_find = || failed("look for a pod");
    let queries: [(&str, Vec<&dyn ToSql>); 2] = match pod {
        WhichPod::Uid(uid) => {
            [("SELECT uid FROM pods WHERE uid = ?", vec![uid]), ("SELECT pod_uid FROM logs WHERE pod_uid = ? LIMIT 1", vec![uid])]
        }
        WhichPod::Newest { namespace, name } => [
            (
                "SELECT uid FROM pods WHERE namespace = ? AND name = ? ORDER BY COALESCE(created, started, recorded) DESC LIMIT 1",
                vec![namespace, name],
            ),
            ("SELECT pod_uid FROM logs WHERE namespace = ? AND pod = ? ORDER BY asked DESC LIMIT 1", vec![namespace, name]),
        ],
    };
    let mut found: Option<String> = None;
    for (sql, values) in queries {
        if found.is_none() {
            let uid = connection
                .prepare_cached(sql)
                .and_then(|mut find| find.query_row(values.as_slice(), |row| row.get(0)).optional());
            found = uid.map_err(failed_to_find())?;
        }
    }
    let Some(uid) = found else { return Ok(None) };
    let columns: Option<Columns> = connection
        .prepare_cached(
            "SELECT record, api, api IS NOT NULL AND vanished IS NULL, state != 'open', owners IS NOT NULL
             FROM pods WHERE uid = ?",
        )
        .and_then(|mut select| select.query_row([&uid], |row| row.try_into()).optional())
        .map_err(failed_to_find())?;
    let rows = of_pod(connection, &uid)?;
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
