//! What a [`LogChange`] does to the ledger, and what a closed record expects of it. Runs within the writer's transaction.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jobmeter_protocol::{ContainerKind, ContainerRecord, LogId, LogState, Record};

use super::super::change::{Assembly, StoredPod};
use super::super::engine::{EngineError, StoreEngine};
use super::super::{Applied, AppliedPod};
use super::{AppliedLog, LogChange, LogNames, LogRow, NamedRun};

/// Rows of one pod: beyond it somebody makes them up.
const MAX_ROWS: usize = 4_096;
/// What the runtime could not start has written nothing, and has no log file.
const NEVER_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

type Result<T> = std::result::Result<T, EngineError>;

pub(in crate::store) fn apply(
    engine: &mut dyn StoreEngine,
    assembly: &Assembly,
    log: &LogId,
    change: LogChange,
    now: Timestamp,
) -> Result<Applied> {
    let pod = engine.load_pod(&log.pod_uid)?;
    let known = engine.log(log)?;
    let before = known.as_ref().map(|row| row.state.clone());
    let row = match (known, change) {
        (Some(row), LogChange::Asked { node }) => {
            return Ok(match other_node(row.node.as_deref(), &node) {
                Some(why) => Applied::Refused { why },
                None => Applied::Log(Box::new(AppliedLog { row, before, pod: None })),
            });
        }
        (None, LogChange::Asked { node }) => {
            let (Some(names), Some(pod)) = (&assembly.logs, &pod) else { return Ok(Applied::Nothing) };
            if let Some(why) = contradiction(&pod.record, log, &node) {
                return Ok(Applied::Refused { why });
            }
            if engine.logs_of(&log.pod_uid)?.len() >= MAX_ROWS {
                return Ok(Applied::Refused { why: format!("pod {} has {MAX_ROWS} logs already", log.pod_uid) });
            }
            LogRow { node: Some(node), ..new(engine, names.as_ref(), pod, log, now)? }
        }
        // Without a row nobody had a ticket.
        (None, _) => return Ok(Applied::Nothing),
        (Some(row), change) => match changed(row, change, pod.as_ref(), assembly, now) {
            Some(row) => row,
            None => return Ok(Applied::Nothing),
        },
    };
    engine.save_log(&row)?;
    let pod = pod.map(|pod| tell(engine, pod)).transpose()?;
    Ok(Applied::Log(Box::new(AppliedLog { row, before, pod })))
}

/// `None`: nothing changes.
fn changed(row: LogRow, change: LogChange, pod: Option<&StoredPod>, assembly: &Assembly, now: Timestamp) -> Option<LogRow> {
    let ended = row.ended.or_else(|| pod.and_then(|pod| run(&pod.record, &row.log)).and_then(|run| run.finished));
    let location = assembly.logs.as_ref().map_or_else(|| row.location.clone(), |names| names.location(&row.key));
    match change {
        LogChange::Asked { .. } => None,
        LogChange::Stored { object_bytes, raw_bytes, times_bytes, content } => {
            let row = LogRow { raw_bytes: Some(raw_bytes), times_bytes, ended, location, ..row };
            Some(row.with(object_bytes, *content, now))
        }
        LogChange::Lost { .. } if row.is_stored() => None,
        LogChange::Lost { why, notice_bytes } => {
            let state = LogState::Lost { why };
            Some(LogRow { state, object_bytes: notice_bytes, ended, location, stored: Some(now), ..row })
        }
        LogChange::Expired if matches!(row.state, LogState::Expired | LogState::Expected) => None,
        // There was a notice only, and it stays lost.
        LogChange::Expired if matches!(row.state, LogState::Lost { .. }) => Some(LogRow { object_bytes: 0, stored: None, ..row }),
        LogChange::Expired => Some(LogRow { state: LogState::Expired, object_bytes: 0, times_bytes: None, ..row }),
    }
}

