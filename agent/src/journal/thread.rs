//! The thread that writes, and the handle on it.

use std::{collections::BTreeMap, error::Error, path::Path, time::Instant};

use jobmeter_daemon::admin::Gate;
use tokio::sync::{mpsc, oneshot};

use super::{OpenError, file::FileJournal, line::Entry, replay::Replay};
use crate::metrics::JournalMetrics;

/// Batches that may wait for the disk. Each holds what one turn of the keeper learned; while the disk is this far behind the
/// keeper waits, and the watcher coalesces.
const WAITING_BATCHES: usize = 64;

/// A handle on the journal's thread; the thread ends with the last handle.
#[derive(Clone)]
pub struct Journal {
    batches: mpsc::Sender<Batch>,
}

/// Answers when the batch is on the disk.
pub type Durable = oneshot::Receiver<Result<(), NotDurable>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal could not be written")]
pub struct NotDurable;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's thread has ended")]
pub struct JournalClosed;

struct Batch {
    entries: Vec<Entry>,
    done: oneshot::Sender<Result<(), NotDurable>>,
}

impl Journal {
    pub fn open(directory: &Path, slack: u64, metrics: JournalMetrics, health: Gate) -> Result<(Self, Replay), OpenError> {
        let (file, replay) = FileJournal::open(directory, slack)?;
        metrics.replay_skipped.inc_by(replay.corrupt + u64::from(replay.torn));
        metrics.bytes.set(i64::try_from(file.len()).unwrap_or(i64::MAX));
        let (batches, receiver) = mpsc::channel(WAITING_BATCHES);
        health.ready();
        let writer = Writer { file, metrics, health, unwritten: BTreeMap::new() };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(receiver)).map_err(OpenError::Thread)?;
        Ok((Self { batches }, replay))
    }

    pub async fn write(&self, entries: Vec<Entry>) -> Result<Durable, JournalClosed> {
        let (done, durable) = oneshot::channel();
        self.batches.send(Batch { entries, done }).await.map_err(|_closed| JournalClosed)?;
        Ok(durable)
    }
}

struct Writer {
    file: FileJournal,
    metrics: JournalMetrics,
    health: Gate,
    /// Of batches that could not be written: the latest entry of each pod, tried again with the next batch.
    unwritten: BTreeMap<String, Entry>,
}

impl Writer {
    fn run(mut self, mut batches: mpsc::Receiver<Batch>) {
        while let Some(first) = batches.blocking_recv() {
            let mut group = vec![first];
            while let Ok(next) = batches.try_recv() {
                group.push(next);
            }
            let waiting: Vec<_> = group
                .into_iter()
                .map(|batch| {
                    for entry in batch.entries {
                        self.unwritten.insert(entry.pod_uid().to_owned(), entry);
                    }
                    batch.done
                })
                .collect();
            let outcome = self.commit();
            for done in waiting {
                if done.send(outcome).is_err() {
                    tracing::trace!("nobody waits for this batch");
                }
            }
        }
    }

    fn commit(&mut self) -> Result<(), NotDurable> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let entries: Vec<Entry> = std::mem::take(&mut self.unwritten).into_values().collect();
        let outcome = self.file.append(&entries);
        self.metrics.sync_seconds.observe(started.elapsed().as_secs_f64());
        self.metrics.bytes.set(i64::try_from(self.file.len()).unwrap_or(i64::MAX));
        match outcome {
            Ok(_) => {
                self.metrics.writable.set(1);
                self.health.ready();
                Ok(())
            }
            Err(err) => {
                tracing::error!(error = &err as &dyn Error, pods = entries.len(), "failed to write the journal");
                self.metrics.failures.inc();
                self.metrics.writable.set(0);
                self.health.not_ready(err.to_string());
                self.unwritten = entries.into_iter().map(|entry| (entry.pod_uid().to_owned(), entry)).collect();
                Err(NotDurable)
            }
        }
    }
}
