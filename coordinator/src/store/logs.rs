//! The ledger of logs: one row for each run of each container whose log is expected, stored, lost or expired.
//!
//! A row is made when a record closes (each run that started should have a log) or when an agent asks for a ticket first.
//! Its key is chosen then, once and for all. Whatever changes a row also changes the `log` of its run in the pod's record, in
//! the same transaction. Owner: the store's writer; the object store is never touched from here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, ContainerKind, LogContent, LogEntry, LogId, LogRef, LogState, Record};

use super::AppliedPod;

pub(super) mod apply;
pub(super) mod page;
pub(super) mod rows;

pub use page::LogFilterError;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    pub log: LogId,
    /// Name of the top owner.
    pub job: String,
    pub node: Option<String>,
    pub kind: Option<ContainerKind>,
    pub key: String,
    pub location: String,
    pub state: LogState,
    /// Of the object, as stored.
    pub object_bytes: u64,
    pub raw_bytes: Option<u64>,
    pub content: Option<LogContent>,
    /// Size of the object with the times of the lines, where there is one.
    pub times_bytes: Option<u64>,
    /// When the row was made.
    pub asked: Timestamp,
    /// When the container ended, as far as it is known.
    pub ended: Option<Timestamp>,
    pub stored: Option<Timestamp>,
}

/// Something that was learned of one log.
#[derive(Clone, Debug, PartialEq)]
pub enum LogChange {
    /// An agent has it, and wants to know where it goes.
    Asked { node: String },
    /// The object store has all of it.
    Stored { object_bytes: u64, raw_bytes: u64, times_bytes: Option<u64>, content: Box<LogContent> },
    /// There is a notice in its place. Nothing changes if it was stored meanwhile.
    Lost { why: String, notice_bytes: u64 },
    /// Its object was deleted.
    Expired,
}

/// What became of a [`LogChange`].
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedLog {
    pub row: LogRow,
    /// `None`: the row was made with this change.
    pub before: Option<LogState>,
    /// The record with the log in it, where there is a record.
    pub pod: Option<AppliedPod>,
}

/// Where logs go. Pure: the writer asks it within a transaction.
pub trait LogNames: std::fmt::Debug + Send + Sync {
    /// Keys in the order of preference; the last one is unique by itself.
    fn keys(&self, run: &NamedRun<'_>) -> Vec<String>;
    /// For people.
    fn location(&self, key: &str) -> String;
}

/// What a key may be made of.
#[derive(Clone, Copy, Debug)]
pub struct NamedRun<'a> {
    pub log: &'a LogId,
    pub record: &'a Record,
    /// All labels of the pod, not only those that the record keeps.
    pub labels: &'a BTreeMap<String, String>,
    pub kind: Option<ContainerKind>,
    /// Main containers of the pod.
    pub mains: usize,
}

/// A log that is expected, as the chase needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedLog {
    pub row: LogRow,
    /// When the end of its pod became known; `None`: it is running.
    pub ended: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichPod {
    Uid(String),
    /// Of several pods that bore the name.
    Newest {
        namespace: String,
        name: String,
    },
}

/// All that is known of the logs of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSubject {
    pub uid: String,
    /// `None`: it was deleted by its own retention.
    pub record: Option<Record>,
    pub api: Option<ApiPod>,
    /// The API server has the pod.
    pub present: bool,
    pub closed: bool,
    /// The chain of owners was resolved.
    pub resolved: bool,
    pub rows: Vec<LogRow>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTotals {
    pub expected: u64,
    /// Of the objects that are stored in the directory, notices included.
    pub object_bytes: u64,
}

impl LogRow {
    pub fn is_stored(&self) -> bool {
        matches!(self.state, LogState::Complete | LogState::Truncated { .. })
    }

    /// The same row once its object is in the store.
    pub fn with(self, object_bytes: u64, content: LogContent, now: Timestamp) -> Self {
        let holes: Vec<&str> = content.missing.iter().map(|missing| missing.why.as_str()).collect();
        let state = if holes.is_empty() { LogState::Complete } else { LogState::Truncated { why: holes.join("; ") } };
        Self { state, object_bytes, content: Some(content), stored: Some(now), ..self }
    }

    pub fn entry(&self) -> LogEntry {
        LogEntry {
            log: self.log.clone(),
            node: self.node.clone(),
            state: self.state.clone(),
            kind: self.kind,
            key: self.key.clone(),
            location: self.location.clone(),
            object_bytes: self.object_bytes,
            content: self.content.clone(),
            stored: self.stored,
        }
    }

    /// For the record of its pod.
    pub fn reference(&self) -> LogRef {
        let content = self.content.as_ref();
        LogRef {
            state: self.state.clone(),
            location: self.location.clone(),
            bytes: content.map_or(0, |content| content.bytes),
            lines: content.map_or(0, |content| content.lines),
            sha256: content.map(|content| content.sha256.clone()),
        }
    }
}
