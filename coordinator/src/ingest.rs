//! Takes the agents' reports: checks each, stores what is good, and answers when it is durable.
//!
//! Inputs: a batch, typed (from the agent in this process) or as bytes (from HTTP). Output: one verdict for each report of
//! it, in its order. A report that can never be accepted is rejected with the reason; nothing else of its batch is lost.

use std::time::Instant;

use jiff::Timestamp;
use jobmeter_protocol::{PodEvidence, ReportBatch, ReportReply, Verdict};
use serde::Deserialize;

use crate::metrics::Metrics;
use crate::store::{Applied, Change, Store, StoreError};

mod validate;

pub use validate::{valid_name, valid_uid};

/// One pod cannot fill a batch of 4 MiB with less than some hundred bytes.
const MAX_REPORTS: usize = 10_000;

#[derive(Clone)]
pub struct Ingest {
    store: Store,
    metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("the batch is not valid JSON")]
    Json(#[source] serde_json::Error),
    #[error("the batch is version {found}; this coordinator reads version {}", jobmeter_protocol::VERSION)]
    Version { found: u32 },
    #[error("{node:?} is no name of a node")]
    Node { node: String },
    #[error("the batch is of node {batch}, its sender is node {sender}")]
    OtherNode { batch: String, sender: String },
    #[error("the batch has {found} reports; {MAX_REPORTS} are the most")]
    TooMany { found: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A batch whose reports are not understood yet, so that a garbled one costs only itself.
#[derive(Deserialize)]
struct RawBatch {
    version: u32,
    node: String,
    reports: Vec<serde_json::Value>,
}

impl Ingest {
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// `sender`: the node that the token is bound to, where it is bound to one.
    pub async fn bytes(&self, body: &[u8], sender: Option<&str>, now: Timestamp) -> Result<ReportReply, IngestError> {
        let batch: RawBatch = serde_json::from_slice(body).map_err(IngestError::Json)?;
        check_envelope(batch.version, &batch.node, batch.reports.len(), sender)?;
        let reports = batch
            .reports
            .into_iter()
            .map(|report| serde_json::from_value::<PodEvidence>(report).map_err(|err| format!("the report is garbled: {err}")));
        self.take(&batch.node, reports.collect(), now).await
    }

    pub async fn batch(&self, batch: ReportBatch, now: Timestamp) -> Result<ReportReply, IngestError> {
        check_envelope(batch.version, &batch.node, batch.reports.len(), None)?;
        self.take(&batch.node, batch.reports.into_iter().map(Ok).collect(), now).await
    }

    async fn take(
        &self,
        node: &str,
        reports: Vec<Result<PodEvidence, String>>,
        now: Timestamp,
    ) -> Result<ReportReply, IngestError> {
        let begun = Instant::now();
        let mut changes = Vec::new();
        let refusals: Vec<Option<String>> = reports
            .into_iter()
            .map(|report| {
                let report = report.and_then(|report| validate::report(&report, node, now).map(|()| report));
                report.map(|report| changes.push(Change::Evidence(Box::new(report)))).err()
            })
            .collect();
        let applied = if changes.is_empty() { Vec::new() } else { self.store.apply(changes, now).await? };
        let mut applied = applied.into_iter();
        let verdicts: Vec<Verdict> = refusals
            .into_iter()
            .map(|refusal| refusal.map_or_else(|| verdict(applied.next()), |why| Verdict::Rejected { why }))
            .collect();
        for verdict in &verdicts {
            self.metrics.report(verdict);
            if let Verdict::Rejected { why } = verdict {
                tracing::warn!(node, why, "report rejected");
            }
        }
        self.metrics.report_duration.observe(begun.elapsed().as_secs_f64());
        Ok(ReportReply { verdicts })
    }
}

fn verdict(applied: Option<Applied>) -> Verdict {
    match applied {
        Some(Applied::Pod(_) | Applied::Job { .. } | Applied::Log(_)) => Verdict::Accepted,
        Some(Applied::Nothing | Applied::Discarded) | None => Verdict::Duplicate,
        Some(Applied::Refused { why }) => Verdict::Rejected { why },
        Some(Applied::Unreadable { uid, why }) => {
            Verdict::Rejected { why: format!("what the coordinator has stored of pod {uid} cannot be read: {why}") }
        }
    }
}

fn check_envelope(version: u32, node: &str, reports: usize, sender: Option<&str>) -> Result<(), IngestError> {
    if version != jobmeter_protocol::VERSION {
        return Err(IngestError::Version { found: version });
    }
    if !valid_name(node) {
        return Err(IngestError::Node { node: node.chars().take(64).collect() });
    }
    if let Some(sender) = sender.filter(|sender| *sender != node) {
        return Err(IngestError::OtherNode { batch: node.to_owned(), sender: sender.to_owned() });
    }
    if reports > MAX_REPORTS {
        return Err(IngestError::TooMany { found: reports });
    }
    Ok(())
}
