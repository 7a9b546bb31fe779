//! Queries over the `jobs` table: each job with the view of its pods, in a stable order.
//!
//! A job is found when one of its pods meets the conditions; its figures are over all of its pods.

use jobmeter_decide::job_view::{self, JobCondition, JobIdentity, JobObject, PodFacts};
use jobmeter_protocol::{Identity, Job, OwnerRef, Page, Reason, SortBy};

use super::cursor::Cursor;
use super::engine::{EngineError, JobSaved};
use super::filter::{MAX_LIMIT, Query};
use super::records::{beyond, conditions, cursor, order, within};
use super::row::{figure, nanoseconds, parsed, text, time, timestamp, unreadable, unsigned};
use super::sql::{self, Conditions, Database, Dialect, Row, Value};

mod detail;

pub(super) use detail::detail;

/// The condition never goes back: a Job that has failed stays so, in whatever order the news came.
pub(super) fn save(database: &mut dyn Database, job: &JobObject, cluster: &str) -> Result<JobSaved, EngineError> {
    const ACTION: &str = "save a job";
    const STORED: &str = "SELECT condition, gone FROM jobs WHERE uid = ?";
    const SAVE: &str =
        "INSERT INTO jobs (uid, namespace, api_version, kind, name, cluster, condition, created, finished, gone, owned)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
                        ON CONFLICT (uid) DO UPDATE SET condition = excluded.condition, created = excluded.created,
                            finished = excluded.finished, gone = 0, owned = excluded.owned";
    let owner = &job.owner;
    let stored = sql::first(database, ACTION, STORED, &[text(&owner.uid)], |row| Ok((row.optional_text(0)?, row.flag(1)?)))?;
    let gone = stored.as_ref().is_some_and(|(_, gone)| *gone);
    let before = stored.and_then(|(word, _)| condition(word));
    if !gone && before.is_some_and(|before| before >= job.condition) {
        return Ok(JobSaved { before, changed: false });
    }
    let values = [
        text(&owner.uid),
        text(&job.namespace),
        text(&owner.api_version),
        text(&owner.kind),
        text(&owner.name),
        text(cluster),
        text(before.map_or(job.condition, |before| before.max(job.condition)).as_str()),
        time(job.created),
        time(job.finished),
        Value::Integer(i64::from(job.parent.is_some())),
    ];
    database.execute(ACTION, SAVE, &values)?;
    Ok(JobSaved { before, changed: true })
}

/// The job that a pod is counted to, as far as the pod tells of it.
pub(super) fn save_of_pod(database: &mut dyn Database, identity: &Identity) -> Result<(), EngineError> {
    const SAVE: &str = "INSERT INTO jobs (uid, namespace, api_version, kind, name, cluster) VALUES (?, ?, ?, ?, ?, ?)
                        ON CONFLICT (uid) DO UPDATE SET namespace = excluded.namespace WHERE jobs.namespace != excluded.namespace";
    let job = &identity.job;
    let values = [&job.uid, &identity.namespace, &job.api_version, &job.kind, &job.name, &identity.cluster].map(text);
    database.execute("save the job of a pod", SAVE, &values).map(drop)
}

/// Whether it was thought to be there.
pub(super) fn mark_gone(database: &mut dyn Database, uid: &str) -> Result<bool, EngineError> {
    const GONE: &str = "UPDATE jobs SET gone = 1 WHERE uid = ? AND gone = 0";
    database.execute("mark a job as gone", GONE, &[text(uid)]).map(|rows| rows > 0)
}

/// UIDs of the jobs whose object, by what is stored, is still there.
pub(super) fn present(database: &mut dyn Database, namespace: Option<&str>) -> Result<Vec<String>, EngineError> {
    let (within, values) = within(namespace);
    let present = format!("SELECT uid FROM jobs WHERE gone = 0 AND condition IS NOT NULL AND {within}");
    sql::all(database, "list the jobs that are there", &present, &values, |row| row.text(0))
}

/// The word of a condition in its column.
fn condition(word: Option<String>) -> Option<JobCondition> {
    word.as_deref().and_then(JobCondition::from_word)
}

/// What a page of jobs is ordered by: over the job's pods.
fn key(sort: SortBy, dialect: Dialect) -> &'static str {
    match sort {
        SortBy::Finished => "COALESCE(j.finished, MAX(COALESCE(p.finished, 9223372036854775807)), 9223372036854775807)",
        SortBy::Started => "COALESCE(MIN(p.started), 9223372036854775807)",
        SortBy::Elapsed => "COALESCE(CAST(MAX(p.finished) - MIN(p.started) AS DOUBLE PRECISION) / 1e9, -1.0)",
        // A sum of floats depends on the order, and the next page must come to the same.
        SortBy::Cpu if dialect == Dialect::Postgres => "COALESCE(SUM(p.cpu ORDER BY p.uid), -1.0)",
        SortBy::Cpu => "COALESCE(SUM(p.cpu), -1.0)",
        SortBy::Memory => "COALESCE(MAX(p.memory), -1)",
        SortBy::Rss => "COALESCE(MAX(p.rss), -1)",
        SortBy::Name => "j.namespace || '/' || j.name",
    }
}

