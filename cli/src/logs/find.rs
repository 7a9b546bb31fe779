//! Whose logs a person means by a name. In: the name. Out: pods, oldest first, with all runs of their containers.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use jobmeter_protocol::{ContainerKind, LogEntry, LogQuery, Record, RecordQuery};

use crate::acct::pods_of;
use crate::source::{Source, SourceError};

#[derive(Debug)]
pub(super) struct Found {
    pub(super) pods: Vec<Pod>,
    /// What else bears that name.
    pub(super) note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// By container, then by attempt. Empty while none has started.
    pub(super) runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) container: String,
    pub(super) kind: Option<ContainerKind>,
    pub(super) attempt: u32,
    /// What the books of logs say; they may not know a container that runs.
    pub(super) entry: Option<LogEntry>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("no {what} \"{name}\" {place}, asking {source_name}")]
    Nothing { what: &'static str, name: String, place: String, source_name: String },
    #[error("\"{name}\" is in the namespaces {}: choose one with -n", .namespaces.join(", "))]
    Ambiguous { name: String, namespaces: Vec<String> },
    #[error("job \"{name}\" has no logs yet: none of its pods was seen to run")]
    NoPods { name: String },
}

/// A pod's name or UID goes before a job's name, as `kubectl logs` takes it.
pub(super) async fn find(source: &Source, subject: &str) -> Result<Found, FindError> {
    let (kind, name) = match subject.split_once('/') {
        Some((kind, name)) => (Some(kind.to_lowercase()), name),
        None => (None, subject),
    };
    let is_pod = kind.as_deref().is_some_and(|kind| matches!(kind, "pod" | "pods" | "po"));
    if (is_pod || kind.is_none())
        && let Some(found) = by_pod(source, name).await?
    {
        return Ok(found);
    }
    if !is_pod && let Some(found) = by_job(source, name).await? {
        return Ok(found);
    }
    let what = match kind {
        None => "job or pod",
        Some(_) if is_pod => "pod",
        Some(_) => "job",
    };
    let place = match &source.default_namespace {
        Some(namespace) => format!("in namespace {namespace} (-A looks in all)"),
        None => "in any namespace".to_owned(),
    };
    Err(FindError::Nothing { what, name: name.to_owned(), place, source_name: source.name.clone() })
}

async fn by_pod(source: &Source, name: &str) -> Result<Option<Found>, FindError> {
    let namespace = source.default_namespace.clone();
    let query = RecordQuery { namespace: namespace.clone(), pod: Some(name.to_owned()), ..RecordQuery::default() };
    let records = records(source, &query).await?;
    let entries = entries(source, &LogQuery { namespace, pod: Some(name.to_owned()), ..LogQuery::default() }).await?;
    let mut pods = pods(&records, entries);
    one_namespace(name, &pods)?;
    let newest = pods.pop();
    Ok(newest.map(|pod| Found { pods: vec![pod], note: earlier(pods.len(), "pods") }))
}

async fn by_job(source: &Source, name: &str) -> Result<Option<Found>, FindError> {
    let namespace = source.default_namespace.clone();
    let by_job = RecordQuery { namespace: namespace.clone(), job: Some(name.to_owned()), ..RecordQuery::default() };
    let mut jobs = source.jobs(&by_job).await?.items;
    jobs.retain(|job| job.owner.name == name);
    let namespaces: BTreeSet<&str> = jobs.iter().map(|job| job.namespace.as_str()).collect();
    distinct(name, namespaces)?;
    jobs.sort_by_key(|job| (job.started, job.created));
    let newest = jobs.pop();
    let records = match &newest {
        Some(job) => pods_of(source, job).await?,
        // A Job below a CronJob is not the top of its chain, and still what a person calls a job.
        None => records(source, &by_job).await?,
    };
    let of_job = LogQuery { namespace, job: Some(name.to_owned()), ..LogQuery::default() };
    let mut entries = entries(source, &of_job).await?;
    if newest.is_some() {
        let uids: BTreeSet<&str> = records.iter().map(|record| record.identity.pod_uid.as_str()).collect();
        entries.retain(|entry| uids.contains(entry.log.pod_uid.as_str()));
    }
    let pods = pods(&records, entries);
    one_namespace(name, &pods)?;
    match (pods.is_empty(), newest) {
        (false, _) => Ok(Some(Found { pods, note: earlier(jobs.len(), "jobs") })),
        (true, Some(_)) => Err(FindError::NoPods { name: name.to_owned() }),
        (true, None) => Ok(None),
    }
}

