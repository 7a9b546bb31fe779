//! Where the logs are, and how large.

use std::collections::BTreeSet;

use jobmeter_protocol::{ContainerKind, ContainerRecord, LogRef, LogState, Record};

use super::Field;
use crate::output::{Cell, Row, Value};

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "Log",
        header: "LOG",
        key: "log",
        aliases: &["LogLocation"],
        about: "where the log of the last run of the main container is; of several logs, the directory that holds them all",
        is_number: false,
        needs_pods: true,
        get: |row, _| Value::of(location(row), Cell::Text),
    },
    Field {
        name: "LogBytes",
        header: "LOG-BYTES",
        key: "log_bytes",
        aliases: &["LogSize"],
        about: "size of all its stored logs, before compression",
        is_number: true,
        needs_pods: true,
        get: |row, _| {
            let stored = logs(row).filter(|log| matches!(log.state, LogState::Complete | LogState::Truncated { .. }));
            Value::of(stored.map(|log| log.bytes).reduce(|sum, bytes| sum + bytes), Cell::Bytes)
        },
    },
    Field {
        name: "LogState",
        header: "LOG-STATE",
        key: "log_state",
        aliases: &[],
        about: "of its logs, the worst: complete expected truncated expired lost",
        is_number: false,
        needs_pods: true,
        get: |row, _| {
            let worst = logs(row).max_by_key(|log| badness(&log.state));
            Value::of(worst.map(|log| log.state.as_str().to_owned()), Cell::Text)
        },
    },
];

fn logs(row: &Row) -> impl Iterator<Item = &LogRef> {
    row.records().iter().flat_map(|record| &record.containers).filter_map(|run| run.log.as_ref())
}

const fn badness(state: &LogState) -> u8 {
    match state {
        LogState::Complete => 0,
        LogState::Expected => 1,
        LogState::Truncated { .. } => 2,
        LogState::Expired => 3,
        LogState::Lost { .. } => 4,
    }
}

/// Of a pod with one main container its log, else the directory.
fn location(row: &Row) -> Option<String> {
    let locations: BTreeSet<&str> = row.records().iter().flat_map(last_logs).map(|log| log.location.as_str()).collect();
    let first = locations.first()?;
    let last = locations.last()?;
    if first == last {
        return Some((*first).to_owned());
    }
    // Of a sorted set, what the first and the last have in common all have.
    let common: usize =
        first.chars().zip(last.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8()).sum();
    first[..common].rfind('/').map(|slash| first[..=slash].to_owned())
}

/// Of each main container the last run's.
fn last_logs(record: &Record) -> impl Iterator<Item = &LogRef> {
    let is_main = |run: &&ContainerRecord| matches!(run.kind, None | Some(ContainerKind::Main));
    let mains = move || record.containers.iter().filter(is_main);
    let is_last = move |run: &&ContainerRecord| !mains().any(|other| other.name == run.name && other.attempt > run.attempt);
    mains().filter(is_last).filter_map(|run| run.log.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(locations: &[&str]) -> Option<String> {
        use jobmeter_protocol::{LogRef, Usage};
        let run = |(at, location): (usize, &&str)| ContainerRecord {
            name: format!("main-{at}"),
            kind: Some(ContainerKind::Main),
            container_id: String::new(),
            attempt: 0,
            image: None,
            image_id: None,
            started: None,
            finished: None,
            exit: None,
            reason: None,
            usage: Usage::default(),
            resources: Default::default(),
            log: Some(LogRef { state: LogState::Complete, location: (*location).to_owned(), bytes: 1, lines: 1, sha256: None }),
        };
        let mut record: Record = serde_json::from_value(serde_json::json!({
            "version": 1,
            "identity": { "namespace": "n", "pod": "p", "pod_uid": "u",
                          "job": { "api_version": "v1", "kind": "Pod", "name": "p", "uid": "u" } },
            "time": {}, "outcome": { "reason": "Completed" }, "usage": {}, "containers": [], "quality": { "state": "provisional" }
        }))
        .unwrap();
        record.containers = locations.iter().enumerate().map(run).collect();
        location(&Row::Pod(Box::new(record)))
    }

    #[test]
    fn several_logs_are_named_by_the_directory_that_holds_them() {
        assert_eq!(shown(&[]), None);
        assert_eq!(shown(&["s3://b/job/a.log"]).unwrap(), "s3://b/job/a.log");
        assert_eq!(shown(&["s3://b/job/pod-a.log", "s3://b/job/pod-b.log"]).unwrap(), "s3://b/job/");
        assert_eq!(shown(&["s3://b/jöb-ä/x.log", "s3://b/jöb-ö/x.log"]).unwrap(), "s3://b/", "letters of two bytes are whole");
    }
}
