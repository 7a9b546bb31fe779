//! Queries over the `jobs` table: each job with the view of its pods, in a stable order.
//!
//! A job is found when one of its pods meets the conditions; its figures are over all of its pods.

use jobmeter_decide::job_view::{self, JobIdentity, JobObject, PodFacts};
use jobmeter_protocol::{Job, OwnerRef, Page, Reason, SortBy};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::cursor::Cursor;
use super::engine::{EngineError, JobSaved};
use super::filter::{MAX_LIMIT, Query};
use super::records::{Sql, beyond, cursor, order};
use super::row::{failed, figure, nanoseconds, parsed, text, time, timestamp, unreadable, unsigned};
use super::sqlite::condition;

mod detail;

pub(super) use detail::detail;

/// The condition never goes back: a Job that has failed stays so, in whatever order the news came.
pub(super) fn save(connection: &Connection, job: &JobObject, cluster: &str) -> Result<JobSaved, rusqlite::Error> {
    let owner = &job.owner;
    let stored: Option<(Option<String>, bool)> = connection
        .prepare_cached("SELECT condition, gone FROM jobs WHERE uid = ?")?
        .query_row([&owner.uid], |row| row.try_into())
        .optional()?;
    let gone = stored.as_ref().is_some_and(|(_, gone)| *gone);
    let before = stored.and_then(|(word, _)| condition(word));
    if !gone && before.is_some_and(|before| before >= job.condition) {
        return Ok(JobSaved { before, changed: false });
    }
    connection
        .prepare_cached(
            "INSERT INTO jobs (uid, namespace, api_version, kind, name, cluster, condition, created, finished, gone, owned)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
             ON CONFLICT (uid) DO UPDATE SET condition = excluded.condition, created = excluded.created,
                 finished = excluded.finished, gone = 0, owned = excluded.owned",
        )?
        .execute(params![
            owner.uid,
            job.namespace,
            owner.api_version,
            owner.kind,
            owner.name,
            cluster,
            before.map_or(job.condition, |before| before.max(job.condition)).as_str(),
            time(job.created),
            time(job.finished),
            job.parent.is_some(),
        ])?;
    Ok(JobSaved { before, changed: true })
}

/// What a page of jobs is ordered by: over the job's pods.
fn key(sort: SortBy) -> &'static str {
    match sort {
        SortBy::Finished => "COALESCE(j.finished, MAX(COALESCE(p.finished, 9223372036854775807)), 9223372036854775807)",
        SortBy::Started => "COALESCE(MIN(p.started), 9223372036854775807)",
        SortBy::Elapsed => "COALESCE((MAX(p.finished) - MIN(p.started)) / 1e9, -1.0)",
        SortBy::Cpu => "COALESCE(SUM(p.cpu), -1.0)",
        SortBy::Memory => "COALESCE(MAX(p.memory), -1)",
        SortBy::Rss => "COALESCE(MAX(p.rss), -1)",
        SortBy::Name => "j.namespace || '/' || j.name",
    }
}

const IDENTITY: &str = "j.uid, j.namespace, j.api_version, j.kind, j.name, j.cluster, j.condition, j.created, j.finished, j.gone";

pub(super) fn page(connection: &Connection, query: &Query) -> Result<Page<Job>, EngineError> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut items: Vec<(Job, Cursor)> = Vec::new();
    let mut after = query.after.clone();
    // The state of a job is known only after its view is made: read on until the page is full.
    while items.len() <= limit {
        let found = candidates(connection, query, after.as_ref())?;
        let Some((_, last)) = found.last() else { break };
        let exhausted = found.len() < usize::try_from(MAX_LIMIT).unwrap_or(usize::MAX);
        after = Some(last.clone());
        for (identity, cursor) in found {
            let job = view(connection, identity)?;
            if query.states.is_empty() || query.states.contains(&job.state) {
                items.push((job, cursor));
            }
            if items.len() > limit {
                break;
            }
        }
        if exhausted {
            break;
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|(_, cursor)| cursor.to_string());
    Ok(Page { items: items.into_iter().map(|(job, _)| job).collect(), next })
}

