//! Queries over the `pods` table: pages of records in a stable order, and what the chase and the metrics ask.

use std::sync::atomic::AtomicU64;

use jobmeter_decide::chase::{self, ApiKnown};
use jobmeter_protocol::{ApiPod, Page, Record, SortBy, Stage};

use super::cursor::{Cursor, Key};
use super::engine::{EngineError, OpenPod, Totals};
use super::filter::{Query, RecordFilter};
use super::labels;
use super::pods::stage_name;
use super::row::{nanoseconds, readable, text, timestamp, unsigned};
use super::sql::{self, Conditions, Database, Dialect, Row, Value};

/// Conditions on a row of `pods`.
pub(super) fn conditions(filter: &RecordFilter, dialect: Dialect) -> Conditions {
    let mut sql = Conditions::default();
    if let Some(namespace) = &filter.namespace {
        sql.and("p.namespace = ?", [text(namespace)]);
    }
    if let Some(job) = &filter.job {
        let contains = dialect.contains();
        sql.and(format!("(p.job_name = ? OR {contains}(p.owner_keys, ?) > 0)"), [text(job), text(format!("\n{job}\n"))]);
    }
    if let Some(pod) = &filter.pod {
        sql.and("(p.name = ? OR p.uid = ?)", [text(pod), text(pod)]);
    }
    labels::conditions(&filter.selector, dialect, &mut sql);
    if !filter.reasons.is_empty() {
        let marks = vec!["?"; filter.reasons.len()].join(", ");
        sql.and(format!("p.reason IN ({marks})"), filter.reasons.iter().map(|reason| text(reason.as_str())));
    }
    if let Some(since) = filter.since {
        sql.and("(p.finished IS NULL OR p.finished >= ?)", [Value::Integer(nanoseconds(since))]);
    }
    if let Some(until) = filter.until {
        sql.and("COALESCE(p.started, p.created, 0) <= ?", [Value::Integer(nanoseconds(until))]);
    }
    sql
}

/// The expression a page is ordered by. What has not ended is the newest; what has no figure is the least.
fn key(sort: SortBy) -> &'static str {
    match sort {
        SortBy::Finished => "COALESCE(finished, 9223372036854775807)",
        SortBy::Started => "COALESCE(started, 9223372036854775807)",
        SortBy::Elapsed => "COALESCE(elapsed, -1.0)",
        SortBy::Cpu => "COALESCE(cpu, -1.0)",
        SortBy::Memory => "COALESCE(memory, -1)",
        SortBy::Rss => "COALESCE(rss, -1)",
        SortBy::Name => "namespace || '/' || name",
    }
}

/// Largest first, except names; ties by UID, so that a page never repeats or skips what stands still.
pub(super) fn order(sort: SortBy) -> (&'static str, &'static str) {
    if sort == SortBy::Name { ("ASC", ">") } else { ("DESC", "<") }
}

/// What comes after the cursor, in terms of the columns `key` and `uid`.
pub(super) fn beyond(key: &str, uid: &str, cursor: &Cursor) -> (String, [Value; 3]) {
    let (_, beyond) = order(cursor.sort);
    let at = value(&cursor.key);
    (format!("({key} {beyond} ? OR ({key} = ? AND {uid} > ?))"), [at.clone(), at, text(&cursor.uid)])
}

fn value(key: &Key) -> Value {
    match key {
        Key::Integer(key) => Value::Integer(*key),
        Key::Real(key) => Value::Real(*key),
        Key::Text(key) => text(key),
    }
}

pub(super) fn cursor(sort: SortBy, key: Value, uid: &str) -> Option<Cursor> {
    let key = match key {
        Value::Integer(key) => Key::Integer(key),
        Value::Real(key) => Key::Real(key),
        Value::Text(key) => Key::Text(key),
        Value::Null => return None,
    };
    Some(Cursor { sort, key, uid: uid.to_owned() })
}

