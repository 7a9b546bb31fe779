//! The logs of jobs: where each goes, what is known of it, and reading it.
//!
//! Inputs: the calls of agents (tickets, pieces, completions), the ledger ([`crate::store::logs`]), time. Outputs: objects in
//! the store (logs, manifests, notices of lost ones), rows of the ledger, and the bytes of a log for people.
//!
//! ```text
//! agents ─▶ ticket ─▶ ledger (one key for ever)          chase ─▶ asks agents; in the end a notice
//!        ─▶ transfer ─▶ Objects                           upkeep ─▶ retention of the directory
//!        ─▶ complete ─▶ manifest ─▶ ledger ─▶ record      read ◀─ people: stored, or live
//! ```
//! All state that is needed is in the ledger: a restart between any two steps costs nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jobmeter_protocol::{Compression, LogId};

use crate::metrics::Metrics;
use crate::objects::{Attributes, ObjectError, Objects};
use crate::store::{Store, StoreError};
use crate::world::WorldView;

mod adopt;
pub(crate) mod chase;
mod complete;
pub mod live;
mod manifest;
pub mod naming;
pub mod read;
mod ticket;
mod transfer;
mod trouble;
pub(crate) mod upkeep;

pub use crate::config::logs::{LogRetention, LogsConfig};
pub use transfer::{MAX_PIECE, PieceTarget};

use trouble::Trouble;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logs(Arc<Inner>);

/// What it is made of.
pub(crate) struct LogsParts {
    pub(crate) config: LogsConfig,
    pub(crate) cluster: String,
    pub(crate) store: Store,
    pub(crate) objects: Objects,
    pub(crate) world: WorldView,
    pub(crate) metrics: Metrics,
}

struct Inner {
    config: LogsConfig,
    cluster: String,
    store: Store,
    objects: Objects,
    world: WorldView,
    metrics: Metrics,
    trouble: Trouble,
    /// Pods of which nothing is known, and since when an agent asks for a ticket.
    waited: Mutex<HashMap<String, jiff::Timestamp>>,
    /// Completions and notices, so that a notice never lands on a log that was found to be whole a moment before.
    ends: tokio::sync::RwLock<()>,
}

/// Why a call for a log was not answered. Tickets and completions have answers of their own for what is only for now.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("this coordinator keeps no logs: logs.enabled is false")]
    Disabled,
    #[error("the request is version {found}; this coordinator reads version {}", jobmeter_protocol::VERSION)]
    Version { found: u32 },
    #[error("{subject}: {why}")]
    Invalid { subject: &'static str, why: String },
    #[error("the log of container {container} of pod {pod} has no key yet: ask for a ticket first")]
    NoTicket { pod: String, container: String },
    #[error("{why}")]
    OtherNode { why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl Logs {
    pub(crate) fn new(parts: LogsParts) -> Self {
        let LogsParts { config, cluster, store, objects, world, metrics } = parts;
        let (trouble, waited, ends) = Default::default();
        Self(Arc::new(Inner { config, cluster, store, objects, world, metrics, trouble, waited, ends }))
    }

    /// Passes a result of the object store on, and remembers whether the store is in trouble.
    fn noted<T>(&self, action: &'static str, result: Result<T, ObjectError>) -> Result<T, ObjectError> {
        match &result {
            Ok(_) => self.0.trouble.over(),
            Err(ObjectError::NotFound { .. } | ObjectError::Mismatch { .. }) => {}
            Err(err) => {
                self.0.metrics.object_store_failed(action);
                self.0.trouble.began(err, jiff::Timestamp::now());
                tracing::warn!(action, error = err as &dyn std::error::Error, "object store failed");
            }
        }
        result
    }
}

/// By the key, which never changes, and not by the configuration, which may.
pub(crate) fn compression(key: &str) -> Compression {
    let of_key = |compression: &Compression| key.ends_with(compression.suffix());
    [Compression::Gzip, Compression::Zstd].into_iter().find(of_key).unwrap_or_default()
}

pub(crate) fn text_attributes(key: &str) -> Attributes {
    Attributes { content_type: "text/plain; charset=utf-8", content_encoding: compression(key).content_encoding() }
}

/// Times are one zstd frame of their own format, whatever the log is.
pub(crate) const TIMES_ATTRIBUTES: Attributes = Attributes { content_type: "application/octet-stream", content_encoding: None };

pub(crate) fn times_key(key: &str) -> String {
    format!("{key}.times")
}

pub(crate) fn manifest_key(key: &str) -> String {
    format!("{key}.manifest.json")
}

pub(crate) fn shown(log: &LogId) -> String {
    format!("{}/{} container {} run {}", log.namespace, log.pod, log.container, log.attempt)
}
