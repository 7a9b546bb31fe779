//! Queries over the `pods` table: pages of records in a stable order, and what the chase and the metrics ask.

use std::sync::atomic::AtomicU64;

use jobmeter_decide::chase::{self, ApiKnown};
use jobmeter_protocol::{ApiPod, Page, Record, SortBy, Stage};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::cursor::{Cursor, Key};
use super::engine::{EngineError, OpenPod, Totals};
use super::filter::{Query, RecordFilter};
use super::row::{failed, nanoseconds, readable, text, timestamp, unsigned};
use super::sqlite::stage_name;

/// A condition in SQL and the values of its question marks.
#[derive(Default)]
pub(super) struct Sql {
    pub(super) conditions: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Sql {
    pub(super) fn and(&mut self, condition: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }

    pub(super) fn conjunction(&self) -> String {
        if self.conditions.is_empty() { "TRUE".to_owned() } else { self.conditions.join(" AND ") }
    }

    /// Conditions on a row of `pods`.
    pub(super) fn of(filter: &RecordFilter) -> Self {
        let mut sql = Self::default();
        if let Some(namespace) = &filter.namespace {
            sql.and("p.namespace = ?", [text(namespace)]);
        }
        if let Some(job) = &filter.job {
            sql.and("(p.job_name = ? OR instr(p.owner_keys, ?) > 0)", [text(job), text(format!("\n{job}\n"))]);
        }
        if let Some(pod) = &filter.pod {
            sql.and("(p.name = ? OR p.uid = ?)", [text(pod), text(pod)]);
        }
        if !filter.selector.is_empty() {
            sql.and("selected(?, p.labels)", [text(filter.selector.to_string())]);
        }
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
        Value::Null | Value::Blob(_) => return None,
    };
    Some(Cursor { sort, key, uid: uid.to_owned() })
}

pub(super) fn page(connection: &Connection, query: &Query, skipped: &AtomicU64) -> Result<Page<Record>, EngineError> {
    let mut sql = Sql::of(&query.filter);
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
    let mut rows: Vec<(Value, String, String)> = connection
        .prepare_cached(&statement)
        .and_then(|mut select| select.query_map(params_from_iter(sql.values), |row| row.try_into())?.collect())
        .map_err(failed("read a page of records"))?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let items = rows.iter().filter_map(|(_, uid, record)| readable(uid, record, skipped)).collect();
    let next = rows.pop().filter(|_| more).and_then(|(key, uid, _)| cursor(query.sort, key, &uid));
    Ok(Page { items, next: next.map(|next| next.to_string()) })
}

/// Of open records those that somebody may have to be asked about: ended, or known from the node alone.
pub(super) fn open(connection: &Connection) -> Result<Vec<OpenPod>, EngineError> {
    const OPEN: &str = "SELECT uid, namespace, name, node, api_known, scheduled, ran, stage, owners IS NOT NULL, ended, changed
                        FROM pods WHERE state = 'open' AND (ended IS NOT NULL OR api IS NULL)";
    let rows = connection.prepare_cached(OPEN).and_then(|mut select| select.query_map([], open_pod)?.collect());
    rows.map_err(failed("list the open records"))
}

fn open_pod(row: &Row<'_>) -> Result<OpenPod, rusqlite::Error> {
    let api: String = row.get(4)?;
    let stage: Option<String> = row.get(7)?;
    Ok(OpenPod {
        uid: row.get(0)?,
        namespace: row.get(1)?,
        name: row.get(2)?,
        node: row.get(3)?,
        known: chase::Known {
            api: ApiKnown::from_word(&api).unwrap_or(ApiKnown::Never),
            scheduled: row.get(5)?,
            ran: row.get(6)?,
            evidence: [Stage::Running, Stage::Ended, Stage::Final]
                .into_iter()
                .find(|known| stage.as_deref() == Some(stage_name(*known))),
            owners: row.get(8)?,
            ended: row.get::<_, Option<i64>>(9)?.map(timestamp),
            changed: timestamp(row.get(10)?),
        },
    })
}

/// Pods of open records whose chain of owners is not known.
pub(super) fn unresolved(
    connection: &Connection,
    namespace: Option<&str>,
    skipped: &AtomicU64,
) -> Result<Vec<ApiPod>, EngineError> {
    const UNRESOLVED: &str = "SELECT uid, api FROM pods
                              WHERE state = 'open' AND owners IS NULL AND api IS NOT NULL AND (?1 IS NULL OR namespace = ?1)";
    let pods: Vec<(String, String)> = connection
        .prepare_cached(UNRESOLVED)
        .and_then(|mut select| select.query_map([namespace], |row| row.try_into())?.collect())
        .map_err(failed("list the pods without owners"))?;
    Ok(pods.iter().filter_map(|(uid, pod)| readable(uid, pod, skipped)).collect())
}

pub(super) fn strings(connection: &Connection, sql: &str, parameter: Option<&str>) -> Result<Vec<String>, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_map([parameter], |row| row.get(0))?.collect()
}

/// By the index `pods_quality`.
pub(super) const TOTALS: &str = "SELECT quality, count(*) FROM pods GROUP BY quality";

pub(super) fn totals(connection: &Connection) -> Result<Totals, rusqlite::Error> {
    let mut totals = Totals::default();
    let mut select = connection.prepare_cached(TOTALS)?;
    for row in select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))? {
        let (quality, count) = row?;
        let total = match quality.as_str() {
            "complete" => &mut totals.complete,
            "partial" => &mut totals.partial,
            _ => &mut totals.open,
        };
        *total = unsigned(count);
    }
    Ok(totals)
}