/// Oldest first.
async fn records(source: &Source, query: &RecordQuery) -> Result<Vec<Record>, SourceError> {
    let pages: Vec<Vec<Record>> = source.all_records(query, None).try_collect().await?;
    let mut records: Vec<Record> = pages.into_iter().flatten().collect();
    records.sort_by_key(|record| (record.time.started, record.time.created));
    Ok(records)
}

async fn entries(source: &Source, query: &LogQuery) -> Result<Vec<LogEntry>, SourceError> {
    let pages: Vec<Vec<LogEntry>> = source.all_logs(query).try_collect().await?;
    Ok(pages.into_iter().flatten().collect())
}

/// The records in their order, each with its logs. A pod whose record has expired before its logs is an old one.
fn pods(records: &[Record], entries: Vec<LogEntry>) -> Vec<Pod> {
    let mut logs: BTreeMap<String, Vec<LogEntry>> = BTreeMap::new();
    for entry in entries {
        logs.entry(entry.log.pod_uid.clone()).or_default().push(entry);
    }
    let known: Vec<Pod> =
        records.iter().map(|record| pod(record, logs.remove(&record.identity.pod_uid).unwrap_or_default())).collect();
    let mut orphans: Vec<Vec<LogEntry>> = logs.into_values().collect();
    orphans.sort_by_key(|entries| entries.iter().map(|entry| entry.stored).max());
    let orphans = orphans.into_iter().filter_map(|entries| {
        let log = entries.first()?.log.clone();
        let runs = runs(BTreeMap::new(), entries);
        Some(Pod { namespace: log.namespace, name: log.pod, uid: log.pod_uid, runs })
    });
    orphans.chain(known).collect()
}

fn pod(record: &Record, entries: Vec<LogEntry>) -> Pod {
    let identity = &record.identity;
    let named = record.containers.iter().filter(|container| !container.name.is_empty());
    let run = |container: &jobmeter_protocol::ContainerRecord| Run {
        container: container.name.clone(),
        kind: container.kind,
        attempt: container.attempt,
        entry: None,
    };
    let known = named.map(|container| ((container.name.clone(), container.attempt), run(container))).collect();
    Pod {
        namespace: identity.namespace.clone(),
        name: identity.pod.clone(),
        uid: identity.pod_uid.clone(),
        runs: runs(known, entries),
    }
}

fn runs(mut runs: BTreeMap<(String, u32), Run>, entries: Vec<LogEntry>) -> Vec<Run> {
    for entry in entries {
        let log = &entry.log;
        let run = runs.entry((log.container.clone(), log.attempt)).or_insert_with(|| Run {
            container: log.container.clone(),
            kind: None,
            attempt: log.attempt,
            entry: None,
        });
        run.kind = run.kind.or(entry.kind);
        run.entry = Some(entry);
    }
    runs.into_values().collect()
}

fn one_namespace(name: &str, pods: &[Pod]) -> Result<(), FindError> {
    distinct(name, pods.iter().map(|pod| pod.namespace.as_str()).collect())
}

fn distinct(name: &str, namespaces: BTreeSet<&str>) -> Result<(), FindError> {
    if namespaces.len() <= 1 {
        return Ok(());
    }
    Err(FindError::Ambiguous { name: name.to_owned(), namespaces: namespaces.into_iter().map(str::to_owned).collect() })
}

fn earlier(count: usize, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} earlier {what} had the same name; this is the newest"))
}