fn candidates(connection: &Connection, query: &Query, after: Option<&Cursor>) -> Result<Vec<(JobIdentity, Cursor)>, EngineError> {
    let pods = Sql::of(&query.filter);
    let mut sql = Sql::default();
    let by_pod = format!("j.uid IN (SELECT p.job_uid FROM pods p WHERE {})", pods.conjunction());
    match podless(query) {
        Some(podless) => {
            let values = pods.values.into_iter().chain(podless.values.clone());
            sql.and(format!("({by_pod} OR j.condition IS NOT NULL AND {})", podless.conjunction()), values);
        }
        None => sql.and(by_pod, pods.values),
    }
    let key = key(query.sort);
    let mut having = "TRUE".to_owned();
    let mut values = sql.values.clone();
    if let Some(after) = after {
        let (condition, at) = beyond(key, "j.uid", after);
        having = condition;
        values.extend(at);
    }
    let (direction, _) = order(query.sort);
    let statement = format!(
        "SELECT {IDENTITY}, {key} FROM jobs j LEFT JOIN pods p ON p.job_uid = j.uid WHERE {} GROUP BY j.uid HAVING {having}
         ORDER BY {key} {direction}, j.uid LIMIT {MAX_LIMIT}",
        sql.conjunction()
    );
    let rows: Vec<(JobIdentity, Value)> = connection
        .prepare_cached(&statement)
        .and_then(|mut select| select.query_map(params_from_iter(values), |row| Ok((identity(row)?, row.get(10)?)))?.collect())
        .map_err(failed("read a page of jobs"))?;
    rows.into_iter()
        .map(|(identity, key)| {
            let at = cursor(query.sort, key, &identity.owner.uid);
            at.map(|at| (identity, at)).ok_or_else(|| unreadable("a job", &"it has no place in the order"))
        })
        .collect()
}

/// Conditions for jobs that have no pods yet; `None` where only a pod can meet what is asked.
fn podless(query: &Query) -> Option<Sql> {
    let filter = &query.filter;
    if filter.pod.is_some() || !filter.selector.is_empty() {
        return None;
    }
    let mut sql = Sql::default();
    sql.and("j.owned = 0 AND NOT EXISTS (SELECT 1 FROM pods q WHERE q.job_uid = j.uid)", []);
    if let Some(namespace) = &filter.namespace {
        sql.and("j.namespace = ?", [text(namespace)]);
    }
    if let Some(job) = &filter.job {
        sql.and("j.name = ?", [text(job)]);
    }
    if let Some(since) = filter.since {
        sql.and("(j.finished IS NULL OR j.finished >= ?)", [Value::Integer(nanoseconds(since))]);
    }
    if let Some(until) = filter.until {
        sql.and("COALESCE(j.created, 0) <= ?", [Value::Integer(nanoseconds(until))]);
    }
    Some(sql)
}

fn identity(row: &Row<'_>) -> Result<JobIdentity, rusqlite::Error> {
    Ok(JobIdentity {
        owner: OwnerRef { uid: row.get(0)?, api_version: row.get(2)?, kind: row.get(3)?, name: row.get(4)? },
        namespace: row.get(1)?,
        cluster: row.get(5)?,
        condition: condition(row.get(6)?),
        created: row.get::<_, Option<i64>>(7)?.map(timestamp),
        finished: row.get::<_, Option<i64>>(8)?.map(timestamp),
        gone: row.get(9)?,
    })
}

/// Its pods by the top of their chain, which has an index.
const OF_TOP: &str = "job_uid = ?1";

fn view(connection: &Connection, identity: JobIdentity) -> Result<Job, EngineError> {
    let uid = identity.owner.uid.clone();
    view_of(connection, identity, OF_TOP, &[&uid])
}

fn view_of(connection: &Connection, identity: JobIdentity, of: &str, parameters: &[&dyn ToSql]) -> Result<Job, EngineError> {
    let uid = identity.owner.uid.clone();
    let pods = format!(
        "SELECT reason, created, started, finished, cpu, cpu_method, memory, memory_method, rss, rss_method, oom_kills,
                resources, quality FROM pods WHERE {of}"
    );
    let rows: Vec<(PodFacts, String)> = connection
        .prepare_cached(&pods)
        .and_then(|mut select| select.query_map(parameters, facts)?.collect())
        .map_err(failed("read the pods of a job"))?;
    let pods: Vec<PodFacts> = rows
        .into_iter()
        .map(|(pod, resources)| Ok(PodFacts { resources: parsed(&uid, &resources)?, ..pod }))
        .collect::<Result<_, EngineError>>()?;
    Ok(job_view::view(identity, &pods))
}

/// With the resources still as text.
fn facts(row: &Row<'_>) -> Result<(PodFacts, String), rusqlite::Error> {
    let time = |index: usize| row.get::<_, Option<i64>>(index).map(|at| at.map(timestamp));
    let method = |index: usize| row.get::<_, Option<String>>(index);
    let bytes = |index: usize| row.get::<_, Option<i64>>(index).map(|bytes| bytes.map(unsigned));
    let reason: String = row.get(0)?;
    let facts = PodFacts {
        reason: Reason::ALL.into_iter().find(|known| known.as_str() == reason).unwrap_or(Reason::Lost),
        created: time(1)?,
        started: time(2)?,
        finished: time(3)?,
        cpu_seconds: figure(row.get(4)?, method(5)?.as_deref()),
        memory_peak_bytes: figure(bytes(6)?, method(7)?.as_deref()),
        rss_peak_bytes: figure(bytes(8)?, method(9)?.as_deref()),
        oom_kills: unsigned(row.get(10)?),
        resources: Default::default(),
        partial: row.get::<_, String>(12)? == "partial",
    };
    Ok((facts, row.get(11)?))
}