pub(super) fn page(database: &mut dyn Database, query: &Query, skipped: &AtomicU64) -> Result<Page<Record>, EngineError> {
    let mut sql = conditions(&query.filter, database.dialect());
    let key = key(query.sort);
    if let Some(after) = &query.after {
        let (condition, values) = beyond(key, "uid", after);
        sql.and(condition, values);
    }
    let (direction, _) = order(query.sort);
    let statement = format!(
        "SELECT {key}, uid, record FROM pods p WHERE {} ORDER BY {key} {direction}, uid LIMIT {}",
        sql.conjunction(),
        u64::from(query.limit) + 1,
    );
    let mut rows: Vec<(Value, String, String)> = sql::all(database, "read a page of records", &statement, &sql.values, |row| {
        Ok((row.take(0), row.text(1)?, row.text(2)?))
    })?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let items = rows.iter().filter_map(|(_, uid, record)| readable(uid, record, skipped)).collect();
    let next = rows.pop().filter(|_| more).and_then(|(key, uid, _)| cursor(query.sort, key, &uid));
    Ok(Page { items, next: next.map(|next| next.to_string()) })
}

/// Of open records those that somebody may have to be asked about: ended, or known from the node alone.
pub(super) fn open(database: &mut dyn Database) -> Result<Vec<OpenPod>, EngineError> {
    const OPEN: &str = "SELECT uid, namespace, name, node, api_known, scheduled, ran, stage, owners IS NOT NULL, ended, changed
                        FROM pods WHERE state = 'open' AND (ended IS NOT NULL OR api IS NULL)";
    sql::all(database, "list the open records", OPEN, &[], open_pod)
}

fn open_pod(row: &mut Row) -> Result<OpenPod, EngineError> {
    let stage = row.optional_text(7)?;
    Ok(OpenPod {
        uid: row.text(0)?,
        namespace: row.text(1)?,
        name: row.text(2)?,
        node: row.optional_text(3)?,
        known: chase::Known {
            api: ApiKnown::from_word(&row.text(4)?).unwrap_or(ApiKnown::Never),
            scheduled: row.flag(5)?,
            ran: row.flag(6)?,
            evidence: [Stage::Running, Stage::Ended, Stage::Final]
                .into_iter()
                .find(|known| stage.as_deref() == Some(stage_name(*known))),
            owners: row.flag(8)?,
            ended: row.optional_integer(9)?.map(timestamp),
            changed: timestamp(row.integer(10)?),
        },
    })
}

/// Pods of open records whose chain of owners is not known.
pub(super) fn unresolved(
    database: &mut dyn Database,
    namespace: Option<&str>,
    skipped: &AtomicU64,
) -> Result<Vec<ApiPod>, EngineError> {
    let (within, values) = within(namespace);
    let unresolved =
        format!("SELECT uid, api FROM pods WHERE state = 'open' AND owners IS NULL AND api IS NOT NULL AND {within}");
    let pods = sql::all(database, "list the pods without owners", &unresolved, &values, |row| Ok((row.text(0)?, row.text(1)?)))?;
    Ok(pods.iter().filter_map(|(uid, pod)| readable(uid, pod, skipped)).collect())
}

/// UIDs of the pods that, by what is stored, the API server still has.
pub(super) fn present(database: &mut dyn Database, namespace: Option<&str>) -> Result<Vec<String>, EngineError> {
    let (within, values) = within(namespace);
    let present = format!("SELECT uid FROM pods WHERE state = 'open' AND vanished IS NULL AND api IS NOT NULL AND {within}");
    sql::all(database, "list the pods that are there", &present, &values, |row| row.text(0))
}

/// A condition for one namespace, or for all.
pub(super) fn within(namespace: Option<&str>) -> (&'static str, Vec<Value>) {
    match namespace {
        Some(namespace) => ("namespace = ?", vec![text(namespace)]),
        None => ("TRUE", Vec::new()),
    }
}

/// By the index `pods_quality`.
pub(super) const TOTALS: &str = "SELECT quality, count(*) FROM pods GROUP BY quality";

pub(super) fn totals(database: &mut dyn Database) -> Result<Totals, EngineError> {
    let mut totals = Totals::default();
    for (quality, count) in sql::all(database, "count the records", TOTALS, &[], |row| Ok((row.text(0)?, row.integer(1)?)))? {
        let total = match quality.as_str() {
            "complete" => &mut totals.complete,
            "partial" => &mut totals.partial,
            _ => &mut totals.open,
        };
        *total = unsigned(count);
    }
    Ok(totals)
}
