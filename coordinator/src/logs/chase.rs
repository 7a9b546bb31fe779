//! Runs after logs that do not come: asks the agents through their heartbeats, and in the end leaves a notice where the log
//! should be. What to do is decided by [`jobmeter_decide::logs::chase`]; here it is done.
//!
//! Inputs: the ledger's expected logs, the nodes' heartbeats, time. Outputs: [`LogsWanted`], notices, `Lost` changes. A log
//! that arrives after all takes the notice's place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use jiff::Timestamp;
use jobmeter_decide::logs::chase::{Deadlines, Expected, Lost, Step, Witness, chase};
use jobmeter_logtext::{LogEncoder, SourceFormat};
use jobmeter_protocol::{LogFormat, LogId, LogState};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::adopt::Found;
use super::{LogError, Logs, compression, shown, text_attributes};
use crate::nodes::{LogWitness, Nodes};
use crate::objects::ObjectError;
use crate::store::logs::{ExpectedLog, LogChange, LogRow};
use crate::store::{Applied, Change};

/// Node → logs of it that should have come.
pub(crate) type LogsWanted = Arc<BTreeMap<String, BTreeSet<LogId>>>;

const PERIOD: Duration = Duration::from_secs(2);
/// Looked at in one round, oldest first; the rest has its turn when these are done.
const ROUND: u32 = 5_000;
/// Notices of one round: each is two calls of the object store.
const NOTICES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct LogChase {
    pub(crate) logs: Logs,
    pub(crate) nodes: Nodes,
    /// An agent has answered that it does not have a log.
    pub(crate) answered: Arc<Notify>,
    pub(crate) wanted: watch::Sender<LogsWanted>,
}

impl LogChase {
    pub(crate) async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel-safe: both may be dropped and waited for anew; a missed answer is seen at the next tick.
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                _ = tick.tick() => {}
                () = self.answered.notified() => {}
            }
            // A round that is cut off has left a notice without a row at most: the next one writes it again.
            let done = tokio::select! {
                () = token.cancelled() => return Ok(()),
                done = self.once(Timestamp::now()) => done,
            };
            if let Err(err) = done {
                tracing::warn!(error = &err as &dyn std::error::Error, "chase of logs failed");
            }
        }
    }

    async fn once(&self, now: Timestamp) -> Result<(), LogError> {
        let expected = self.logs.0.store.expected_logs(ROUND).await?;
        let mut wanted: BTreeMap<String, BTreeSet<LogId>> = BTreeMap::new();
        let mut lost: Vec<(LogRow, Lost)> = Vec::new();
        for log in expected {
            let witness = self.nodes.log_witness(log.row.node.as_deref(), &log.row.log);
            match step(&log, &witness, now) {
                Step::Wait(why) => tracing::trace!(log = shown(&log.row.log), ?why, "log waits"),
                Step::Ask => {
                    if let Some(node) = &log.row.node {
                        wanted.entry(node.clone()).or_default().insert(log.row.log.clone());
                    }
                }
                Step::Lose(why) => lost.push((log.row, why)),
            }
        }
        let is_lost = |log: &LogId| lost.iter().any(|(row, _)| row.log == *log);
        self.nodes.forget_log_answers(|log| is_lost(log) || wanted.values().any(|logs| logs.contains(log)));
        self.wanted.send_if_modified(|shown| {
            let changed = **shown != wanted;
            if changed {
                *shown = Arc::new(wanted);
            }
            changed
        });
        for (row, why) in lost.into_iter().take(NOTICES) {
            let log = row.log.clone();
            // One that fails has its turn again, and holds up no other; a store that hangs holds up no completion for long.
            match tokio::time::timeout(PATIENCE, self.logs.lost(row, why, now)).await {
                Ok(Ok(())) => {}
                Ok(Err(err)) => {
                    tracing::warn!(log = shown(&log), error = &err as &dyn std::error::Error, "no notice of a lost log yet");
                }
                Err(_elapsed) => tracing::warn!(log = shown(&log), "no notice of a lost log yet: the object store is slow"),
            }
        }
        Ok(())
    }
}

fn step(log: &ExpectedLog, witness: &LogWitness, now: Timestamp) -> Step {
    let witness = Witness {
        node: log.row.node.as_deref(),
        last_heartbeat: witness.last_heartbeat,
        gone: false,
        says_unknown: witness.says_unknown.as_deref(),
        listening_since: witness.listening_since,
    };
    chase(&Expected { ended: log.ended, lost: false }, &witness, &Deadlines::default(), now)
}

impl Logs {
    /// What is told is there: the manifest, the notice, then the row.
    async fn lost(&self, row: LogRow, Lost { reason, why }: Lost, now: Timestamp) -> Result<(), LogError> {
        let _no_completion = self.0.ends.write().await;
        let log = row.log.clone();
        // It may have come since the round began.
        let still = self.0.store.log_pod(&log.pod_uid).await?.into_iter().flat_map(|pod| pod.rows);
        if !still.filter(|row| row.log == log).any(|row| row.state == LogState::Expected) {
            return Ok(());
        }
        let change = match self.in_the_store(&row).await? {
            Found::Stored { object_bytes, times_bytes, content } => {
                LogChange::Stored { object_bytes, raw_bytes: 0, times_bytes, content }
            }
            Found::Something { what } => {
                LogChange::Lost { why: format!("{why}; there is no notice in its place: {what}"), notice_bytes: 0 }
            }
            Found::Nothing => {
                let notice_bytes = self.put_notice(row, &why, now).await?;
                LogChange::Lost { why, notice_bytes }
            }
        };
        let applied = self.0.store.apply(vec![Change::Log { log: log.clone(), change: Box::new(change.clone()) }], now).await?;
        match (applied.first(), change) {
            (Some(Applied::Log(_)), LogChange::Lost { why, .. }) => {
                self.0.metrics.log_lost(reason.as_str());
                tracing::warn!(log = shown(&log), why, "log lost");
            }
            (Some(Applied::Log(_)), _) => {
                tracing::info!(log = shown(&log), "log found in the store, the ledger takes it up again");
            }
            _ => {}
        }
        Ok(())
    }

    /// Its size.
    async fn put_notice(&self, row: LogRow, why: &str, now: Timestamp) -> Result<u64, LogError> {
        let log = &row.log;
        let text = format!(
            "The log of container {} (run {}) of pod {}/{} (UID {}) was lost: {}.\n",
            log.container,
            log.attempt,
            log.namespace,
            log.pod,
            log.pod_uid,
            why.trim_end_matches('.'),
        );
        let (key, notice) = (row.key.clone(), notice(&row.key, text.as_bytes())?);
        let bytes = notice.len() as u64;
        let state = LogState::Lost { why: why.to_owned() };
        // By its manifest a notice is known for one.
        self.put_manifest(&LogRow { state, object_bytes: bytes, stored: Some(now), ..row }).await?;
        self.noted("put", self.0.objects.put(&key, &text_attributes(&key), notice).await)?;
        Ok(bytes)
    }
}

/// In the form that the key's suffix promises.
fn notice(key: &str, text: &[u8]) -> Result<Bytes, ObjectError> {
    let encode = || {
        let mut object = Vec::new();
        let mut encoder = LogEncoder::new(SourceFormat::Plain, LogFormat::Text, compression(key), std::io::sink())?;
        encoder.push(text, &mut object)?;
        encoder.finish(&mut object)?;
        Ok(Bytes::from(object))
    };
    encode().map_err(|source: jobmeter_logtext::EncodeError| ObjectError::Failed {
        action: "compress the notice",
        key: key.to_owned(),
        source: Box::new(source),
    })
}
