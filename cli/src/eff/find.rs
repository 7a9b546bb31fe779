//! Which job or pod a person means by a name.

use jobmeter_protocol::{Job, Record, RecordQuery};

use crate::acct::pods_of;
use crate::source::{Source, SourceError};

pub(super) struct Found {
    /// `None`: a pod, or the pods of an owner that is not at the top of its chain.
    pub(super) job: Option<Job>,
    /// Never empty.
    pub(super) records: Vec<Record>,
    /// What else bears that name.
    pub(super) note: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("no {what} \"{name}\" {place}{hint}, asking {source_name}")]
    Nothing { what: &'static str, name: String, place: String, hint: &'static str, source_name: String },
    #[error("\"{name}\" is in the namespaces {}: choose one with -n", .namespaces.join(", "))]
    Ambiguous { name: String, namespaces: Vec<String> },
    #[error("job \"{name}\" has no records yet: none of its pods was seen to run")]
    NoRecords { name: String },
}

pub(super) async fn find(source: &Source, subject: &str) -> Result<Found, FindError> {
    let (kind, name) = subject.split_once('/').map_or((None, subject), |(kind, name)| (Some(kind.to_lowercase()), name));
    let namespace = source.default_namespace.clone();
    let is_pod = kind.as_deref().is_some_and(|kind| matches!(kind, "pod" | "pods" | "po"));
    let query = || RecordQuery { namespace: namespace.clone(), ..RecordQuery::default() };
    if !is_pod {
        let by_job = RecordQuery { job: Some(name.to_owned()), ..query() };
        if let Some(job) = job(source, &by_job, name).await? {
            return of_job(source, name, job).await;
        }
        // A Job below a CronJob is not the top of its chain, and still what a person calls a job.
        let records = all(source, &by_job).await?;
        if !records.is_empty() {
            one_namespace(name, records.iter().map(|record| record.identity.namespace.as_str()))?;
            return Ok(Found { job: None, records, note: None });
        }
    }
    if is_pod || kind.is_none() {
        let mut records = all(source, &RecordQuery { pod: Some(name.to_owned()), ..query() }).await?;
        if let Some(newest) = records.pop() {
            let namespaces = records.iter().map(|record| record.identity.namespace.as_str());
            one_namespace(name, namespaces.chain([newest.identity.namespace.as_str()]))?;
            let note = earlier(records.len(), "pods");
            return Ok(Found { job: None, records: vec![newest], note });
        }
    }
    Err(FindError::Nothing {
        what: if is_pod {
            "pod"
        } else if kind.is_some() {
            "job"
        } else {
            "job or pod"
        },
        name: name.to_owned(),
        place: namespace.as_ref().map_or_else(|| "in any namespace".to_owned(), |namespace| format!("in namespace {namespace}")),
        hint: if namespace.is_some() { " (-A looks in all)" } else { "" },
        source_name: source.name.clone(),
    })
}

/// The newest job at the top of whose chain the name stands, and how many older ones there are.
async fn job(source: &Source, query: &RecordQuery, name: &str) -> Result<Option<(Job, usize)>, FindError> {
    let mut jobs = source.jobs(query).await?.items;
    jobs.retain(|job| job.owner.name == name);
    one_namespace(name, jobs.iter().map(|job| job.namespace.as_str()))?;
    jobs.sort_by_key(|job| (job.started, job.created));
    Ok(jobs.pop().map(|newest| (newest, jobs.len())))
}

async fn of_job(source: &Source, name: &str, (job, older): (Job, usize)) -> Result<Found, FindError> {
    let records = pods_of(source, &job).await?;
    if records.is_empty() {
        return Err(FindError::NoRecords { name: name.to_owned() });
    }
    Ok(Found { job: Some(job), records, note: earlier(older, "jobs") })
}

/// Oldest first.
async fn all(source: &Source, query: &RecordQuery) -> Result<Vec<Record>, FindError> {
    use futures::TryStreamExt;
    let pages: Vec<Vec<Record>> = source.all_records(query, None).try_collect().await?;
    let mut records: Vec<Record> = pages.into_iter().flatten().collect();
    records.sort_by_key(|record| (record.time.started, record.time.created));
    Ok(records)
}

fn one_namespace<'a>(name: &str, namespaces: impl Iterator<Item = &'a str>) -> Result<(), FindError> {
    let distinct: std::collections::BTreeSet<&str> = namespaces.collect();
    if distinct.len() <= 1 {
        return Ok(());
    }
    Err(FindError::Ambiguous { name: name.to_owned(), namespaces: distinct.into_iter().map(str::to_owned).collect() })
}

fn earlier(count: usize, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} earlier {what} had the same name; this is the newest. `jobmeter acct` shows all."))
}