const IDENTITY: &str = "j.uid, j.namespace, j.api_version, j.kind, j.name, j.cluster, j.condition, j.created, j.finished, j.gone";

pub(super) fn page(database: &mut dyn Database, query: &Query) -> Result<Page<Job>, EngineError> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut items: Vec<(Job, Cursor)> = Vec::new();
    let mut after = query.after.clone();
    // The state of a job is known only after its view is made: read on until the page is full.
    while items.len() <= limit {
        let found = candidates(database, query, after.as_ref())?;
        let Some((_, last)) = found.last() else { break };
        let exhausted = found.len() < usize::try_from(MAX_LIMIT).unwrap_or(usize::MAX);
        after = Some(last.clone());
        for (identity, cursor) in found {
            let job = view(database, identity)?;
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

fn candidates(
    database: &mut dyn Database,
    query: &Query,
    after: Option<&Cursor>,
) -> Result<Vec<(JobIdentity, Cursor)>, EngineError> {
    let dialect = database.dialect();
    let pods = conditions(&query.filter, dialect);
    let mut sql = Conditions::default();
    let by_pod = format!("j.uid IN (SELECT p.job_uid FROM pods p WHERE {})", pods.conjunction());
    match podless(query) {
        Some(podless) => {
            let values = pods.values.into_iter().chain(podless.values.clone());
            sql.and(format!("({by_pod} OR j.condition IS NOT NULL AND {})", podless.conjunction()), values);
        }
        None => sql.and(by_pod, pods.values),
    }
    let key = key(query.sort, dialect);
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
    let rows = sql::all(database, "read a page of jobs", &statement, &values, |row| Ok((identity(row)?, row.take(10))))?;
    rows.into_iter()
        .map(|(identity, key)| {
            let at = cursor(query.sort, key, &identity.owner.uid);
            at.map(|at| (identity, at)).ok_or_else(|| unreadable("a job", &"it has no place in the order"))
        })
        .collect()
}

/// Conditions for jobs that have no pods yet; `None` where only a pod can meet what is asked.
fn podless(query: &Query) -> Option<Conditions> {
    let filter = &query.filter;
    if filter.pod.is_some() || !filter.selector.is_empty() {
        return None;
    }
    let mut sql = Conditions::default();
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

fn identity(row: &mut Row) -> Result<JobIdentity, EngineError> {
    Ok(JobIdentity {
        owner: OwnerRef { uid: row.text(0)?, api_version: row.text(2)?, kind: row.text(3)?, name: row.text(4)? },
        namespace: row.text(1)?,
        cluster: row.text(5)?,
        condition: condition(row.optional_text(6)?),
        created: row.optional_integer(7)?.map(timestamp),
        finished: row.optional_integer(8)?.map(timestamp),
        gone: row.flag(9)?,
    })
}

/// Its pods by the top of their chain, which has an index.
const OF_TOP: &str = "job_uid = ?1";

fn view(database: &mut dyn Database, identity: JobIdentity) -> Result<Job, EngineError> {
    let uid = text(&identity.owner.uid);
    view_of(database, identity, OF_TOP, &[uid])
}

fn view_of(database: &mut dyn Database, identity: JobIdentity, of: &str, values: &[Value]) -> Result<Job, EngineError> {
    let uid = identity.owner.uid.clone();
    let pods = format!(
        "SELECT reason, created, started, finished, cpu, cpu_method, memory, memory_method, rss, rss_method, oom_kills,
                resources, quality FROM pods WHERE {of}"
    );
    let pods = sql::all(database, "read the pods of a job", &pods, values, |row| facts(&uid, row))?;
    Ok(job_view::view(identity, &pods))
}

fn facts(job: &str, row: &mut Row) -> Result<PodFacts, EngineError> {
    let reason = row.text(0)?;
    let mut time = |index: usize| row.optional_integer(index).map(|at| at.map(timestamp));
    let (created, started, finished) = (time(1)?, time(2)?, time(3)?);
    let cpu_seconds = figure(row.optional_real(4)?, row.optional_text(5)?.as_deref());
    let mut bytes = |index: usize| -> Result<_, EngineError> {
        let bytes = row.optional_integer(index)?.map(unsigned);
        Ok(figure(bytes, row.optional_text(index + 1)?.as_deref()))
    };
    Ok(PodFacts {
        reason: Reason::ALL.into_iter().find(|known| known.as_str() == reason).unwrap_or(Reason::Lost),
        created,
        started,
        finished,
        cpu_seconds,
        memory_peak_bytes: bytes(6)?,
        rss_peak_bytes: bytes(8)?,
        oom_kills: unsigned(row.integer(10)?),
        resources: parsed(job, &row.text(11)?)?,
        partial: row.text(12)? == "partial",
    })
}