/// A record has just closed: each run of a container that started has a log somewhere.
pub(in crate::store) fn expect(engine: &mut dyn StoreEngine, assembly: &Assembly, pod: &StoredPod, now: Timestamp) -> Result<()> {
    let Some(names) = assembly.logs.clone() else { return Ok(()) };
    if pod.known.api.as_ref().is_some_and(|api| !api.has_logs()) {
        return Ok(());
    }
    for container in &pod.record.containers {
        let started = container.started.is_some() || container.finished.is_some();
        let failed = container.reason.as_deref().is_some_and(|reason| NEVER_STARTED.contains(&reason));
        if !started || failed || container.name.is_empty() {
            continue;
        }
        let identity = &pod.record.identity;
        let log = LogId {
            namespace: identity.namespace.clone(),
            pod: identity.pod.clone(),
            pod_uid: pod.uid.clone(),
            container: container.name.clone(),
            attempt: container.attempt,
        };
        if engine.log(&log)?.is_none() {
            let row = new(engine, names.as_ref(), pod, &log, now)?;
            engine.save_log(&row)?;
        }
    }
    Ok(())
}

/// What is known of the logs goes into the record.
pub(in crate::store) fn attach(record: &mut Record, rows: &[LogRow]) {
    for container in &mut record.containers {
        let row = rows.iter().find(|row| row.log.container == container.name && row.log.attempt == container.attempt);
        container.log = row.map(LogRow::reference);
    }
}

fn tell(engine: &mut dyn StoreEngine, mut pod: StoredPod) -> Result<AppliedPod> {
    attach(&mut pod.record, &engine.logs_of(&pod.uid)?);
    engine.save_pod(&pod)?;
    let labels = pod.known.api.map(|api| api.labels).unwrap_or_default();
    Ok(AppliedPod { record: pod.record, labels, closed: None, amended: None, exits: Vec::new(), late: false })
}

fn new(engine: &mut dyn StoreEngine, names: &dyn LogNames, pod: &StoredPod, log: &LogId, now: Timestamp) -> Result<LogRow> {
    let record = &pod.record;
    let run = run(record, log);
    let api = pod.known.api.as_ref();
    let of_spec = api.and_then(|api| api.containers.iter().find(|container| container.name == log.container));
    let kind = run.and_then(|run| run.kind).or(of_spec.map(|container| container.kind));
    let mains: BTreeSet<&str> = match api {
        Some(api) => {
            let mains = api.containers.iter().filter(|container| container.kind == ContainerKind::Main);
            mains.map(|container| container.name.as_str()).collect()
        }
        None => {
            let mains = record.containers.iter().filter(|run| matches!(run.kind, None | Some(ContainerKind::Main)));
            mains.map(|run| run.name.as_str()).filter(|name| !name.is_empty()).chain([log.container.as_str()]).collect()
        }
    };
    let named =
        NamedRun { log, record, labels: api.map_or(&record.identity.labels, |api| &api.labels), kind, mains: mains.len() };
    let key = free(engine, names.keys(&named), log)?;
    Ok(LogRow {
        log: log.clone(),
        job: record.identity.job.name.clone(),
        node: record.identity.node.clone(),
        kind,
        location: names.location(&key),
        key,
        state: LogState::Expected,
        object_bytes: 0,
        raw_bytes: None,
        content: None,
        times_bytes: None,
        asked: now,
        ended: run.and_then(|run| run.finished),
        stored: None,
    })
}

/// No key is another's manifest or times either: those have suffixes of their own, which a free key must not run into.
fn free(engine: &mut dyn StoreEngine, keys: Vec<String>, log: &LogId) -> Result<String> {
    for key in keys {
        if !engine.log_key_taken(&key)? {
            return Ok(key);
        }
    }
    Err(EngineError::Unreadable {
        subject: format!("log of container {} of pod {}", log.container, log.pod_uid),
        why: "every key that it could have is another log's".to_owned(),
    })
}

fn run<'a>(record: &'a Record, log: &LogId) -> Option<&'a ContainerRecord> {
    record.containers.iter().find(|run| run.name == log.container && run.attempt == log.attempt)
}

fn contradiction(record: &Record, log: &LogId, node: &str) -> Option<String> {
    let identity = &record.identity;
    let named = [("namespace", &identity.namespace, &log.namespace), ("name", &identity.pod, &log.pod)];
    let other = named.into_iter().find(|(_, known, told)| !known.is_empty() && known != told);
    other
        .map(|(what, known, told)| format!("the {what} of pod {} is {known:?}, not {told:?}", log.pod_uid))
        .or_else(|| other_node(identity.node.as_deref(), node))
}

fn other_node(known: Option<&str>, node: &str) -> Option<String> {
    known.filter(|known| *known != node).map(|known| format!("the pod is on node {known:?}, not on {node:?}"))
}
