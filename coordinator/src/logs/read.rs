//! Reading a log: from the object store once it is there, from the node while its pod lives, and else the reason why not.
//!
//! Inputs: the ledger, the object store, [`LiveLogs`]. Outputs: bytes, and what is known of them. Also without a coordinator:
//! a data directory is read by [`LogReader::new`] with a store that was opened for reading only.

use std::collections::BTreeSet;

use jobmeter_protocol::{ContainerKind, LogId, LogRead, LogState};

use super::live::{LiveError, LiveLogs, LiveRun};
use crate::objects::{ByteStream, ObjectError, Objects};
use crate::store::logs::{LogRow, LogSubject, WhichPod};
use crate::store::{Store, StoreError};

pub mod range;
mod stored;

pub use range::Range;

/// Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    store: Store,
    objects: Objects,
    live: LiveLogs,
}

/// A log that was found, and not opened yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Stored(Box<LogRow>),
    Live(LiveRun),
}

pub struct LogText {
    pub log: LogId,
    /// A word of [`LogState::as_str`], or `live`.
    pub state: &'static str,
    pub location: Option<String>,
    /// Of the plain content; `None` where the body is not that.
    pub total: Option<u64>,
    /// First and last byte, where only a part was asked for.
    pub range: Option<(u64, u64)>,
    pub sha256: Option<String>,
    /// What was asked for and could not be done.
    pub notice: Option<&'static str>,
    pub body: ByteStream,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("nothing is known of pod {namespace}/{pod}")]
    NoPod { namespace: String, pod: String },
    #[error("pod {pod} has several containers: {}", names.join(", "))]
    WhichContainer { pod: String, names: Vec<String> },
    #[error("pod {pod} has no container {container}; it has: {}", names.join(", "))]
    NoContainer { pod: String, container: String, names: Vec<String> },
    #[error("container {container} of pod {pod} has no run {attempt}; its newest is {newest}")]
    NoAttempt { pod: String, container: String, attempt: i64, newest: u32 },
    #[error("the log is not here yet: {why}")]
    NotYet { why: String },
    #[error("the log was lost: {why}")]
    Lost { why: String },
    #[error("the log was deleted by age or for room; it was at {location}")]
    Expired { location: String },
    #[error("the pod is gone, and no log of it was kept")]
    NotKept,
    #[error("the log has {total} bytes, and none of those that were asked for")]
    Range { total: u64 },
    #[error("the ledger says that the log is stored, and the object store does not have {key}")]
    Vanished { key: String },
    #[error(transparent)]
    Live(LiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl LogReader {
    pub fn new(store: Store, objects: Objects, live: LiveLogs) -> Self {
        Self { store, objects, live }
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.objects.is_directory()
    }

    /// `pod`: name or UID.
    pub async fn find(&self, namespace: &str, pod: &str, query: &LogRead) -> Result<Found, ReadError> {
        let subject = self.subject(namespace, pod, query.uid.as_deref()).await?;
        let Some(subject) = subject else {
            return Err(ReadError::NoPod { namespace: namespace.to_owned(), pod: pod.to_owned() });
        };
        let container = container(&subject, pod, query.container.as_deref())?;
        let newest = newest(&subject, &container);
        let wanted = match (query.attempt, query.previous) {
            (Some(attempt), _) => i64::from(attempt),
            (None, true) => i64::from(newest) - 1,
            (None, false) => i64::from(newest),
        };
        let missing = || ReadError::NoAttempt { pod: pod.to_owned(), container: container.clone(), attempt: wanted, newest };
        let attempt = u32::try_from(wanted).ok().filter(|attempt| *attempt <= newest).ok_or_else(missing)?;
        let row = subject.rows.iter().find(|row| row.log.container == container && row.log.attempt == attempt);
        match row.map(|row| &row.state) {
            Some(LogState::Complete | LogState::Truncated { .. }) => {}
            Some(LogState::Lost { why }) => return Err(ReadError::Lost { why: why.clone() }),
            Some(LogState::Expired) => {
                return Err(ReadError::Expired { location: row.map(|row| row.location.clone()).unwrap_or_default() });
            }
            Some(LogState::Expected) | None => return live(&subject, namespace, pod, container, attempt, row.is_some()),
        }
        row.cloned().map(|row| Found::Stored(Box::new(row))).ok_or(ReadError::NotKept)
    }

    pub async fn open(&self, found: Found, query: &LogRead, range: Option<Range>) -> Result<LogText, ReadError> {
        match found {
            Found::Stored(row) => stored::open(&self.objects, *row, query, range).await,
            Found::Live(run) => {
                let log = run.log.clone();
                let (body, notice) = self.live.open(&self.store, run, query).await.map_err(|err| match err {
                    LiveError::NotThere { why } => ReadError::NotYet { why },
                    err => ReadError::Live(err),
                })?;
                Ok(LogText { log, state: "live", location: None, total: None, range: None, sha256: None, notice, body })
            }
        }
    }

    async fn subject(&self, namespace: &str, pod: &str, uid: Option<&str>) -> Result<Option<LogSubject>, StoreError> {
        let of_namespace = |subject: &LogSubject| {
            let of_record = subject.record.as_ref().map(|record| record.identity.namespace.as_str());
            let known = of_record.or_else(|| subject.rows.first().map(|row| row.log.namespace.as_str()));
            known.is_none_or(|known| known.is_empty() || known == namespace)
        };
        if let Some(uid) = uid {
            return Ok(self.store.log_subject(WhichPod::Uid(uid.to_owned())).await?.filter(of_namespace));
        }
        let newest = WhichPod::Newest { namespace: namespace.to_owned(), name: pod.to_owned() };
        match self.store.log_subject(newest).await? {
            Some(subject) => Ok(Some(subject)),
            None => Ok(self.store.log_subject(WhichPod::Uid(pod.to_owned())).await?.filter(of_namespace)),
        }
    }
}

/// Names of all containers of the pod and, of each, whether it is a main one.
fn containers(subject: &LogSubject) -> Vec<(String, bool)> {
    let is_main = |kind: Option<ContainerKind>| matches!(kind, None | Some(ContainerKind::Main));
    let of_spec = subject.api.iter().flat_map(|api| &api.containers);
    let of_record = subject.record.iter().flat_map(|record| &record.containers);
    let all = of_spec
        .map(|container| (container.name.clone(), container.kind == ContainerKind::Main))
        .chain(of_record.map(|container| (container.name.clone(), is_main(container.kind))))
        .chain(subject.rows.iter().map(|row| (row.log.container.clone(), is_main(row.kind))));
    let mut seen = BTreeSet::new();
    all.filter(|(name, _)| !name.is_empty() && seen.insert(name.clone())).collect()
}

fn container(subject: &LogSubject, pod: &str, wanted: Option<&str>) -> Result<String, ReadError> {
    let containers = containers(subject);
    let names = || containers.iter().map(|(name, _)| name.clone()).collect();
    let pod = pod.to_owned();
    if let Some(wanted) = wanted {
        let found = containers.iter().find(|(name, _)| name == wanted).map(|(name, _)| name.clone());
        return found.ok_or_else(|| ReadError::NoContainer { pod, container: wanted.to_owned(), names: names() });
    }
    let mut mains = containers.iter().filter(|(_, main)| *main).map(|(name, _)| name);
    match (mains.next(), mains.next(), containers.as_slice()) {
        (Some(only), None, _) => Ok(only.clone()),
        (None, None, [(only, _)]) => Ok(only.clone()),
        (None, None, []) => Err(ReadError::NotYet { why: "no container of the pod is known".to_owned() }),
        _ => Err(ReadError::WhichContainer { pod, names: names() }),
    }
}

fn newest(subject: &LogSubject, container: &str) -> u32 {
    let of_spec = subject.api.iter().flat_map(|api| &api.containers).filter(|spec| spec.name == container);
    let of_record = subject.record.iter().flat_map(|record| &record.containers).filter(|run| run.name == container);
    let of_rows = subject.rows.iter().filter(|row| row.log.container == container);
    let attempts = of_spec.map(|spec| spec.restart_count).chain(of_record.map(|run| run.attempt));
    attempts.chain(of_rows.map(|row| row.log.attempt)).max().unwrap_or(0)
}

fn live(
    subject: &LogSubject,
    namespace: &str,
    pod: &str,
    container: String,
    attempt: u32,
    expected: bool,
) -> Result<Found, ReadError> {
    let name = subject.record.as_ref().map(|record| record.identity.pod.clone()).unwrap_or_default();
    let pod = if name.is_empty() { pod.to_owned() } else { name };
    let mut runs = subject.record.iter().flat_map(|record| &record.containers);
    let ended = runs.any(|run| run.name == container && run.attempt == attempt && run.finished.is_some());
    // Of one that has ended the kubelet may have the newest part only; all of it is about to be stored.
    if subject.present && !(expected && ended) {
        let spec = subject.api.iter().flat_map(|api| &api.containers).find(|spec| spec.name == container);
        let newest = spec.map_or(attempt, |spec| spec.restart_count);
        let log = LogId { namespace: namespace.to_owned(), pod, pod_uid: subject.uid.clone(), container, attempt };
        return Ok(Found::Live(LiveRun { log, newest }));
    }
    if expected || !subject.closed {
        let node = subject.record.as_ref().and_then(|record| record.identity.node.as_deref()).unwrap_or("(unknown)");
        let why = format!("the container has ended, and its log is still on its way from node {node}");
        return Err(ReadError::NotYet { why });
    }
    Err(ReadError::NotKept)
}
